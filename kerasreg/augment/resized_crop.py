"""A part of each image, of one size for all: any window, brought to that size."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.crop import whole_pair
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.matrices import crop_matrix
from kerasreg.augment.transform import Size, between, whole_between

_ATTEMPTS = 10


@register
class RandomResizedCrop(GeometricTransform):
    """Cuts a window of random area, proportions and place out of each image, and resizes it.

    The share of the image's area is drawn uniformly, the logarithm of width over height too; height and width
    are rounded to whole pixels, and the place is drawn evenly among those where the window lies in the
    image. A window that does not fit is drawn anew, up to ten times; after that it is the largest in
    the middle of the image with proportions in `ratio`. This is torchvision's rule.

    The crop is a matrix like any other: it costs no resample of its own beside a rotation or a zoom.
    Where it shrinks to less than half, each output pixel is the mean of what it covers.

    Args:
        size: Height and width of the result in pixels, a `(height, width)` pair or one number for both.
        area: The share of the image's area that is seen, above 0 and at most 1; a number for always this
            one, or a `(low, high)` pair.
        ratio: Width over height of the window, above 0; a number for always this one, or a pair.
        probability: How often a window is drawn; otherwise the whole image is resized.
        name: See `Pipeline`.

    Raises:
        ValueError: An argument outside what is stated here.

    Source:
        Szegedy et al., "Going deeper with convolutions", 2015, section 6.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomResizedCrop
        >>> pipeline = Pipeline([RandomResizedCrop(96)])
        >>> pipeline(tf.zeros([10, 120, 160, 3], tf.uint8)).shape.as_list()
        [10, 96, 96, 3]
    """

    changes_size = True
    invertible = False
    fills = False
    magnitudes = 2 * _ATTEMPTS + 2

    def __init__(
        self,
        size: int | tuple[int, int],
        area: float | tuple[float, float] = (0.08, 1.0),
        ratio: float | tuple[float, float] = (3 / 4, 4 / 3),
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.size = whole_pair(self._owner, "size", size, 1, "(height, width)")
        self.area = arguments.fixed_or_interval(self._owner, "area", area, 0, 1)
        self.ratio = arguments.fixed_or_interval(self._owner, "ratio", ratio, 0)
        for name_, pair, came in (("area", self.area, area), ("ratio", self.ratio, ratio)):
            if pair[0] <= 0:
                raise arguments.refusal(self._owner, name_, "above 0", came)

    def size_after(self, size: Size) -> Size:
        """See `Transform.size_after`."""
        return self.size

    def window(
        self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Top, left, height and width of the windows, whole numbers as float32 of shape `(images,)`."""
        pixels = between(*self.area, uniform[:, :_ATTEMPTS]) * height * width
        ratio = tf.exp(between(*map(math.log, self.ratio), uniform[:, _ATTEMPTS : 2 * _ATTEMPTS]))
        wide, tall = tf.round(tf.sqrt(pixels * ratio)), tf.round(tf.sqrt(pixels / ratio))
        fits = (wide >= 1) & (tall >= 1) & (wide <= width) & (tall <= height)
        first = tf.argmax(tf.cast(fits, tf.int32), axis=1, output_type=tf.int32)
        found = tf.reduce_any(fits, axis=1)
        middle_tall, middle_wide = self._middle(height, width)
        tall = tf.where(found, tf.gather(tall, first, batch_dims=1), middle_tall)
        wide = tf.where(found, tf.gather(wide, first, batch_dims=1), middle_wide)
        top, left = (
            tf.where(found, whole_between(0, side - length, uniform[:, i]), tf.floor((side - length) / 2))
            for side, length, i in ((height, tall, -2), (width, wide, -1))
        )
        return top, left, tall, wide

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        top, left, tall, wide = self.window(uniform, height, width)
        return crop_matrix(top, left, (tall, wide), (height, width), self.size)

    def idle_matrix(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.idle_matrix`: the whole image, resized."""
        zero = tf.zeros([1])
        return crop_matrix(zero, zero, (height, width), (height, width), self.size)[0]

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {
            "size": list(self.size),
            "area": list(self.area),
            "ratio": list(self.ratio),
            **super().get_config(),
        }

    def _middle(self, height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Height and width of the largest window whose proportions are allowed."""
        low, high = self.ratio
        tall = tf.clip_by_value(tf.round(width / low), 1.0, height)
        wide = tf.clip_by_value(tf.round(height * high), 1.0, width)
        return tall, wide
