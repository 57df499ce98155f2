"""One decorator through which every public class enters Keras' serialization."""

from __future__ import annotations

from typing import TypeVar

import keras

T = TypeVar("T", bound=type)

PACKAGE = "kerasreg"


def register(cls: T) -> T:
    """Register a class as ``kerasreg>ClassName``, the name that a saved model holds."""
    return keras.saving.register_keras_serializable(package=PACKAGE)(cls)
