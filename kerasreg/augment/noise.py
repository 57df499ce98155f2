"""Noise of its own for every value, from a counter-based generator."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.draws import threefry2x32
from kerasreg.augment.pixels import Found, PixelTransform, per_pixel
from kerasreg.augment.transform import between
from kerasreg.augment.units import Units


def standard_normal(keys: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Normal numbers of this shape, a function of the image's key and of the value's place in it.

    Args:
        keys: uint32 of shape `(images, 2)`.
        shape: `(images, height, width, channels)`.

    Returns:
        float32; the Box-Muller transform of Threefry's words.
    """
    places = tf.cast(tf.range(tf.reduce_prod(shape[1:])), tf.uint32)
    zero = tf.zeros([], tf.uint32)
    words = threefry2x32((keys[:, :1], keys[:, 1:]), (places[None], zero))
    return tf.reshape(box_muller(*words), shape)


def box_muller(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Normal numbers from pairs of uint32 words; every pair gives a finite one."""
    shift = tf.constant(8, tf.uint32)
    first, second = (tf.cast(tf.bitwise.right_shift(word, shift), tf.float32) for word in (first, second))
    radius = tf.sqrt(-2.0 * tf.math.log((first + 1.0) * 2.0**-24))
    return radius * tf.cos((2 * math.pi * 2.0**-24) * second)


@register
class RandomGaussianNoise(PixelTransform):
    """Adds normal noise, drawn for every pixel and channel: `x + s * (high - low) * n`.

    The noise of an image follows from the seed, the epoch and the image's place in it, as all draws do.

    Args:
        std: The standard deviation `s`, a fraction of the range of values, at least 0; a number for
            always this one, or a `(low, high)` pair between which one is drawn for each image.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Box and Muller, "A note on the generation of random normal deviates", 1958.

    Example:
        >>> RandomGaussianNoise((0, 0.05))
        RandomGaussianNoise(std=(0.0, 0.05))
    """

    kind = "noise"
    leaves_range = True
    magnitudes = 3

    def __init__(
        self, std: float | tuple[float, float], probability: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(probability, name)
        self.std = arguments.fixed_or_interval(self._owner, "std", std, 0)

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        # The uniform numbers are multiples of 2**-24: 48 bits of key for each image.
        keys = tf.cast(uniform[:, 1:] * 2.0**24, tf.uint32)
        return {"std": between(*self.std, uniform[:, 0]), "keys": keys}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """See `PixelTransform.change`."""
        noise = standard_normal(found["keys"], tf.shape(images))
        return images + per_pixel(found["std"]) * units.width * noise

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"std": list(self.std), **super().get_config()}
