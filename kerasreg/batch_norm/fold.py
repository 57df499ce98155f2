"""Fold batch norms into the linear layers beside them."""

from __future__ import annotations

from typing import Literal, overload

import keras

from kerasreg._core.arguments import Came, flag, refusal
from kerasreg._core.graph import is_graph, rebuilt
from kerasreg._core.paths import layer_paths
from kerasreg.batch_norm.finding import batch_norms, listing
from kerasreg.batch_norm.fold_plan import FoldPlan
from kerasreg.batch_norm.fold_report import FoldReport


@overload
def fold_batch_norm(model: keras.Model, report: Literal[False] = False) -> keras.Model: ...
@overload
def fold_batch_norm(model: keras.Model, report: Literal[True]) -> tuple[keras.Model, FoldReport]: ...
def fold_batch_norm(model: keras.Model, report: bool = False) -> keras.Model | tuple[keras.Model, FoldReport]:
    """A new model that predicts the same, without the batch norms that a linear layer can do the work of.

    At inference a batch norm is y = s x + t with s = gamma / sqrt(sigma^2 + epsilon), t = beta - mu s. Behind
    a linear layer x = W u + b that is y = (s W) u + (s b + t); before one, W (s x + t) + b is
    (W s) x + (W t + b). The new weights are worked out in float64.

    Folded is into `Dense`, `EinsumDense`, `Conv1D/2D/3D`, `DepthwiseConv1D/2D`, `SeparableConv1D/2D` and the
    transposed convolutions, at every level of nested models. A batch norm goes into the layer before it where
    that has no activation and its output goes nowhere else; else into the layers behind it, directly or
    through `Flatten` and global average pooling, where all take it up and none pads with zeros what would
    have been t. A layer that is called several times goes along where each of its calls meets the same batch
    norm. Others stay, and `report=True` says which, and why.

    The model itself is untouched, and shares no weight with the new one, which keeps the layers' names and,
    where the outputs' names may matter, has a linear `Activation` in the place of a last batch norm. It is
    compiled as the model was, with a new optimizer, unless Keras cannot serialize a loss or metric of your
    own. Fold what is to be deployed: the new model trains differently, and its regularizers look at the new
    weights.

    Args:
        model: A built Functional or Sequential model, trained or not.
        report: Whether to return a `FoldReport` too, which prints what became of each batch norm.

    Returns:
        The new model; with `report=True`, a pair of it and the report.

    Raises:
        ValueError: If `model` is not such a model, holds no batch norm, or a layer of it cannot be copied.

    Source:
        Jacob et al., "Quantization and Training of Neural Networks", 2018, section 3.2.

    Example:
        >>> import keras, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...                           keras.layers.BatchNormalization(name="bn"), keras.layers.ReLU()])
        >>> folded, report = kr.fold_batch_norm(model, report=True)
        >>> print(report)
        1 of 1 batch norms folded
        bn -> conv
        >>> [type(layer).__name__ for layer in folded.layers]
        ['Conv2D', 'ReLU']
    """
    found = batch_norms("fold_batch_norm", model)
    report = flag("fold_batch_norm", "report", report)
    paths = layer_paths(model)
    if not is_graph(model):
        parts = [path for layer, path in paths.items() if is_graph(layer)]
        remedy = "the Python of a call cannot be rewritten"
        if parts:
            remedy += f"; fold its functional parts: {listing(parts)}"
        came = Came(f"the subclassed {type(model).__name__} '{model.name}'")
        raise refusal("fold_batch_norm", "model", "a Functional or a Sequential model", came, remedy)
    plan = FoldPlan(model, paths)
    folded = rebuilt("fold_batch_norm", model, plan.replace)
    if not report:
        return folded
    gone = {
        found[norm]: ", ".join(path for layer, path in paths.items() if layer in into)
        for norm, into in plan.folded.items()
    }
    # In the model's order, not in that of folding.
    gone = {path: gone[path] for path in found.values() if path in gone}
    return folded, FoldReport(
        gone, {path: plan.left[norm] for norm, path in found.items() if norm in plan.left}
    )
