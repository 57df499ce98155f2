"""Copy a layer's whole state into another layer of the same class and config."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import sublayers


def copy_state(owner: str, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Give a copy the weights, seeds, vocabularies and other state of its original.

    Raises:
        ValueError: If the two do not hold the same variables.
    """
    shapes = [[tuple(v.shape) for v in layer.variables] for layer in (old, new)]
    if shapes[0] != shapes[1]:
        allowed = "a model whose layers, made anew from their config, hold the same variables"
        came = Came(f"{type(old).__name__} '{old.name}' of shapes {shapes[0]}, whose copy has {shapes[1]}")
        raise refusal(owner, "model", allowed, came)
    for old_part, new_part in zip(_parts(old), _parts(new), strict=True):
        # The layer's own way: some keep more than variables, or work out more from them.
        store: dict = {}
        old_part.save_own_variables(store)
        if store:
            new_part.load_own_variables(store)
        if hasattr(old_part, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old_part.save_assets(folder)
                new_part.load_assets(folder)
    # Seeds are in no layer's own. As copies: JAX deletes an array given to a step, whoever else holds it.
    for old_variable, new_variable in zip(old.variables, new.variables, strict=True):
        value = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(old_variable))
        new_variable.assign(np.array(value))


def _parts(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    yield layer
    for child in sublayers(layer):
        yield from _parts(child)
