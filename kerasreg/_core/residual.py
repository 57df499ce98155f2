"""Residual branches in a model's graph: where the layers are that add to a trunk."""

from __future__ import annotations

import keras

from kerasreg._core.kernels import kernels_of
from kerasreg._core.private import sublayers
from kerasreg._core.wiring import Call, calls, graphs, is_addition

# What hands a branch's scale on as it is.
_TRANSPARENT = {
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "GaussianDropout",
    "DropPath",
    "Identity",
    "Reshape",
    "Flatten",
    "Permute",
    "Cropping1D",
    "Cropping2D",
    "ZeroPadding2D",
}


def branch_ends(model: keras.Model) -> list[keras.layers.Layer]:
    """The last linear layer of every residual branch x + f(x) in a Functional model and in those inside it.

    A branch is what is added to one of its own ancestors. A branch that ends in a normalisation has no such
    layer: its size is not in a kernel. A model without a graph gives none.

    Example:
        >>> import keras
        >>> x = inputs = keras.Input((8,))
        >>> x = keras.layers.Add()([x, keras.layers.Dense(8, name="end")(keras.layers.ReLU()(x))])
        >>> [layer.name for layer in branch_ends(keras.Model(inputs, x))]
        ['end']
    """
    found: dict[keras.layers.Layer, None] = {}
    for graph in graphs(model):
        above: dict[Call, set[Call]] = {}
        for call in graph:
            above[call] = set(call.sources).union(*(above[source] for source in call.sources))
            if not is_addition(call.operation):
                continue
            for branch in call.sources:
                others = [source for source in call.sources if source is not branch]
                end = _end(branch) if any(trunk in above[branch] for trunk in others) else None
                if end is not None:
                    found[end] = None
    return list(found)


def _end(call: Call) -> keras.layers.Layer | None:
    operation = call.operation
    if isinstance(operation, keras.Model):
        inside = calls(operation)
        return _end(inside[-1]) if inside else None
    if isinstance(operation, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention):
        return next((part for part in sublayers(operation) if part.name == "attention_output"), None)
    if isinstance(operation, keras.layers.Layer) and kernels_of(operation):
        return operation
    if type(operation).__name__ in _TRANSPARENT and len(call.sources) == 1:
        return _end(call.sources[0])
    return None


def output_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The linear layers after which no other comes, in a model with a graph; none without one."""
    graph = calls(model)
    if graph is None:
        return []
    feeds = {source for call in graph for source in call.sources}
    return [layer for end in graph if end not in feeds for layer in _last_linear(end)]


def _last_linear(call: Call) -> list[keras.layers.Layer]:
    operation = call.operation
    if isinstance(operation, keras.Model):
        return output_layers(operation)
    if isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    if isinstance(operation, keras.layers.Layer) and kernels_of(operation):
        return [operation]
    return [layer for source in call.sources for layer in _last_linear(source)]
