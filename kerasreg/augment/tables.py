"""Tables that are the same for every image: fewer levels, and the negative of what is bright."""

from __future__ import annotations

import numbers
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.pixels import Found, PixelTransform, per_pixel
from kerasreg.augment.transform import between
from kerasreg.augment.units import Units

LEVELS = 256
"""How many levels the range is cut into where a transform is defined on bytes."""


def to_levels(values: tf.Tensor, units: Units) -> tf.Tensor:
    """Values as levels, 0 at the low and 255 at the high end of the range, not rounded."""
    return (values - units.bounds[0]) * ((LEVELS - 1) / units.width)


def from_levels(levels: tf.Tensor, units: Units) -> tf.Tensor:
    """Levels as values."""
    return levels * (units.width / (LEVELS - 1)) + units.bounds[0]


@register
class RandomPosterize(PixelTransform):
    """Keeps the highest bits of each value, written as a byte: `level - level mod 2**(8 - bits)`.

    The byte is the nearest of 256 levels, from 0 at the low end of the range to 255 at the high end.

    Args:
        bits: How many bits are kept, a whole number from 1 to 8, or a `(low, high)` pair between which,
            ends included, one is drawn. 8 only rounds to the 256 levels.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomPosterize
        >>> pipeline = Pipeline([RandomPosterize(2, probability=1)])
        >>> pipeline(tf.constant([[[63.0], [64.0], [255.0]]]))[0, :, 0].numpy().tolist()
        [0.0, 64.0, 192.0]
    """

    def __init__(
        self, bits: int | tuple[int, int] = 4, probability: float = 0.5, name: str | None = None
    ) -> None:
        super().__init__(probability, name)
        self.bits = _bits(self._owner, bits)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        low, high = self.bits
        bits = tf.minimum(tf.floor(between(low, high + 1, uniform[:, 0])), high)
        return {"step": tf.pow(2.0, 8.0 - bits)}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        step = per_pixel(found["step"])
        return from_levels(tf.floor(tf.round(to_levels(images, units)) / step) * step, units)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"bits": list(self.bits), **super().get_config()}


@register
class RandomSolarize(PixelTransform):
    """Inverts what is bright: `low + high - x` where `x` is at or above a threshold, else `x`.

    Args:
        threshold: Where in the range inversion begins, a fraction in [0, 1], or a `(low, high)` pair
            between which one is drawn for each image.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomSolarize
        >>> pipeline = Pipeline([RandomSolarize(0.5, probability=1)])
        >>> pipeline(tf.constant([[[100.0], [200.0]]]))[0, :, 0].numpy().tolist()
        [100.0, 55.0]
    """

    def __init__(
        self,
        threshold: float | tuple[float, float] = 0.5,
        probability: float = 0.5,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.threshold = arguments.fixed_or_interval(self._owner, "threshold", threshold, 0, 1)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        return {"threshold": between(*self.threshold, uniform[:, 0])}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        low, high = units.bounds
        threshold = low + per_pixel(found["threshold"]) * units.width
        return tf.where(images < threshold, images, low + high - images)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"threshold": list(self.threshold), **super().get_config()}


def _bits(owner: str, bits: Any) -> tuple[int, int]:
    allowed = "a whole number from 1 to 8 or a (low, high) pair of such"
    pair = tuple(bits) if isinstance(bits, list | tuple) else (bits, bits)
    whole = all(isinstance(b, numbers.Integral) and not isinstance(b, bool) and 1 <= b <= 8 for b in pair)
    if len(pair) != 2 or not whole or pair[0] > pair[1]:
        raise arguments.refusal(owner, "bits", allowed, bits)
    return int(pair[0]), int(pair[1])
