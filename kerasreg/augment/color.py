"""Transforms that change colours by an affine map of each pixel's channels.

A map is a pair `(matrix, bias)`: `colour -> matrix @ colour + bias`. Where channels do not mix the
matrix is diagonal and only its diagonal is kept, as gains of shape `(images, channels)`; otherwise
it has shape `(images, channels, channels)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.transform import Range, Transform, between
from kerasreg.augment.units import Units

ColorMap = tuple[tf.Tensor, tf.Tensor]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""The grey value of red, green and blue (ITU-R BT.601)."""


def identity_map(images: tf.Tensor, channels: int) -> ColorMap:
    """The map that changes nothing, as gains."""
    return tf.ones([images, channels]), tf.zeros([images, channels])


def compose(first: ColorMap, then: ColorMap) -> ColorMap:
    """The one map that does `first` and then `then`: `(N M, N b + c)`."""
    (m, b), (n, c) = first, then
    if m.shape.rank == 2 and n.shape.rank == 2:
        return n * m, n * b + c
    m, n = _full(m), _full(n)
    return n @ m, tf.linalg.matvec(n, b) + c


def apply_map(color: ColorMap, pixels: tf.Tensor) -> tf.Tensor:
    """The map at every pixel of `(images, height, width, channels)`."""
    gain, bias = color
    if gain.shape.rank == 2:
        return pixels * gain[:, None, None] + bias[:, None, None]
    # Written out, this is one loop that vectorises; as a product of matrices it takes four times as long.
    parts = [pixels[..., c : c + 1] * gain[:, None, None, :, c] for c in range(pixels.shape[-1])]
    return tf.add_n(parts) + bias[:, None, None]


def apply_map_to_vector(color: ColorMap, vector: tf.Tensor) -> tf.Tensor:
    """The map at one colour per image, `(images, channels)`."""
    gain, bias = color
    if gain.shape.rank == 2:
        return gain * vector + bias
    return tf.linalg.matvec(gain, vector) + bias


def linear_part(color: ColorMap) -> ColorMap:
    """The map without its bias."""
    return color[0], tf.zeros_like(color[1])


def mean_color(images: tf.Tensor) -> tf.Tensor:
    """The mean of each channel over an image's pixels, float32 of shape `(images, channels)`."""
    # Columns first: a sum over rows of pixels and channels side by side is the one that vectorises, as a
    # product it is twice as fast as a sum, and two short sums in float32 lose less than one long one.
    height, width, channels = tf.unstack(tf.shape(images)[1:])
    rows = tf.reshape(tf.cast(images, tf.float32), [-1, height, width * channels])
    sums = tf.linalg.matvec(rows, tf.ones([height]), transpose_a=True)
    sums = tf.reshape(sums, [-1, width, images.shape[3]])
    return tf.reduce_mean(sums, axis=1) / tf.cast(height, tf.float32)


def _full(gain: tf.Tensor) -> tf.Tensor:
    return tf.linalg.diag(gain) if gain.shape.rank == 2 else gain


class ColorTransform(Transform):
    """A transform that maps colours affinely; a subclass writes `color_map`."""

    invertible = True

    uses_mean: bool = False
    """True where the map depends on the image's mean colour."""

    needs_rgb: bool = False
    """True where the map is about red, green and blue, so that images must have 3 channels."""

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """The map of each image.

        Args:
            uniform: Uniform numbers in [0, 1), shape `(images, magnitudes)`.
            mean: float32 of shape `(images, channels)`, the image's mean colour as this transform
                finds it, after the colour maps before it.
            units: The range of the values here: the pipeline's `value_range`, after what `Rescale` did to it.

        Returns:
            Gains `(images, channels)` or matrices `(images, channels, channels)`, and the bias
            `(images, channels)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `color_map`")

    def gated_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """`color_map` for the images that are changed, the identity for the others."""
        gain, bias = self.color_map(uniform[:, 1:], mean, units)
        fires = self.fires(uniform)[:, None]
        same = tf.ones_like(bias)
        if gain.shape.rank == 2:
            return tf.where(fires, gain, same), tf.where(fires, bias, 0.0)
        return tf.where(fires[:, None], gain, tf.linalg.diag(same)), tf.where(fires, bias, 0.0)


@register
class RandomBrightness(ColorTransform):
    """Adds one number to all channels: `x + f * (high - low)` with `f` drawn uniformly.

    Args:
        factor: `f`, as a fraction of the pipeline's `value_range = (low, high)`; `x` means `(-x, x)`.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomBrightness
        >>> pipeline = Pipeline([RandomBrightness((0.1, 0.1))], value_range=(0, 255))
        >>> float(pipeline(tf.fill([1, 1, 1], 100.0))[0, 0, 0])
        125.5
    """

    def __init__(self, factor: Range, probability: float = 1.0, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.factor = arguments.interval(self._owner, "factor", factor)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        added = between(*self.factor, uniform) * units.width
        return tf.ones_like(mean), tf.zeros_like(mean) + added

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"factor": list(self.factor), **super().get_config()}


@register
class RandomContrast(ColorTransform):
    """Spreads or draws together the colours about their mean: `m + f * (x - m)` with `f` drawn uniformly.

    `m` is the mean of each channel over the pixels of the image as it stands before the warp of the
    same step, with the colour transforms before this one applied to it. Pixels that a rotation moves
    out of sight therefore count, and those that the fill brings in do not.

    Args:
        factor: The multiplier `f`, at least 0: a `(low, high)` pair around 1, or a number `x` in [0, 1]
            that means `(1 - x, 1 + x)`. 1 changes nothing, 0 leaves a uniform grey.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomContrast(0.25)
        RandomContrast(factor=(0.75, 1.25))
        >>> from kerasreg.augment import Pipeline, RandomContrast
        >>> pipeline = Pipeline([RandomContrast((0.5, 0.5))])
        >>> pipeline(tf.constant([[[0.0], [100.0]]]))[0, :, 0].numpy().tolist()
        [25.0, 75.0]
    """

    uses_mean = True

    def __init__(self, factor: Range, probability: float = 1.0, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.factor = multiplier(self._owner, "factor", factor)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        gain = tf.zeros_like(mean) + between(*self.factor, uniform)
        return gain, mean * (1.0 - gain)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"factor": list(self.factor), **super().get_config()}


@register
class RandomSaturation(ColorTransform):
    """Strengthens or weakens colours against each pixel's grey value: `g + f * (x - g)`.

    `g = 0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601) and `f` is drawn uniformly. Images have 3 channels.

    Args:
        factor: The multiplier `f`, at least 0: a `(low, high)` pair around 1, or a number `x` in [0, 1]
            that means `(1 - x, 1 + x)`. 1 changes nothing, 0 leaves grey pixels.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomSaturation(0.5)
        RandomSaturation(factor=(0.5, 1.5))
    """

    needs_rgb = True

    def __init__(self, factor: Range, probability: float = 1.0, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.factor = multiplier(self._owner, "factor", factor)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        factor = between(*self.factor, uniform)[..., None]
        return factor * np.eye(3, dtype=np.float32) + (1 - factor) * _to_grey(), tf.zeros_like(mean)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"factor": list(self.factor), **super().get_config()}


@register
class RandomGrayscale(ColorTransform):
    """Takes the colour out of images: all three channels become `0.299 R + 0.587 G + 0.114 B`.

    Args:
        probability: How often an image becomes grey, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomGrayscale(0.2)
        RandomGrayscale(probability=0.2)
    """

    needs_rgb = True

    def __init__(self, probability: float = 0.1, name: str | None = None) -> None:
        super().__init__(probability, name)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        return tf.zeros_like(mean)[..., None] + _to_grey(), tf.zeros_like(mean)


@register
class RandomInvert(ColorTransform):
    """Turns images into their negative: `low + high - x`, with the ends of the pipeline's `value_range`.

    Args:
        probability: How often an image is inverted, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomInvert
        >>> pipeline = Pipeline([RandomInvert(probability=1)])
        >>> float(pipeline(tf.fill([1, 1, 1], 55.0))[0, 0, 0])
        200.0
    """

    def __init__(self, probability: float = 0.5, name: str | None = None) -> None:
        super().__init__(probability, name)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        low, high = units.bounds
        return -tf.ones_like(mean), tf.zeros_like(mean) + (low + high)


def _to_grey() -> np.ndarray:
    return np.tile(LUMA, (3, 1))


def multiplier(owner: str, argument: str, factor: Any) -> tuple[float, float]:
    """A pair of multipliers; a number x in [0, 1] means (1 - x, 1 + x)."""
    if isinstance(factor, list | tuple):
        return arguments.interval(owner, argument, factor, 0)
    spread = arguments.number(owner, argument, factor, 0, 1)
    return 1.0 - spread, 1.0 + spread
