"""What every transform has: a probability, a name for its random numbers, a configuration."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment.units import Units

Range = float | tuple[float, float]
"""A `(low, high)` pair, or a number `x` for `(-x, x)`."""

Size = tuple[int | tf.Tensor, int | tf.Tensor]
"""Height and width, as numbers where they are known, as scalar int32 tensors where not."""


class Transform:
    """One random change of an image, described by the parameters it draws.

    A transform of places or colours never touches pixels. It turns uniform numbers into a matrix, and
    the pipeline composes the matrices of neighbouring transforms before it touches the pixels once.
    What no matrix describes is a `PixelTransform`.

    Args:
        probability: How often an image is changed at all, a number in [0, 1].
        name: What its random numbers are keyed by. By default the class name, and in a pipeline
            with several of a class `RandomFlip`, `RandomFlip_1`, ... in order.
    """

    magnitudes: int = 1
    """How many uniform numbers the transform's own method reads."""

    invertible: ClassVar[bool] = False
    """True where pixels stay where they are or are moved by a matrix: predictions can be led back."""

    changes_size: ClassVar[bool] = False
    """True where images come out in another height or width, all of them, in that of an attribute `size`."""

    channels: int | None = None
    """How many channels images must have, if the transform has a number for each."""

    def __init__(self, probability: float = 1.0, name: str | None = None) -> None:
        self.probability = arguments.number(self._owner, "probability", probability, 0, 1)
        if name is not None and (not isinstance(name, str) or not name):
            raise arguments.refusal(self._owner, "name", "a non-empty string or None", name)
        self.name = name

    @property
    def lanes(self) -> int:
        """Uniform numbers per image: one that decides whether the image is changed, then the magnitudes."""
        return 1 + self.magnitudes

    def fires(self, uniform: tf.Tensor) -> tf.Tensor:
        """Which images are changed, bool of shape `(images,)`."""
        return uniform[:, 0] < self.probability

    def units_after(self, units: Units) -> Units:
        """The range of values behind the transform, given the one before it: the same but for `Rescale`."""
        return units

    def size_after(self, size: Size) -> Size:
        """Height and width of the images behind the transform, given those before it: mostly the same."""
        return size

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`, in types that JSON has."""
        return {"probability": self.probability, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Transform:
        """The transform that `get_config` described."""
        return cls(**config)

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self._owner}({readable_arguments(self)})"


def readable_arguments(thing: Any) -> str:
    """The arguments of an object that differ from their defaults, as they would be typed."""
    shown = []
    for name, parameter in inspect.signature(type(thing).__init__).parameters.items():
        if name == "self":
            continue
        value = getattr(thing, name)
        if value != parameter.default:
            shown.append(f"{name}={value!r}")
    return ", ".join(shown)


def between(low: float, high: float, uniform: tf.Tensor) -> tf.Tensor:
    """The point of `[low, high)` that a uniform number in [0, 1) stands for."""
    return low + (high - low) * uniform


def whole_between(low: int | tf.Tensor, high: int | tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """The whole number from `low` to `high`, both included, that a uniform number in [0, 1) stands for.

    >>> whole_between(0, 2, tf.constant([0.0, 0.3, 0.5, 0.99])).numpy().tolist()
    [0.0, 0.0, 1.0, 2.0]
    """
    low, high = tf.cast(low, tf.float32), tf.cast(high, tf.float32)
    return tf.minimum(low + tf.floor((high - low + 1) * uniform), high)
