"""Which units of which layers go, and what the weights around them become."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._core.graph import Call, Replacement, graph_calls, is_graph, subgraphs
from kerasreg._core.kernels import kernels_of
from kerasreg._core.private import sublayers
from kerasreg.sparsity.features import CannotShrink, Features, applied, behind, features_at

_CONV = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_LINEAR = (keras.layers.Dense, *_CONV)
# A layer whose weights follow the units, and the features that it is given.
_Reader = tuple[keras.layers.Layer, Features]


class ShrinkPlan:
    """What becomes of each layer of a model."""

    def __init__(self, model: keras.Model, paths: dict[keras.layers.Layer, str]):
        self._paths = paths
        self._calls: dict[Any, list[Call]] = defaultdict(list)
        self._consumers: dict[int, list[Call]] = defaultdict(list)
        self._outputs: set[int] = set()
        self._held: dict[Any, Any] = {}
        # An id is a tensor's name only as long as the tensor lives.
        self._alive: list[Any] = []
        for graph in subgraphs(model):
            self._read(graph)
        self._weights: dict[keras.layers.Layer, dict[str, np.ndarray]] = {}
        self._changed: set[keras.layers.Layer] = set()
        self._reasons: dict[keras.layers.Layer, str] = {}
        linear = [layer for layer in paths if type(layer) in _LINEAR]
        # What goes may leave others without an input that varies, or without a reader.
        while [layer for layer in linear if self._shrunk(layer)]:
            pass

    def _read(self, graph: keras.Model) -> None:
        calls = graph_calls(graph)
        self._alive += [calls, graph.outputs]
        self._outputs.update(id(tensor) for tensor in graph.outputs)
        for call in calls:
            self._calls[call.operation].append(call)
            for tensor in {id(tensor): tensor for tensor in call.inputs}.values():
                self._consumers[id(tensor)].append(call)
        for layer in graph.layers:
            if not is_graph(layer):
                self._hold(layer, layer)

    def _hold(self, holder: keras.layers.Layer, layer: keras.layers.Layer) -> None:
        for child in sublayers(layer):
            self._held.setdefault(child, holder)
            self._hold(holder, child)

    def replace(self, layer: keras.layers.Layer) -> Any:
        """What `rebuilt` asks of every layer."""
        if layer not in self._changed:
            return None
        weights, config = self._weights[layer], layer.get_config()
        if type(layer) in _LINEAR:
            config["units" if "units" in config else "filters"] = weights["kernel"].shape[-1]
            config["use_bias"] = "bias" in weights
            kind = keras.backend.standardize_dtype(layer.kernel.dtype)
            arrays = [
                weights[name].astype("float32").astype(kind)
                if kind == "bfloat16"
                else weights[name].astype(kind)
                for name in ("kernel", "bias")
                if name in weights
            ]
        else:
            arrays = list(weights.values())
        return Replacement(type(layer).from_config(config), arrays)

    def units(self) -> dict[str, tuple[int, int]]:
        """From the path of each layer that lost units to their number before and after."""
        found = {}
        for layer, path in self._paths.items():
            if layer in self._changed and type(layer) in _LINEAR:
                before, after = layer.kernel.shape[-1], self._weights[layer]["kernel"].shape[-1]
                if after < before:
                    found[path] = (before, after)
        return found

    def left(self) -> dict[str, str]:
        """From the path of each layer that still has units of 0 to the reason."""
        found = {}
        for layer, path in self._paths.items():
            for kernel in kernels_of(layer):
                if kernel.kind not in ("dense", "conv", "depthwise", "transpose"):
                    continue
                weights = self._weights.get(layer, {}).get("kernel")
                weights = _array(kernel.variable) if weights is None else weights
                units = {axis % weights.ndim for axis in kernel.output_axes}
                zero = (weights == 0).all(axis=tuple(set(range(weights.ndim)) - units))
                if zero.any() and zero.size > 1:
                    found[path] = self._reason(layer)
        return found

    def _reason(self, layer: keras.layers.Layer) -> str:
        if layer in self._held:
            return f"it is called inside {self._name(self._held[layer])}, which is no graph"
        if type(layer) not in _LINEAR:
            return f"its units are those of a {type(layer).__name__}"
        return self._reasons.get(layer, "a layer keeps one unit")

    def unused_inputs(self, model: keras.Model) -> dict[str, list[int]]:
        """From the name of each input to its features that no weight reads."""
        found = {}
        for tensor in model.inputs:
            shape = tuple(tensor.shape)
            if len(shape) < 2 or shape[-1] is None:
                continue
            features = Features(np.arange(shape[-1]), np.full(shape[-1], np.nan), shape, len(shape) - 1)
            try:
                readers, _ = self._readers(tensor, features)
            except CannotShrink:
                continue
            unread = self._unread(readers, shape[-1], constants=False)
            if unread.any():
                found[tensor.name] = np.flatnonzero(unread).tolist()
        return found

    def _shrunk(self, layer: keras.layers.Layer) -> bool:
        """Whether units of a layer went."""
        try:
            call = self._checked(layer)
            (output,) = call.outputs
            weights = self._state(layer)
            zero = (weights["kernel"] == 0).all(axis=tuple(range(weights["kernel"].ndim - 1)))
            constant = np.where(zero, weights.get("bias", np.zeros(len(zero))), np.nan)
            constant = applied(layer.activation, constant, layer, self._name(layer))
            shape = tuple(output.shape)
            features = Features(np.arange(len(zero)), constant, shape, features_at(layer, len(shape)))
            readers, normalizers = self._readers(output, features)
        except CannotShrink as reason:
            self._reasons[layer] = str(reason)
            return False
        gone = self._unread(readers, len(zero), constants=True)
        self._reasons[layer] = "a convolution behind it pads with zeros what is another number"
        if gone.all():
            # A layer has one unit at least.
            gone[0] = False
            self._reasons[layer] = "a layer keeps one unit"
        if not gone.any():
            return False
        self._keep_units(layer, ~gone)
        for reader, features in readers:
            self._drop_inputs(reader, features, gone[features.unit])
        for normalizer, features in normalizers:
            stays = ~gone[features.unit]
            state = self._weights[normalizer]
            for name, value in state.items():
                state[name] = value[stays] if value.shape == stays.shape else value
            self._changed.add(normalizer)
        return True

    def _checked(self, layer: keras.layers.Layer) -> Call:
        """The one call of a layer that can be changed."""
        name = self._name(layer)
        if layer in self._held:
            raise CannotShrink(f"it is called inside {self._name(self._held[layer])}, which is no graph")
        if len(self._calls.get(layer, ())) != 1:
            raise CannotShrink(f"{name} is called several times or never")
        if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
            raise CannotShrink(f"{name} is quantized or has a LoRA")
        if getattr(layer, "groups", 1) != 1:
            raise CannotShrink(f"{name} has groups")
        return self._calls[layer][0]

    def _readers(self, tensor: Any, features: Features) -> tuple[list[_Reader], list[_Reader]]:
        """The linear layers that a tensor goes to, and the batch norms on the way."""
        linear: list[_Reader] = []
        normalizers: list[_Reader] = []
        for reader in self._walk(tensor, features):
            (linear if type(reader[0]) in _LINEAR else normalizers).append(reader)
        return linear, normalizers

    def _walk(self, tensor: Any, features: Features) -> Iterator[_Reader]:
        if id(tensor) in self._outputs:
            raise CannotShrink("its output leaves the model, or a nested one")
        for call in self._consumers[id(tensor)]:
            layer, name = call.operation, self._name(call.operation)
            if call.first is not tensor or len(call.inputs) > 1 or len(call.outputs) > 1:
                raise CannotShrink(f"its output goes to {name}")
            if call.kwargs.get("training"):
                raise CannotShrink(f"{name} is called with training=True")
            state = None
            if type(layer) in _LINEAR or isinstance(layer, keras.layers.BatchNormalization):
                self._checked(layer)
                state = self._state(layer)
            if type(layer) in _LINEAR:
                if features_at(layer, len(features.shape)) != features.axis:
                    raise CannotShrink(f"{name} has its features at another axis")
                yield layer, features
                continue
            after = behind(layer, name, features, tuple(call.outputs[0].shape), state)
            if state is not None:
                yield layer, features
            yield from self._walk(call.outputs[0], after)

    def _unread(self, readers: list[_Reader], units: int, constants: bool) -> np.ndarray:
        """Which units no reader needs, or none that a bias could not stand for."""
        unread = np.ones(units, bool)
        for reader, features in readers:
            needed = ~self._zero_rows(reader)
            if constants:
                foldable = np.isfinite(features.constant)
                if not _pads_nothing(reader):
                    foldable &= features.constant == 0
                needed &= ~foldable
            unread[features.unit[needed]] = False
        return unread

    def _zero_rows(self, reader: keras.layers.Layer) -> np.ndarray:
        kernel = self._state(reader)["kernel"]
        return (kernel == 0).all(axis=tuple(i for i in range(kernel.ndim) if i != kernel.ndim - 2))

    def _keep_units(self, layer: keras.layers.Layer, stays: np.ndarray) -> None:
        state = self._weights[layer]
        for name, value in state.items():
            state[name] = value[..., stays]
        self._changed.add(layer)

    def _drop_inputs(self, reader: keras.layers.Layer, features: Features, gone: np.ndarray) -> None:
        state = self._weights[reader]
        kernel = state["kernel"]
        # What is not constant goes only where nothing reads it.
        constant = np.where(self._zero_rows(reader), 0.0, features.constant)[gone]
        spatial = kernel[..., gone, :].reshape(-1, gone.sum(), kernel.shape[-1]).sum(axis=0)
        moved = constant @ spatial
        if moved.any():
            state["bias"] = state.get("bias", 0.0) + moved
        state["kernel"] = kernel[..., ~gone, :]
        self._changed.add(reader)

    def _state(self, layer: keras.layers.Layer) -> dict[str, np.ndarray]:
        """A layer's weights as they are by now, by name."""
        if layer not in self._weights:
            if type(layer) in _LINEAR:
                state = {"kernel": _array(layer.kernel).astype("float64")}
                if layer.bias is not None:
                    state["bias"] = _array(layer.bias).astype("float64")
            else:
                state = {weight.name: _array(weight) for weight in layer.weights}
            self._weights[layer] = state
        return self._weights[layer]

    def _name(self, layer: Any) -> str:
        return f"{type(layer).__name__} '{self._paths.get(layer, layer.name)}'"


def _pads_nothing(layer: keras.layers.Layer) -> bool:
    return type(layer) not in _CONV or layer.padding == "valid" or set(layer.kernel_size) == {1}


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))
