"""What all regularizers share: a checked strength, wide sums, and how they are saved."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.tensors import wide_dtype
from kerasreg.regularizers.schedule import (
    Schedule,
    checked_strength,
    strength_config,
    strength_from_config,
)


def wide(weights: Any, owner: str = "a regularizer") -> Any:
    """Weights in float32 or wider: a float16 sum of squares overflows from 65504 on."""
    weights = ops.convert_to_tensor(weights)
    dtype = keras.backend.standardize_dtype(weights.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise refusal(owner, "x", "weights of a floating-point type", Came(dtype))
    return ops.cast(weights, wide_dtype(dtype))


class Regularizer(keras.regularizers.Regularizer):
    """A regularizer that shows its arguments."""

    def __repr__(self) -> str:
        arguments = {name: vars(self).get(name, value) for name, value in self.get_config().items()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


class Penalty(Regularizer):
    """A regularizer with a strength, a number or a schedule."""

    def __init__(self, strength: float | Schedule):
        self.strength = checked_strength(type(self).__name__, strength)

    def current_strength(self) -> Any:
        """A Python float, or a scalar tensor that belongs to the step being made."""
        return self.strength() if isinstance(self.strength, Schedule) else self.strength

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"strength": strength_config(self.strength)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """The regularizer that `get_config` described."""
        return cls(**strength_from_config(config))
