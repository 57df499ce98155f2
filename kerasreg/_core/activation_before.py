"""The activation whose output each layer reads, from a model's graph."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.kernels import kernels_of
from kerasreg._core.wiring import Call, calls, graphs

# Layers that are an activation themselves, without an attribute that says which.
_ACTIVATIONS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.PReLU)
# What hands the size of a signal on, at least roughly.
_TRANSPARENT = (
    "Dropout",
    "Pooling",
    "Reshape",
    "Flatten",
    "Permute",
    "Identity",
    "Cropping",
    "ZeroPadding",
    "UpSampling",
    "DropPath",
    "Masking",
)


def activations_before(model: keras.Model) -> dict[keras.layers.Layer, Any]:
    """For each layer with a kernel that a graph calls: the activation before it, None for none.

    Layers that no graph calls (those of a subclassed model) are not in it.

    Example:
        >>> import keras
        >>> layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
        >>> found = activations_before(keras.Sequential([keras.Input((4,)), *layers]))
        >>> found[layers[0]] is None, found[layers[2]].__name__
        (True, 'relu')
    """
    found: dict[keras.layers.Layer, Any] = {}
    for graph in graphs(model):
        for call in graph:
            operation = call.operation
            if isinstance(operation, keras.layers.TimeDistributed):
                operation = operation.layer
            if isinstance(operation, keras.layers.Layer) and kernels_of(operation):
                found.setdefault(operation, _activation(call.sources[0]) if call.sources else None)
    return found


def _activation(call: Call) -> Any:
    operation = call.operation
    if isinstance(operation, keras.Model):
        inside = calls(operation)
        return _activation(inside[-1]) if inside else None
    if isinstance(operation, keras.layers.PReLU):
        return "relu"  # with weights of its own; small at the start
    if isinstance(operation, _ACTIVATIONS):
        return operation
    if isinstance(operation, keras.layers.TimeDistributed):
        operation = operation.layer
    is_layer = isinstance(operation, keras.layers.Layer)
    if is_layer and (kernels_of(operation) or isinstance(operation, keras.layers.Activation)):
        return operation.activation if hasattr(operation, "activation") else None
    if any(word in type(operation).__name__ for word in _TRANSPARENT) and len(call.sources) == 1:
        return _activation(call.sources[0])
    return None
