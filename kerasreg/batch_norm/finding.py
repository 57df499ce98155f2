"""The batch norms of a model, and what to say where there are none."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.paths import layer_paths
from kerasreg.layers.frozen_batch_norm import FrozenStatistics

# A list of a large model's layers would bury the sentence.
_LISTED = 20


def batch_norms(owner: str, model: Any) -> dict[keras.layers.BatchNormalization, str]:
    """Every batch norm of a built model with its path, in the model's order.

    Raises:
        ValueError: If `model` is not a built Keras model, or holds no batch norm.
    """
    if not isinstance(model, keras.Model) or not model.built:
        remedy = "call it once on data, or give it an Input" if isinstance(model, keras.Model) else None
        came = Came(f"the unbuilt {type(model).__name__} '{model.name}'") if remedy else model
        raise refusal(owner, "model", "a built keras.Model", came, remedy)
    paths = layer_paths(model)
    found = {layer: path for layer, path in paths.items() if is_batch_norm(layer)}
    if not found:
        came = Came(
            f"the layers {listing(f'{path} ({type(layer).__name__})' for layer, path in paths.items())}"
        )
        raise refusal(owner, "model", "a model with a BatchNormalization", came)
    unbuilt = [path for layer, path in found.items() if not layer.built]
    if unbuilt:
        came = Came(f"'{model.name}', in which {listing(unbuilt)} has no weights yet")
        raise refusal(owner, "model", "a model whose batch norms are built", came, "call it once on data")
    return found


def is_batch_norm(layer: Any) -> bool:
    """Whether a layer is a batch norm, Keras' or ours."""
    return isinstance(layer, keras.layers.BatchNormalization)


def is_frozen(layer: keras.layers.BatchNormalization) -> bool:
    """Whether `fit` leaves the layer's statistics as they are."""
    return isinstance(layer, FrozenStatistics) or not layer.trainable


def listing(names: Any) -> str:
    """Names in a row, the first ones of many."""
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more
