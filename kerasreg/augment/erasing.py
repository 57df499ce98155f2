"""A rectangle cut out of each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.pixels import Found, PixelTransform, per_pixel
from kerasreg.augment.transform import between
from kerasreg.augment.units import Units, numbers_per_channel


def rectangles(
    area: tf.Tensor, ratio: tf.Tensor, down: tf.Tensor, right: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Top, bottom, left and right edges of rectangles inside the image, whole numbers as float32.

    Args:
        area: The share of the image, in [0, 1]; all of shape `(images,)`.
        ratio: Height over width of the rectangle.
        down: Where it is between the highest and the lowest place, in [0, 1).
        right: The same from left to right.
        height: Of the images, a scalar.
        width: Of the images, a scalar.
    """
    pixels = area * height * width
    # One that is too wide for the image is made as high as it must be, one too high is shortened and widened.
    least = tf.minimum(tf.math.ceil(pixels / width), height)
    tall = tf.clip_by_value(tf.round(tf.sqrt(pixels * ratio)), least, height)
    wide = tf.minimum(tf.round(pixels / tf.maximum(tall, 1.0)), width)
    top = tf.minimum(tf.floor(down * (height - tall + 1)), height - tall)
    left = tf.minimum(tf.floor(right * (width - wide + 1)), width - wide)
    return top, top + tall, left, left + wide


@register
class RandomErasing(PixelTransform):
    """Overwrites a rectangle of each image with one colour.

    Its share of the image is drawn uniformly, the logarithm of its height over its width too, and then
    its place, evenly among those where it lies in the image. A rectangle too long for the image is
    shortened, and keeps its area. What was under it is gone: `tta_predict(dense=True)` refuses it.

    Args:
        area: The share of the image that is erased, in [0, 1]; a number for always this one, or a
            `(low, high)` pair.
        ratio: Height over width of the rectangle, above 0; a number for always this one, or a pair.
        fill_value: The colour, a number or one for each channel, in the units of the pipeline's images.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Zhong et al., "Random erasing data augmentation", 2020.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomErasing
        >>> pipeline = Pipeline([RandomErasing(0.25, ratio=1, probability=1)])
        >>> int(tf.reduce_sum(tf.cast(pipeline(tf.ones([8, 8, 1])) == 0, tf.int32)))
        16
    """

    kind = "cut-out"
    leaves_range = True
    invertible = False
    magnitudes = 4

    def __init__(
        self,
        area: float | tuple[float, float] = (0.02, 0.33),
        ratio: float | tuple[float, float] = (0.3, 3.3),
        fill_value: float | Sequence[float] = 0.0,
        probability: float = 0.5,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.area = arguments.fixed_or_interval(self._owner, "area", area, 0, 1)
        self.ratio = arguments.fixed_or_interval(self._owner, "ratio", ratio, 0)
        if self.ratio[0] <= 0:
            raise arguments.refusal(self._owner, "ratio", "above 0", ratio)
        self._fill = numbers_per_channel(self._owner, "fill_value", fill_value)
        self.channels = len(self._fill) if len(self._fill) > 1 else None
        self.fill_value = self._fill[0] if self.channels is None else list(self._fill)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(images)[1:3]))
        area = between(*self.area, uniform[:, 0])
        ratio = tf.exp(between(*map(math.log, self.ratio), uniform[:, 1]))
        edges = rectangles(area, ratio, uniform[:, 2], uniform[:, 3], height, width)
        return dict(zip(("top", "bottom", "left", "right"), edges, strict=True))

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        top, bottom, left, right = (per_pixel(found[edge]) for edge in ("top", "bottom", "left", "right"))
        rows = tf.range(tf.shape(images)[1])[None, :, None, None]
        columns = tf.range(tf.shape(images)[2])[None, None, :, None]
        rows, columns = tf.cast(rows, tf.float32), tf.cast(columns, tf.float32)
        inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
        return tf.where(inside, units.carried(self._fill), images)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {
            "area": list(self.area),
            "ratio": list(self.ratio),
            "fill_value": self.fill_value,
            **super().get_config(),
        }
