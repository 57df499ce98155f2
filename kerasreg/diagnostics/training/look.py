"""What a training's rules need to know of its model, gathered when it begins and when an epoch ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kerasreg._core.kernels import calibrated_call, kernels_of
from kerasreg._core.paths import layer_paths
from kerasreg._core.residual import output_layers
from kerasreg._tap.inputs import StepInputs
from kerasreg.diagnostics.figures import InputFigures
from kerasreg.diagnostics.input_figures import from_moments
from kerasreg.diagnostics.measures import is_fresh_norm, is_rectifier
from kerasreg.diagnostics.training.facts import LayerFacts, Training
from kerasreg.diagnostics.training.kernels import broken_weights, kernel_rows, still_stuck

# Flat at both ends. The steps of relu6 are no saturation: half of a healthy layer is at 0.
_BOUNDED = ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign")
_RECURRENT_OUTPUT = ("LSTM", "GRU", "SimpleRNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


class Look:
    """Keeps what is known of one training.

    Args:
        model: A built model, compiled, before its first step.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._kernels = kernel_rows(model)
        self._layers = layer_facts(model)
        self._rate = self._largest_rate = None
        self._losses: dict[int, float] = {}
        self._bad_inputs: dict[int, dict[str, int]] = {}
        self._first: dict[str, dict[str, Any]] = {}
        self._first_step = 0
        self._first_dead: dict[str, float] | None = None
        self._first_window = 0
        self._inputs: tuple[tuple[InputFigures, ...], tuple[InputFigures, ...]] = ((), ())

    def step(
        self,
        step: int,
        rows: Sequence[Mapping[str, Any]],
        logs: Mapping[str, Any] | None,
        inputs: StepInputs | None = None,
    ) -> None:
        """Take note of an observed step."""
        if inputs is not None:
            names = input_names(self._model, len(inputs.given))
            bad = {names[i]: m.nonfinite for i, m in inputs.given.items() if m.nonfinite and i < len(names)}
            if bad:
                self._bad_inputs[step] = bad
            elif self._inputs == ((), ()) and any(m.deviations.any() for m in inputs.given.values()):
                # A batch of one row says nothing of how much rows differ.
                self._inputs = _scales(inputs, names)
        if not self._first:
            self._first_step = step
            self._first = {row["layer"]: {k: v for k, v in row.items() if k != "layer"} for row in rows}
        loss = (logs or {}).get("loss")
        if loss is not None:
            self._losses[step] = float(loss)

    def epoch(self, logs: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]] = ()) -> Training:
        """All that is known at the end of an epoch, whose observed rows these are."""
        logs = {name: float(value) for name, value in (logs or {}).items() if _is_number(value)}
        self._rate = learning_rate(self._model)
        if self._rate is not None:
            self._largest_rate = max(self._rate, self._largest_rate or 0.0)
        # A look at all weights is only worth it where something speaks for it.
        healthy = math.isfinite(logs.get("loss", 0.0)) and all(map(math.isfinite, self._losses.values()))
        healthy = healthy and not self._bad_inputs and not any(row.get("dead") == 1.0 for row in rows)
        inputs, first_inputs = self._inputs
        return Training(
            layers=_with_outputs(self._layers, self._first),
            rate=self._rate,
            largest_rate=self._largest_rate,
            logs=logs,
            losses=self._losses,
            first_step=self._first_step,
            first=self._first,
            first_dead=self._first_dead or {},
            first_window=self._first_window,
            inputs=inputs,
            first_inputs=first_inputs,
            bad_inputs=self._bad_inputs,
            kernels=self._kernels,
            stuck=still_stuck(self._model, self._kernels),
            bad_weights=frozenset() if healthy else broken_weights(self._model),
        )

    def close(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Remember the first window, to which later ones are compared."""
        if self._first_dead is None:
            self._first_dead = {row["layer"]: row["dead"] for row in rows if row.get("dead") is not None}
            self._first_window = len({row["step"] for row in rows})


def input_names(model: keras.Model, count: int) -> list[str]:
    """The names of a model's flattened inputs; those that Keras makes up are none."""
    names = [tensor.name for tensor in keras.tree.flatten(getattr(model, "inputs", None) or [])]
    if len(names) < count or any(name.startswith(("keras_tensor", "input_layer")) for name in names):
        return ["input"] if count == 1 else [f"input {i}" for i in range(max(count, len(names)))]
    return names


def _scales(
    inputs: StepInputs, names: Sequence[str]
) -> tuple[tuple[InputFigures, ...], tuple[InputFigures, ...]]:
    given = {names[i]: moments for i, moments in inputs.given.items() if i < len(names)}
    return tuple(
        tuple(
            from_moments(name, m.means.astype("float64"), m.deviations.astype("float64")) for name, m in part
        )
        for part in (given.items(), inputs.read.items())
    )


def layer_facts(model: keras.Model) -> dict[str, LayerFacts]:
    """What each layer of a model is, by its path.

    Example:
        >>> layers = [keras.layers.Dense(4, "relu", name="h"), keras.layers.Dense(2, name="o")]
        >>> model = keras.Sequential([keras.Input((3,)), *layers])
        >>> [(f.rectifier, f.units, f.output) for path, f in layer_facts(model).items() if path in "ho"]
        [(True, 4, False), (False, 2, True)]
    """
    outputs = set(output_layers(model))
    return {path: _facts(layer, layer in outputs) for layer, path in layer_paths(model).items()}


def learning_rate(model: keras.Model) -> float | None:
    """The optimizer's learning rate now, None for an optimizer without one."""
    try:
        rate = model.optimizer.learning_rate
        return float(rate.numpy() if isinstance(rate, keras.Variable) else rate)
    except (AttributeError, TypeError, ValueError):
        return None


def _facts(layer: keras.layers.Layer, output: bool) -> LayerFacts:
    kernels = kernels_of(layer)
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    kernel = kernels[-1] if kernels else None
    norm = isinstance(layer, keras.layers.BatchNormalization)
    # What a layer of the user's own computes, nobody can tell from its class.
    foreign = not type(layer).__module__.startswith(("keras.", "kerasreg."))
    parts = (kernel,) if kernel else ()
    penalised = any(
        getattr(layer, f"{part.attribute}_{kind}", None) is not None
        for part in parts
        for kind in ("regularizer", "constraint")
    )
    recurrent = type(layer).__name__ in _RECURRENT_OUTPUT
    return LayerFacts(
        type=type(layer).__name__,
        activation=name,
        weighted=recurrent or bool(kernels and layer.trainable and kernel.kind != "embedding"),
        rectifier=is_rectifier(activation or layer) or (foreign and not kernels),
        bounded=name in _BOUNDED and not recurrent,
        output=output,
        units=_units(layer, kernel),
        momentum=float(layer.momentum) if norm and _is_number(getattr(layer, "momentum", None)) else None,
        fresh=norm and is_fresh_norm(layer),
        penalised=penalised,
        remedy=_remedy(kernel),
    )


def _units(layer: keras.layers.Layer, kernel: Any) -> int:
    if kernel is not None and kernel.kind != "embedding" and layer.built:
        shape = kernel.variable.shape
        if kernel.kind == "transpose":
            return int(shape[-2])
        return math.prod(shape[axis] for axis in kernel.output_axes)
    return 0


def _remedy(kernel: Any) -> str:
    if kernel is None or not kernel.layer.built:
        return "kernel_initializer=kr.initializers.Calibrated('relu')"
    argument = {"depthwise": "depthwise_initializer", "embedding": "embeddings_initializer"}
    name = argument.get(kernel.kind, kernel.attribute.replace("_kernel", "") + "_initializer")
    return f"{name}={calibrated_call(kernel)}"


def _with_outputs(layers: dict[str, LayerFacts], first: Mapping[str, Any]) -> dict[str, LayerFacts]:
    """With the last linear layer called, and what comes after it, told to be the output."""
    order = [name.partition(":")[0] for name in first]
    weighted = [i for i, path in enumerate(order) if path in layers and layers[path].weighted]
    if not weighted:
        return layers
    tail = set(order[weighted[-1] :])
    tail -= set(order[: weighted[-1]])
    return {
        path: LayerFacts(**{**vars(facts), "output": True}) if path in tail else facts
        for path, facts in layers.items()
    }


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
