"""A model's graph, where it has one: what stands before and after each layer's call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._core.graph import is_graph
from kerasreg._core.private import graph_nodes, graph_of_sequential, sublayers


@dataclass(frozen=True, eq=False)
class Call:
    """One call in a graph: the operation (a layer or a Keras function) and the calls that feed it."""

    operation: Any
    sources: tuple[Call, ...]


def calls(model: keras.Model) -> list[Call] | None:
    """The calls of a Functional or Sequential model in order, None for a model without a graph."""
    if not is_graph(model):
        return None
    functional = graph_of_sequential(model) if isinstance(model, keras.Sequential) else model
    producer: dict[int, Call] = {}
    found = []
    for node in graph_nodes(functional, inputs=True):
        sources = tuple(producer[id(tensor)] for tensor in node.input_tensors if id(tensor) in producer)
        call = Call(node.operation, sources)
        producer.update((id(tensor), call) for tensor in node.output_tensors)
        found.append(call)
    return found


def graphs(model: keras.layers.Layer) -> Iterator[list[Call]]:
    """The graphs of a model and of all models inside it."""
    # A Sequential model and the Functional one inside it are two layers with one graph.
    seen: list[set[int]] = []
    for layer in (model, *_below(model)):
        found = calls(layer) if isinstance(layer, keras.Model) else None
        operations = {id(call.operation) for call in found or ()}
        if found is not None and operations not in seen:
            seen.append(operations)
            yield found


def _below(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for child in sublayers(layer):
        yield child
        yield from _below(child)


def is_addition(operation: Any) -> bool:
    """Whether a call adds its inputs: `keras.layers.Add`, or `a + b` of two symbolic tensors."""
    return isinstance(operation, keras.layers.Add) or (
        not isinstance(operation, keras.layers.Layer) and type(operation).__name__ == "Add"
    )
