"""Tables that an image's own values decide: the histogram made even, and the range filled."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from kerasreg._core.registry import register
from kerasreg.augment.pixels import Found, PixelTransform
from kerasreg.augment.tables import LEVELS, from_levels, to_levels
from kerasreg.augment.units import Units


def histograms(levels: tf.Tensor) -> tf.Tensor:
    """How often each level occurs: `(images, channels, 256)`, from rounded levels."""
    shape = tf.shape(levels)
    count, channels = shape[0], shape[3]
    place = tf.range(count)[:, None, None, None] * channels + tf.range(channels)
    index = tf.cast(levels, tf.int32) + LEVELS * place
    flat = tf.reshape(index, [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, count * channels * LEVELS)
    return tf.reshape(counts, [count, channels, LEVELS])


def equalizing_tables(counts: tf.Tensor) -> tf.Tensor:
    """The level that each level becomes, from histograms `(..., 256)`; the convention of Pillow.

    `(s // 2 + n_below) // s` with `s = (n - n_last) // 255`, where `n_below` pixels are darker and
    `n_last` have the highest level that occurs; no change where `s` is 0.
    """
    levels = tf.range(LEVELS)
    highest = tf.reduce_max(tf.where(counts > 0, levels, 0), axis=-1, keepdims=True)
    last = tf.reduce_sum(tf.where(levels == highest, counts, 0), axis=-1, keepdims=True)
    step = (tf.reduce_sum(counts, axis=-1, keepdims=True) - last) // (LEVELS - 1)
    below = tf.cumsum(counts, axis=-1, exclusive=True)
    table = (step // 2 + below) // tf.maximum(step, 1)
    # Rising already: a sort is what XLA does not work out anew for every pixel that looks into the table.
    return tf.sort(tf.where(step > 0, tf.minimum(table, LEVELS - 1), levels), axis=-1)


def _over_pixels(reduce: Callable[..., tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """The smallest or largest value of each channel, `(images, channels)`."""
    # Columns first, with the channels side by side: that vectorises.
    height, width, channels = tf.unstack(tf.shape(images)[1:])
    columns = reduce(tf.reshape(images, [-1, height, width * channels]), axis=1)
    return reduce(tf.reshape(columns, [-1, width, images.shape[3]]), axis=1)


@register
class RandomEqualize(PixelTransform):
    """Makes each channel's histogram of 256 levels even. Values between two levels are interpolated.

    On bytes it is what Pillow computes.

    Args:
        probability: How often an image is changed, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Gonzalez and Woods, "Digital Image Processing", section 3.3; the rounding is that of Pillow's
        `ImageOps.equalize`.

    Example:
        >>> RandomEqualize(0.2)
        RandomEqualize(probability=0.2)
    """

    magnitudes = 0

    def __init__(self, probability: float = 0.5, name: str | None = None) -> None:
        super().__init__(probability, name)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        tables = equalizing_tables(histograms(tf.round(to_levels(images, units))))
        return {"tables": tf.cast(tables, tf.float32)}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        shape = tf.shape(images)
        tables = tf.reshape(found["tables"], [shape[0], -1])
        levels = to_levels(images, units)
        below = tf.floor(levels)
        index = tf.cast(below, tf.int32) + LEVELS * tf.range(shape[3])
        flat = tf.reshape(index, [shape[0], -1])
        top = LEVELS * tf.range(1, shape[3] + 1) - 1
        above = tf.reshape(tf.minimum(index + 1, top), [shape[0], -1])
        first, second = (tf.reshape(tf.gather(tables, i, batch_dims=1), shape) for i in (flat, above))
        return from_levels(first + (second - first) * (levels - below), units)


@register
class RandomAutoContrast(PixelTransform):
    """Stretches each channel so that its darkest pixel is at the low and its brightest at the high end.

    `low + (x - min) / (max - min) * (high - low)`; a channel of one value stays as it is. Nothing is
    rounded (Pillow cuts to whole levels).

    Args:
        probability: How often an image is changed, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomAutoContrast
        >>> pipeline = Pipeline([RandomAutoContrast(probability=1)])
        >>> pipeline(tf.constant([[[10.0], [20.0], [60.0]]]))[0, :, 0].numpy().tolist()
        [0.0, 51.0, 255.0]
    """

    magnitudes = 0
    leaves_range = True  # by the last bit of a float

    def __init__(self, probability: float = 0.5, name: str | None = None) -> None:
        super().__init__(probability, name)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        low, _ = units.bounds
        darkest, brightest = (_over_pixels(reduce, images) for reduce in (tf.reduce_min, tf.reduce_max))
        spread = brightest - darkest
        gain = tf.where(spread > 0, units.width / tf.where(spread > 0, spread, 1.0), 1.0)
        return {"gain": gain, "bias": tf.where(spread > 0, low - darkest * gain, 0.0)}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        return images * found["gain"][:, None, None] + found["bias"][:, None, None]
