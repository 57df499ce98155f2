"""Every linear layer's output to one size, in one forward pass."""

from __future__ import annotations

import fnmatch
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, flag, number, refusal
from kerasreg._core.interception import intercept
from kerasreg._core.kernels import Kernel, kernels_of
from kerasreg._core.one_batch import check_fits, one_batch
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import sublayers
from kerasreg._core.residual import branch_ends, output_layers
from kerasreg.initialization.calibration_report import CalibratedKernel, CalibrationReport
from kerasreg.initialization.rescaler import NOT_REACHED, Rescaler


def calibrate(
    model: keras.Model,
    x: Any,
    target: float = 1.0,
    per_channel: bool = False,
    dry_run: bool = False,
    branch_target: float | str | Mapping[str, float] | None = "auto",
    exclude: Sequence[str] = (),
) -> CalibrationReport:
    """Rescale every linear layer's kernel so that its output on `x` has RMS `target`, in one forward pass.

    ```
    W := c W   with c > 0 and   RMS(c W x + b) = target
    ```
    for Dense, EinsumDense (and so the attention layers), every convolution and Embedding, before the
    activation, over rows, positions (padded ones too) and units together. The kernel is rescaled where its
    output is seen and the pass goes on with the corrected output, so that every later layer meets what it
    will meet. A separable convolution has both its products scaled. Of `SimpleRNN`, `GRU` and `LSTM` the
    product of the input sequence with the input kernel, all gates together, gets the RMS; the recurrent
    kernel stays, since the values inside a scan are not seen. A layer that is called several times is scaled
    at its first call. Frozen layers stay as they are.

    Batch norms use the batch's statistics in the pass, as in training; dropout is off. Apart from the
    rescaled kernels the model stays as it was, bit for bit, statistics and seeds included; after an error
    all of it does. An optimizer's state is not touched: calibrate before training.

    It is not always better: a net of normalised blocks takes the scale out again, and what a badly chosen
    distribution lacks besides scale (rank, symmetry) no scale gives it.

    Args:
        model: A built model.
        x: A batch as the model takes it, at least two rows, all in one pass; of a dataset its first batch.
        target: The RMS, above 0.
        per_channel: Whether each unit or channel gets the RMS by itself.
        dry_run: Whether to report only, and change nothing.
        branch_target: The RMS for the last layer of each residual branch: `"auto"` for target / sqrt(L) with
            L branches, so that the trunk's power about doubles whatever the depth (branches that agree with
            each other add a little more); None for `target`; a number; or numbers by path pattern, for models
            without a graph to find the branches in.
        exclude: Path patterns (`"head"`, `"block*/norm"`) of layers to leave alone.

    Returns:
        A `CalibrationReport`: a row for each kernel, with the reason where it was left alone, and `undo()`.

    Raises:
        ValueError: If the model is not built, an argument is not one of the above, a number in `x` or in a
            layer's output is not finite, a pattern matches nothing, no kernel was met, or a kernel that the
            signal has to pass is all zeros.

    Source:
        Mishkin and Matas, "All you need is a good init", 2016, here in one pass; 1 / sqrt(L) as in Radford et
        al., "Language Models are Unsupervised Multitask Learners", 2019.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> layers = [keras.layers.Dense(64, "relu", name=f"h{i}") for i in range(3)]
        >>> model = keras.Sequential([keras.Input((16,)), *layers])
        >>> x = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")
        >>> report = kr.calibrate(model, x)
        >>> [f"{row.after:.3f}" for row in report.calibrated]
        ['1.000', '1.000', '1.000']
    """
    target = number("calibrate", "target", target, 0, open_low=True)
    flag("calibrate", "per_channel", per_channel)
    flag("calibrate", "dry_run", dry_run)
    paths = _built_paths(model)
    x, _ = one_batch("calibrate", x)
    check_fits("calibrate", model, x)
    kernels = [kernel for layer in paths for kernel in kernels_of(layer)]
    ends = branch_ends(model)
    targets = _targets(paths, ends, target, branch_target)
    reasons = _reasons(model, paths, exclude)
    spare = {*ends, *output_layers(model)}
    scope = keras.StatelessScope()
    rescaler = Rescaler(paths, targets, reasons, spare, per_channel, scope)
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    arguments = {"training": False} if "training" in inspect.signature(model.call).parameters else {}
    # Whatever the pass assigns (statistics, seeds, kernels) stays in the scope.
    try:
        with scope, intercept(rescaler):
            model(inputs, **arguments)
    except ValueError:
        if rescaler.error is None:
            raise
    if rescaler.error is not None:
        raise rescaler.error
    rows = _complete(rescaler.rows, kernels, paths, rescaler.reasons)
    if not rescaler.scaled and not dry_run and all(row.scale is None for row in rows):
        listed = "; ".join(f"{row.layer}: {row.skipped}" for row in rows) or "it has no linear layer"
        raise refusal("calibrate", "model", "a model with a kernel to rescale", Came(f"none ({listed})"))
    changed = []
    if not dry_run:
        changed = [
            (variable, np.array(keras.ops.convert_to_numpy(old))) for variable, old, _ in rescaler.scaled
        ]
        for variable, _, value in rescaler.scaled:
            variable.assign(value)
    return CalibrationReport(rows, changed)


def _built_paths(model: Any) -> dict[keras.layers.Layer, str]:
    built = isinstance(model, keras.Model) and model.built
    paths = layer_paths(model) if built else {}
    unbuilt = [path for layer, path in paths.items() if kernels_of(layer) and not layer.built]
    if not built or unbuilt:
        came = Came(f"one with unbuilt layers {unbuilt}") if unbuilt else model
        remedy = "call it once on data, or give it an Input"
        raise refusal("calibrate", "model", "a built keras.Model", came, remedy)
    return paths


def _targets(
    paths: Mapping[keras.layers.Layer, str],
    ends: Sequence[keras.layers.Layer],
    target: float,
    branch_target: Any,
) -> dict[keras.layers.Layer, float]:
    """Each layer's RMS."""
    found = dict.fromkeys(paths, target)
    if isinstance(branch_target, Mapping):
        for pattern, value in branch_target.items():
            value = number("calibrate", f"branch_target[{pattern!r}]", value, 0, open_low=True)
            found.update(dict.fromkeys(_matching("branch_target", pattern, paths), value))
    elif branch_target is not None:
        if branch_target == "auto":
            value = target / math.sqrt(max(len(ends), 1))
        elif isinstance(branch_target, str):
            raise refusal(
                "calibrate", "branch_target", "'auto', None, a number or a dict of numbers", branch_target
            )
        else:
            value = number("calibrate", "branch_target", branch_target, 0, open_low=True)
        found.update(dict.fromkeys(ends, value))
    return found


def _matching(argument: str, pattern: str, paths: Mapping[keras.layers.Layer, str]) -> list[Any]:
    """The layers that a pattern names, with all layers inside them."""
    names = {layer: path for layer, path in paths.items() if fnmatch.fnmatchcase(path, str(pattern))}
    inside = [f"{path}/" for path in names.values()]
    found = [layer for layer, path in paths.items() if layer in names or path.startswith(tuple(inside))]
    if not found:
        held = ", ".join(path for layer, path in paths.items() if kernels_of(layer))
        raise refusal("calibrate", argument, f"patterns of layers' paths ({held})", pattern)
    return found


def _reasons(
    model: keras.Model, paths: Mapping[keras.layers.Layer, str], exclude: Sequence[str]
) -> dict[keras.layers.Layer, str]:
    """The layers to leave alone, and why."""
    if isinstance(exclude, str):
        exclude = [exclude]
    if not isinstance(exclude, Sequence):
        raise refusal("calibrate", "exclude", "a pattern of layers' paths or a list of them", exclude)
    found = {}
    for layer in paths:
        if isinstance(layer, keras.layers.SpectralNormalization):
            found[layer.layer] = "SpectralNormalization takes its scale out again"
        if not kernels_of(layer):
            continue
        if getattr(layer, "quantization_mode", None) is not None:
            found[layer] = "it is quantised"
        elif getattr(layer, "lora_enabled", False):
            found[layer] = "it has LoRA weights"
        elif not layer.trainable:
            found[layer] = "it is frozen (trainable=False)"
    for pattern in exclude:
        found.update(dict.fromkeys(_matching("exclude", pattern, paths), "excluded"))
    return found


def _complete(
    rows: Sequence[CalibratedKernel],
    kernels: Sequence[Kernel],
    paths: Mapping[keras.layers.Layer, str],
    reasons: Mapping[Any, str],
) -> list[CalibratedKernel]:
    """The rows of the pass, and one for every kernel, and other layers' matrices, that it did not meet."""
    met = {(row.layer, row.kernel) for row in rows}
    rows = list(rows)
    for kernel in kernels:
        path = paths[kernel.layer]
        if (path, kernel.attribute) not in met:
            reason = reasons.get((kernel.layer, kernel.attribute)) or reasons.get(kernel.layer, NOT_REACHED)
            rows.append(CalibratedKernel(path, kernel.attribute, skipped=reason))
    for layer, path in paths.items():
        if kernels_of(layer):
            continue
        for variable in _own_matrices(layer):
            reason = f"a {type(layer).__name__}'s use of it is not known"
            rows.append(CalibratedKernel(path, variable.name, skipped=reason))
    return rows


def _own_matrices(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The trainable matrices that a layer itself holds, not those of the layers in it."""
    inner = {id(variable) for child in sublayers(layer) for variable in child.weights}
    return [v for v in layer.trainable_weights if len(v.shape) > 1 and id(v) not in inner]
