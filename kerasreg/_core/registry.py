"""One decorator through which every public class enters Keras' serialization."""

from __future__ import annotations

from typing import Any, TypeVar

import keras

T = TypeVar("T", bound=type)

PACKAGE = "kerasreg"


def from_file(config: Any) -> Any:
    """What a configuration names for us to call, or None if it names something else.

    Keras lets a file name public functions of its own, and some of them set what the whole process goes by:
    the epsilon, the precision. So of functions only operations, activations and those that somebody
    registered are taken, beside layers and schedules.
    """
    thing = keras.saving.deserialize_keras_object(config)
    if isinstance(thing, (keras.layers.Layer, keras.optimizers.schedules.LearningRateSchedule)):
        return thing
    name = getattr(thing, "__name__", "")
    public = any(getattr(module, name, None) is thing for module in (keras.ops, keras.activations))
    known = thing if name else type(thing)
    registered = keras.saving.get_registered_object(keras.saving.get_registered_name(known)) is known
    return thing if public or registered else None


def register(cls: T) -> T:
    """Register a class as ``kerasreg>ClassName``, the name that a saved model holds."""
    return keras.saving.register_keras_serializable(package=PACKAGE)(cls)
