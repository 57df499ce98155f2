"""Who gives what to whom in a model, kept up to date while batch norms leave it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import keras

from kerasreg._core.graph import Call, graph_calls, is_graph, subgraphs
from kerasreg._core.private import sublayers


class FoldGraph:
    """The calls of a model and of the graphs nested in it.

    Attributes:
        calls: From each layer to its calls, in any of the graphs; a nested graph's calls count once, however
            often it is called itself.
        held: From each layer that other Python than a graph's may call to the layer that holds it.
        trained: The layers of graphs that are called with `training=True`, and stay in training at inference.
    """

    def __init__(self, model: keras.Model):
        self.calls: dict[keras.layers.Layer, list[Call]] = defaultdict(list)
        self.held: dict[keras.layers.Layer, keras.layers.Layer] = {}
        self.trained: set[keras.layers.Layer] = set()
        self._producers: dict[int, Call] = {}
        self._consumers: dict[int, list[Call]] = defaultdict(list)
        self._outputs: set[int] = set()
        # What takes the place of a removed call's output.
        self._now: dict[int, Any] = {}
        # An id is a tensor's name only as long as the tensor lives.
        self._alive: list[Any] = []
        for graph in subgraphs(model):
            self._read(graph)

    def _read(self, graph: keras.Model) -> None:
        calls = graph_calls(graph)
        self._alive += [calls, graph.outputs]
        self._outputs.update(id(tensor) for tensor in graph.outputs)
        for call in calls:
            for tensor in call.inputs:
                self._consumers[id(tensor)].append(call)
            for tensor in call.outputs:
                self._producers[id(tensor)] = call
            self.calls[call.operation].append(call)
        for layer in graph.layers:
            if is_graph(layer):
                called = [call.kwargs.get("training") for call in self.calls[layer]]
                if any(called) or graph in self.trained:
                    self.trained.update([layer, *layer.layers])
            else:
                self._hold(layer, layer)

    def _hold(self, holder: keras.layers.Layer, layer: keras.layers.Layer) -> None:
        for child in sublayers(layer):
            self.held.setdefault(child, holder)
            self._hold(holder, child)

    def source(self, call: Call) -> Any:
        """The tensor that a call now gets as its first argument."""
        tensor = call.first
        while id(tensor) in self._now:
            tensor = self._now[id(tensor)]
        return tensor

    def producer(self, tensor: Any) -> Call | None:
        """The call that makes a tensor, or None for an input of the model."""
        return self._producers.get(id(tensor))

    def consumers(self, tensor: Any) -> list[Call]:
        """The calls that take a tensor."""
        return self._consumers[id(tensor)]

    def is_output(self, tensor: Any) -> bool:
        """Whether a tensor leaves its graph."""
        return id(tensor) in self._outputs

    def remove(self, layer: keras.layers.Layer) -> None:
        """Have those who take what the layer gives take what it is given."""
        for call in self.calls.pop(layer):
            source, (output,) = self.source(call), call.outputs
            rest = [other for other in self._consumers[id(source)] if other is not call]
            self._consumers[id(source)] = rest + self._consumers.pop(id(output), [])
            self._now[id(output)] = source
            if self.is_output(output):
                self._outputs.add(id(source))
