"""Penalties that belong to a layer, not to whoever regularizes its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class OwnPenalty(keras.regularizers.Regularizer):
    """A penalty that a method of the layer computes, and that comes back with the layer.

    An object, since before version 3.15 Keras took no function for a weight's regularizer.
    """

    def __init__(self, method: Callable[[Any], Any]) -> None:
        self._method = method

    def __call__(self, x: Any) -> Any:
        return self._method(x)
