"""Remove the units that became zero."""

from __future__ import annotations

from typing import Any, Literal, overload

import keras

from kerasreg._core.arguments import Came, flag, refusal
from kerasreg._core.graph import is_graph, rebuilt
from kerasreg._core.paths import layer_paths
from kerasreg.sparsity.shrink_plan import ShrinkPlan
from kerasreg.sparsity.shrink_report import ShrinkReport


@overload
def shrink(model: keras.Model, report: Literal[False] = False) -> keras.Model: ...
@overload
def shrink(model: keras.Model, report: Literal[True]) -> tuple[keras.Model, ShrinkReport]: ...
def shrink(model: keras.Model, report: bool = False) -> keras.Model | tuple[keras.Model, ShrinkReport]:
    """A new model that predicts the same, without the units whose weights became 0.

    A unit or filter whose incoming weights are all 0 gives one number whatever comes in, phi(b): what that
    number adds to the layers behind is moved into their biases, in float64. One whose outgoing weights are
    all 0 is read by nobody. Either goes, and with it its rows and columns in the layers around it; what
    becomes constant or unread by that goes too. `kr.constraints.GroupSoftThreshold` makes such units; a batch
    norm with a gamma of 0 does as well.

    Units go from `Dense`, `Conv1D`, `Conv2D` and `Conv3D` that feed such layers, in Functional and Sequential
    models, nested ones too, directly or through elementwise activations, dropout, batch norms, pooling,
    `Flatten`, cropping, upsampling and zero padding. All else is left: what feeds an `Add`, a `Concatenate`
    or an output of the model, layers that are called several times, groups, constants other than 0 that a
    convolution pads with zeros. `report=True` says which, and why. A layer keeps one unit at least, and the
    model's inputs and outputs stay what they are.

    The model itself is untouched, and shares no weight with the new one, which is compiled as it was, with a
    new optimizer, unless Keras cannot serialize a loss or metric of your own.

    Args:
        model: A built Functional or Sequential model, trained or not.
        report: Whether to return a `ShrinkReport` too, which prints the sizes and what was left.

    Returns:
        The new model; with `report=True`, a pair of it and the report.

    Raises:
        ValueError: If `model` is not such a model, or a layer of it cannot be copied.

    Source:
        Wen et al., "Learning Structured Sparsity in Deep Neural Networks", 2016; Liu et al., "Network
        Slimming", 2017.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu", name="hidden"),
        ...                           keras.layers.Dense(1, name="out")])
        >>> kernel, bias = model.layers[0].get_weights()
        >>> model.layers[0].set_weights([kernel * [1, 0, 1, 0], bias])
        >>> small, report = kr.shrink(model, report=True)
        >>> print(report)
        21 parameters -> 11 (52.4 %)
        hidden: 4 units -> 2
    """
    report = flag("shrink", "report", report)
    _check_model(model)
    paths = layer_paths(model)
    plan = ShrinkPlan(model, paths)
    small = rebuilt("shrink", model, plan.replace)
    if not report:
        return small
    return small, ShrinkReport(
        plan.units(), plan.left(), plan.unused_inputs(model), (model.count_params(), small.count_params())
    )


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model) or not model.built:
        remedy = "call it once on data, or give it an Input" if isinstance(model, keras.Model) else None
        came = Came(f"the unbuilt {type(model).__name__} '{model.name}'") if remedy else model
        raise refusal("shrink", "model", "a built keras.Model", came, remedy)
    if not is_graph(model):
        came = Came(f"the subclassed {type(model).__name__} '{model.name}'")
        remedy = "the Python of a call cannot be rewritten; shrink its functional parts"
        raise refusal("shrink", "model", "a Functional or a Sequential model", came, remedy)
