"""The look at a model before it is trained, or when it does not train."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.one_batch import check_fits, one_batch
from kerasreg._core.paths import layer_paths
from kerasreg._core.targets import check_targets
from kerasreg.diagnostics.data_rules import judge_inputs, judge_norms
from kerasreg.diagnostics.figures import (
    ActivationFigures,
    Figures,
    InputFigures,
    KernelFigures,
    NormFigures,
)
from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.input_figures import from_moments, input_figures
from kerasreg.diagnostics.kernel_rules import judge_kernels
from kerasreg.diagnostics.measures import distinct_units
from kerasreg.diagnostics.probe import Probe
from kerasreg.diagnostics.report import Report
from kerasreg.diagnostics.signal_rules import judge_activations_at_start, judge_gradient, judge_signal
from kerasreg.diagnostics.sites import Site


def check(model: keras.Model, x: Any, y: Any = None) -> Report:
    """Look at a model's weights, its signal on one batch and, with targets, its gradient; change nothing.

    For every kernel: its statistics, the RMS of its layer's linear output as predicted,

    ```
    E[s^2] = n Var(w) E[x^2]    with the right n for the kind of layer,
    ```
    and as measured. The prediction holds for weights drawn independently with zero mean and features that do
    not correlate (then to a few percent from a hundred units on). Features that agree, as those of images or
    behind a ReLU do, and padding move single layers' measured values off it without any fault.

    The pass is in inference mode: batch norms answer with what they have learned, or, if that is nothing yet,
    with the batch's statistics as they will in training. It is compiled
    once for each model and shape of batch, and kept with the model. The findings' codes: `zero-kernel`,
    `symmetric-units`, `duplicate-kernels`, `wrong-fan`, `vanishing-signal`, `exploding-signal`, `dead-units`,
    `saturated-units`, `unnormalized-input`, `batch-norm-drift`, `non-finite`.

    Args:
        model: A built model, trained or not; compiled if `y` is given.
        x: A batch as the model takes it, at least two rows and better 64, or a dataset, of which the first
            batch is taken (its targets are not: pass `y`).
        y: The targets of the batch, for the gradient.

    Returns:
        A `Report`: `findings`, `figures`, a table when printed, `to_dict()`, `plot()`.

    Raises:
        ValueError: If the model is not built, or not compiled where `y` is given, a number in `x` is not
            finite, or a label in `y` is no class of the model.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> layers = [
        ...     keras.layers.Dense(32, "relu", name="h1"),
        ...     keras.layers.Dense(32, "relu", name="h2", kernel_initializer="zeros"),
        ...     keras.layers.Dense(3, name="out"),
        ... ]
        >>> model = keras.Sequential([keras.Input((8,)), *layers])
        >>> report = kr.check(model, np.random.default_rng(0).normal(size=(64, 8)).astype("float32"))
        >>> [(finding.code, finding.layer) for finding in report.findings]
        [('zero-kernel', 'h2')]
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise refusal(
            "check", "model", "a built keras.Model", model, "call it once on data, or give it an Input"
        )
    if y is not None and not getattr(model, "compiled", False):
        raise refusal(
            "check", "model", "compiled where y is given", Came("no loss"), "call model.compile first"
        )
    data, targets = one_batch("check", x, y)
    check_fits("check", model, data)
    if y is None:
        targets = None
    else:
        check_targets("check", model, targets)
    data = keras.tree.map_structure(_narrow, data)
    targets = None if targets is None else keras.tree.map_structure(_narrow, targets)
    figures = _figures(model, data, targets)
    return Report(figures, _findings(figures, len(keras.tree.flatten(data)[0])))


def _narrow(array: np.ndarray) -> np.ndarray:
    return array.astype(keras.config.floatx()) if array.dtype == "float64" else array


def _findings(figures: Figures, rows: int) -> list[Finding]:
    found = [
        *judge_inputs(figures.inputs, figures.first_inputs),
        *judge_kernels(figures.kernels),
        *judge_signal(figures.kernels),
        *judge_activations_at_start(figures.kernels, figures.activations, rows),
        *judge_norms(figures.norms),
    ]
    codes = {finding.code for finding in found}
    # A signal that is lost on its way takes the gradient with it: one word is enough.
    if not codes & {"vanishing-signal", "exploding-signal", "non-finite", "zero-kernel"}:
        found.extend(judge_gradient(figures.kernels))
    return found


def _figures(model: keras.Model, x: Any, y: Any) -> Figures:
    probe = Probe.of(model, x, y)
    found, loss, norms = probe.run(x, *(() if y is None else (y,)))
    paths = layer_paths(model)
    by_path = {path: layer for layer, path in paths.items()}
    gradients: dict[tuple[str, str], float] = {}
    if norms is not None:
        kernels = probe.kernels()
        gradients = {
            (paths[k.layer], k.attribute): g for k, g in zip(kernels, norms[: len(kernels)], strict=True)
        }
    pairs = list(zip(probe.sites, found, strict=True))
    calls = [(site, part) for site, part in pairs if site.sort == "kernel"]
    # Without a graph the last one called is taken for the output.
    outputs = probe.outputs or {site.path for site, _ in calls[-1:]}
    rows: list[KernelFigures] = []
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for site, part in calls:
        layer, key = by_path[site.path], (site.path, site.kernel.attribute)
        own = first.setdefault(key, part)
        rows.append(
            _kernel_row(
                site,
                {**own, **part},
                gradients.get(key),
                output=site.path in outputs,
                branch_end=site.path in probe.ends,
                # Quantised and adapted layers have a tensor there.
                frozen=not getattr(getattr(layer, site.kernel.attribute), "trainable", False),
            )
        )
    activations = [
        ActivationFigures(
            site.name,
            type(by_path[site.path]).__name__,
            float(part["dead"]),
            float(part["saturated"]),
            float(part["variation"]),
        )
        for site, part in pairs
        if site.sort == "activation"
    ]
    size = len(keras.tree.flatten(x)[0])
    norm_rows = [
        NormFigures(site.name, float(part["shift"]), float(part["ratio"]), bool(part["untouched"]), size)
        for site, part in pairs
        if site.sort == "norm"
    ]
    inputs = tuple(_inputs(model, x))
    return Figures(
        tuple(rows),
        tuple(activations),
        tuple(norm_rows),
        inputs,
        tuple(_first_inputs(calls, inputs)),
        loss,
        dict(probe.skipped),
    )


def _kernel_row(
    site: Site,
    part: dict[str, Any],
    gradient: float | None,
    *,
    output: bool,
    branch_end: bool,
    frozen: bool,
) -> KernelFigures:
    kernel = site.kernel
    kind, mean = kernel.kind, float(part["mean"])
    std = math.sqrt(max(float(part["square"]) - mean**2, 0.0)) if math.isfinite(mean) else math.nan
    input_rms = 1.0 if kind == "embedding" else float(part["input_rms"])
    return KernelFigures(
        layer=site.name,
        type=kernel.type,
        kernel=kernel.attribute,
        kind=kind,
        shape=kernel.shape,
        mean=mean,
        std=std,
        largest=max(part["high"], -part["low"]),
        constant=part["high"] - part["low"] <= 1e-5 * abs(part["high"]),
        distinct_units=distinct_units(part["signature"][:2], part["bias"]),
        input_rms=input_rms,
        input_variation=1.0 if kind == "embedding" else float(part["input_variation"]),
        predicted_rms=math.sqrt(kernel.fan_in) * std * input_rms,
        output_rms=float(part["output_rms"]),
        output_variation=float(part["output_variation"]),
        dead=float(part["dead"]) if "dead" in part else None,
        saturated=float(part["saturated"]) if "saturated" in part else None,
        gradient=gradient,
        output=output,
        branch_end=branch_end,
        frozen=frozen,
        remedy=kernel.remedy,
        intended_variance=kernel.intended_variance,
        misread_variance=kernel.misread_variance,
        signature=part["signature"][:2].ravel(),
    )


def _inputs(model: keras.Model, x: Any) -> Iterator[InputFigures]:
    leaves = keras.tree.flatten(x)
    if isinstance(x, dict):
        names = [str(name) for name in sorted(x)]
    else:
        tensors = getattr(model, "inputs", None) or []
        names = [tensor.name for tensor in keras.tree.flatten(tensors)]
    if len(names) != len(leaves) or any(name.startswith("keras_tensor") for name in names):
        names = ["input"] if len(leaves) == 1 else [f"input {i}" for i in range(len(leaves))]
    for name, leaf in zip(names, leaves, strict=True):
        found = input_figures(name, leaf)
        if found is not None:
            yield found


def _first_inputs(
    calls: list[tuple[Site, dict[str, Any]]], inputs: tuple[InputFigures, ...]
) -> Iterator[InputFigures]:
    """What the first layer reads, and every layer that reads an input as it came."""
    seen = False
    for site, part in calls:
        if "input_means" not in part:
            continue
        rms = float(part["input_rms"])
        if not seen or any(math.isclose(rms, row.rms, rel_tol=1e-3) for row in inputs):
            seen = True
            yield from_moments(site.name, part["input_means"], part["input_deviations"])
