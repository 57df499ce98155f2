"""The strength of a proximal step: a number, or a schedule over the optimizer's updates."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, number, refusal
from kerasreg._core.training_context import Follower

_RATE_SCHEDULE = keras.optimizers.schedules.LearningRateSchedule


def checked_strength(owner: str, value: Any) -> Any:
    """A strength as a Python float, or the schedule that stands in its place."""
    if isinstance(value, (Follower, _RATE_SCHEDULE)):
        return value
    if isinstance(value, keras.Variable):
        allowed = "a finite number of at least 0 or a kr.regularizers.Schedule"
        remedy = "a Schedule changes with the step on every backend, a variable does not"
        raise refusal(owner, "strength", allowed, Came("a keras.Variable"), remedy)
    return number(owner, "strength", value, low=0)


def strength_at_step(strength: Any, step: Any, dtype: str) -> Any:
    """A Python float, or a scalar tensor that belongs to the optimizer's step."""
    if isinstance(strength, float):
        return strength
    step = ops.cast(step, "float32")
    return ops.cast(ops.maximum(ops.cast(strength(step), "float32"), 0.0), dtype)


def strength_config(strength: Any) -> Any:
    """A strength as its owner's configuration holds it."""
    return strength if isinstance(strength, float) else keras.saving.serialize_keras_object(strength)


def strength_from_config(config: dict[str, Any]) -> dict[str, Any]:
    """An owner's configuration with its schedule, if it has one, made into one again."""
    if isinstance(config.get("strength"), dict):
        return {**config, "strength": keras.saving.deserialize_keras_object(config["strength"])}
    return config
