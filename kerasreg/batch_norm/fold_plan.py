"""Which batch norms go into which linear layers, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._core.graph import REMOVED, Call, Replacement
from kerasreg.batch_norm.affine import Affine, affine_of
from kerasreg.batch_norm.finding import is_batch_norm
from kerasreg.batch_norm.fold_graph import FoldGraph
from kerasreg.batch_norm.kinds import calls_as_keras_does
from kerasreg.batch_norm.linear import KINDS, CannotFold, Linear

_POOLS = (
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
)
# A linear layer behind a batch norm, and the map that reaches it: the map, its axis, the tensor's rank.
_Reached = tuple[keras.layers.Layer, Affine, int, int]


class FoldPlan:
    """What becomes of each batch norm of a graph.

    Attributes:
        folded: From each batch norm that goes to the linear layers that take it up.
        left: From each other one to the reason.
    """

    def __init__(self, model: keras.Model, paths: dict[keras.layers.Layer, str]):
        self._paths = paths
        self._graph = FoldGraph(model)
        self._outputs = _named_outputs(model)
        self._linear: dict[keras.layers.Layer, Linear] = {}
        self.folded: dict[keras.layers.Layer, list[keras.layers.Layer]] = {}
        self.left: dict[keras.layers.Layer, str] = {}
        waiting = [layer for layer in paths if is_batch_norm(layer)]
        # One that goes may bring the next to a linear layer.
        while [layer for layer in waiting if self._try(layer)]:
            waiting = [layer for layer in waiting if layer not in self.folded]
        self.left = {layer: self.left[layer] for layer in waiting}

    def replace(self, layer: keras.layers.Layer) -> Any:
        """What `rebuilt` asks of every layer."""
        if layer in self._linear:
            return self._linear[layer].replacement()
        if layer not in self.folded:
            return None
        if layer in self._outputs:
            # Losses and metrics know a model's output by the name of its last layer.
            return Replacement(keras.layers.Activation("linear", name=layer.name, dtype=layer.dtype_policy))
        return REMOVED

    def _try(self, layer: keras.layers.BatchNormalization) -> bool:
        try:
            affine = self._checked(layer)
        except CannotFold as reason:
            self.left[layer] = str(reason)
            return False
        reasons = []
        for attempt in (self._backward, self._forward):
            try:
                changed = attempt(layer, affine)
            except CannotFold as reason:
                if str(reason) not in reasons:
                    reasons.append(str(reason))
            else:
                self._linear.update(changed)
                self._graph.remove(layer)
                self.folded[layer] = list(changed)
                return True
        self.left[layer] = "; ".join(reasons)
        return False

    def _checked(self, layer: keras.layers.BatchNormalization) -> Affine:
        """The map, of a batch norm that may go."""
        if layer in self._graph.held:
            raise CannotFold(f"it is called inside {self._name(self._graph.held[layer])}, which is no graph")
        calls = self._graph.calls.get(layer)
        if not calls:
            raise CannotFold("the graph does not call it")
        if not calls_as_keras_does(layer):
            raise CannotFold(f"{type(layer).__name__} has a call of its own")
        if layer in self._graph.trained or any(call.kwargs.get("training") for call in calls):
            raise CannotFold("it is called with training=True")
        if layer.activity_regularizer is not None:
            raise CannotFold("it has an activity regularizer")
        if any(call.first.dtype != call.outputs[0].dtype for call in calls):
            raise CannotFold(f"its input is {calls[0].first.dtype}, its output {calls[0].outputs[0].dtype}")
        affine = affine_of(layer)
        if not all(np.isfinite(figure).all() for figure in affine):
            raise CannotFold("its statistics or weights are not finite numbers")
        return affine

    def _backward(
        self, layer: keras.layers.BatchNormalization, affine: Affine
    ) -> dict[keras.layers.Layer, Linear]:
        """Into the linear layer whose output it normalises."""
        graph, calls = self._graph, self._graph.calls[layer]
        sources = [graph.source(call) for call in calls]
        producers = [graph.producer(source) for source in sources]
        if any(producer is None for producer in producers):
            raise CannotFold("its input is an input of the model")
        before = producers[0].operation
        linear = self._taker(before, "its input comes from {}")
        if any(producer.operation is not before for producer in producers):
            raise CannotFold("it is shared by several layers")
        if any(graph.is_output(source) for source in sources):
            raise CannotFold(f"the output of {linear.name} leaves the model too")
        if any(len(graph.consumers(source)) > 1 for source in sources):
            raise CannotFold(f"the output of {linear.name} is used elsewhere too")
        if len(set(map(id, producers))) != len(graph.calls[before]):
            raise CannotFold(f"{linear.name} is called elsewhere too")
        rank = len(sources[0].shape)
        linear.take_output(affine, layer.axis % rank, rank)
        linear.replacement()
        return {before: linear}

    def _forward(
        self, layer: keras.layers.BatchNormalization, affine: Affine
    ) -> dict[keras.layers.Layer, Linear]:
        """Into all linear layers that take what it gives."""
        reached: dict[keras.layers.Layer, list[_Reached]] = {}
        for call in self._graph.calls[layer]:
            (output,) = call.outputs
            rank = len(output.shape)
            for one in self._reached(output, affine, layer.axis % rank):
                reached.setdefault(one[0], []).append(one)
        changed = {}
        for after, ways in reached.items():
            linear = self._taker(after, "its output goes to {}")
            if len(ways) != len(self._graph.calls[after]):
                raise CannotFold(f"{linear.name} is called elsewhere too")
            (_, first, axis, rank), *others = ways
            if any(not _same(first, other[1]) or other[2:] != (axis, rank) for other in others):
                raise CannotFold(f"it reaches {linear.name} on different ways")
            linear.take_input(first, axis, rank)
            linear.replacement()
            changed[after] = linear
        return changed

    def _reached(self, tensor: Any, affine: Affine, axis: int) -> Iterator[_Reached]:
        """The layers behind a tensor, through what hands an affine map on."""
        if self._graph.is_output(tensor):
            raise CannotFold("its output leaves the model, or a nested one")
        rank = len(tensor.shape)
        for call in self._graph.consumers(tensor):
            if self._graph.source(call) is not tensor or len(call.inputs) > 1:
                raise CannotFold(f"its output goes to {self._name(call.operation)}")
            if type(call.operation) in _POOLS and _features_at(call.operation, rank) == axis:
                # The mean of scale x + shift is scale mean(x) + shift.
                (output,) = call.outputs
                moved = axis if len(output.shape) == rank else 1
                yield from self._reached(output, affine, moved)
            elif type(call.operation) is keras.layers.Flatten and _can_flatten(call, tensor):
                yield from self._reached(call.outputs[0], _flat(affine, tensor.shape, axis), 1)
            else:
                yield call.operation, affine, axis, rank

    def _taker(self, layer: Any, words: str) -> Linear:
        """A layer's weights with what they have taken so far, to be changed at will."""
        name = self._name(layer)
        if type(layer) not in KINDS:
            raise CannotFold(words.format(name))
        if layer in self._graph.held:
            raise CannotFold(f"{name} is called inside {self._name(self._graph.held[layer])} too")
        linear = Linear(layer, name)
        if layer in self._linear:
            linear.adopt(self._linear[layer])
        return linear

    def _name(self, layer: Any) -> str:
        return f"{type(layer).__name__} '{self._paths.get(layer, layer.name)}'"


def _named_outputs(model: keras.Model) -> set[Any]:
    """The last layers of a model whose outputs somebody may know by name."""
    if isinstance(model, keras.Sequential) or not (model.compiled or len(model.outputs) > 1):
        return set()
    return {layer for layer in model.layers if layer.name in model.output_names}


def _same(a: Affine, b: Affine) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _features_at(layer: Any, rank: int) -> int:
    return 1 if layer.data_format == "channels_first" else rank - 1


def _can_flatten(call: Call, tensor: Any) -> bool:
    sizes = tensor.shape[1:]
    return None not in sizes and (call.operation.data_format == "channels_last" or len(sizes) == 1)


def _flat(affine: Affine, shape: tuple[int, ...], axis: int) -> Affine:
    laid_out = [-1 if i == axis else 1 for i in range(1, len(shape))]
    return Affine(*(np.broadcast_to(figure.reshape(laid_out), shape[1:]).reshape(-1) for figure in affine))
