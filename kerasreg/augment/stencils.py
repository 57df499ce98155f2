"""Transforms that make a pixel out of those around it: sharper, and blurred."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.color import multiplier
from kerasreg.augment.pixels import Found, Pass, PixelTransform, per_pixel
from kerasreg.augment.transform import Range, between
from kerasreg.augment.units import Units

_WIDEST = 30.0
"""The compiled filter has six terms for each pixel of deviation."""


def smoothed(images: tf.Tensor) -> tf.Tensor:
    """The mean of the 3x3 pixels around each with weight 5 in the middle; the border pixels as they are."""
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    around = tf.add_n([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)])
    rows, columns = tf.range(height)[:, None], tf.range(width)
    inner = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    return tf.where(inner[..., None], (around + 4 * images) / 13, images)


def blurred(images: tf.Tensor, sigma: tf.Tensor, radius: int, axis: int) -> tf.Tensor:
    """A Gaussian filter along one axis (1 or 2), cut off at `radius`, of a width of its own for each image.

    Outside stands the image mirrored at its edge, `d c b a | a b c d | d c b a`.
    """
    size = tf.shape(images)[axis]
    place = tf.math.floormod(tf.range(-radius, size + radius), 2 * size)
    padded = tf.gather(images, tf.minimum(place, 2 * size - 1 - place), axis=axis)
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    # A width of 0 leaves the middle alone.
    weights = tf.exp(-0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)[:, None]))
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    shifted = [
        padded[:, k : k + size] if axis == 1 else padded[:, :, k : k + size] for k in range(2 * radius + 1)
    ]
    return tf.add_n([per_pixel(weights[:, k]) * part for k, part in enumerate(shifted)])


@register
class RandomSharpness(PixelTransform):
    """Sharpens or softens images: `s + f * (x - s)` with `f` drawn uniformly and `s` the smoothed image.

    `s` is the mean of the 3x3 pixels around each, with weight 5 in the middle and 1 around it; the
    pixels at the border stay as they are. It is what Pillow and torchvision do.

    Args:
        factor: The multiplier `f`, at least 0: a `(low, high)` pair around 1, or a number `x` in [0, 1]
            that means `(1 - x, 1 + x)`. 1 changes nothing, 0 leaves the smoothed image.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomSharpness(0.5)
        RandomSharpness(factor=(0.5, 1.5))
    """

    kind = "stencil"
    leaves_range = True

    def __init__(self, factor: Range, probability: float = 1.0, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.factor = multiplier(self._owner, "factor", factor)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        return {"factor": between(*self.factor, uniform[:, 0])}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        smooth = smoothed(images)
        return smooth + per_pixel(found["factor"]) * (images - smooth)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"factor": list(self.factor), **super().get_config()}


@register
class RandomGaussianBlur(PixelTransform):
    """Blurs images with a Gaussian whose standard deviation is drawn uniformly.

    The filter reaches three of the largest deviations to each side, along rows and then along columns,
    with the image mirrored at its edges.

    Args:
        sigma: The standard deviation in pixels, from 0 (changes nothing) to 30; a number for always this
            one, or a `(low, high)` pair.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomGaussianBlur((0.1, 2))
        RandomGaussianBlur(sigma=(0.1, 2.0))
    """

    kind = "stencil"

    def __init__(
        self, sigma: float | tuple[float, float], probability: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(probability, name)
        self.sigma = arguments.fixed_or_interval(self._owner, "sigma", sigma, 0, _WIDEST)
        self._radius = max(1, math.ceil(3 * self.sigma[1]))

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        return {"sigma": between(*self.sigma, uniform[:, 0])}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        for one in self.passes():
            images = one(images, found, units)
        return images

    def passes(self) -> Sequence[Pass]:
        """One for each axis: together, XLA would work out the first anew for every tap of the second."""
        return partial(self._along, 1), partial(self._along, 2)

    def _along(self, axis: int, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        return blurred(images, found["sigma"], self._radius, axis)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"sigma": list(self.sigma), **super().get_config()}
