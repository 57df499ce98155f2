"""Transforms that move pixels: each is a 3x3 matrix from output to input coordinates.

Coordinates are in pixels, `x` to the right and `y` down, measured from the image's centre
`((width - 1) / 2, (height - 1) / 2)`. A matrix takes an output pixel to the place in the input
where its value is read, so that a chain "first A, then B" is the product `A @ B`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.transform import Range, Transform, between


def matrix(rows: Sequence[Sequence[tf.Tensor | float]]) -> tf.Tensor:
    """A batch of 3x3 matrices from the two upper rows of entries; entries may be `(images,)` or numbers.

    >>> matrix([[1.0, 0.0, tf.constant([5.0, 7.0])], [0.0, 1.0, 0.0]]).shape.as_list()
    [2, 3, 3]
    """
    entries = [entry for row in rows for entry in row]
    like = next(entry for entry in entries if isinstance(entry, tf.Tensor))
    columns = [tf.zeros_like(like) + entry for entry in [*entries, 0.0, 0.0, 1.0]]
    return tf.reshape(tf.stack(columns, axis=-1), [-1, 3, 3])


def flip_matrix(horizontal: tf.Tensor, vertical: tf.Tensor) -> tf.Tensor:
    """Mirror left-right and upside down, where the bool tensors say so."""
    x = tf.where(horizontal, -1.0, 1.0)
    y = tf.where(vertical, -1.0, 1.0)
    return matrix([[x, 0.0, 0.0], [0.0, y, 0.0]])


def rotation_matrix(degrees: tf.Tensor) -> tf.Tensor:
    """Turn the image counter-clockwise about its centre."""
    angle = degrees * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return matrix([[cos, -sin, 0.0], [sin, cos, 0.0]])


def scale_matrix(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Make what the image shows `width` times as wide and `height` times as high."""
    return matrix([[1.0 / width, 0.0, 0.0], [0.0, 1.0 / height, 0.0]])


def translation_matrix(right: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
    """Move the image by so many pixels."""
    return matrix([[1.0, 0.0, -right], [0.0, 1.0, -down]])


def shear_matrix(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Slant the image: a pixel one below the centre moves `x` to the right, one right of it `y` down."""
    det = 1.0 - x * y
    return matrix([[1.0 / det, -x / det, 0.0], [-y / det, 1.0 / det, 0.0]])


class GeometricTransform(Transform):
    """A transform that moves pixels; a subclass writes `matrix`."""

    invertible = True

    moves_whole_pixels: ClassVar[bool] = False
    """True where every output pixel is one input pixel, so that nothing is interpolated or filled."""

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """The output-to-input matrix of each image, float32 of shape `(images, 3, 3)`.

        Args:
            uniform: Uniform numbers in [0, 1), shape `(images, magnitudes)`.
            height: Scalar float32, pixels.
            width: Scalar float32, pixels.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `matrix`")

    def gated_matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """`matrix` for the images that are changed, the identity for the others."""
        moved = self.matrix(uniform[:, 1:], height, width)
        return tf.where(self.fires(uniform)[:, None, None], moved, tf.eye(3))


@register
class RandomFlip(GeometricTransform):
    """Mirrors images. The result holds the very pixels of the input, without interpolation.

    Args:
        mode: `"horizontal"` (left-right), `"vertical"` (upside down) or `"both"` (each of the two
            decided on its own).
        probability: How often each mirroring happens, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomFlip
        >>> images = [[[[1], [2], [3]]]]
        >>> pipeline = Pipeline([RandomFlip(probability=1)])
        >>> pipeline(tf.constant(images, tf.uint8))[0, 0, :, 0].numpy().tolist()
        [3.0, 2.0, 1.0]
    """

    moves_whole_pixels = True
    magnitudes = 2

    def __init__(self, mode: str = "horizontal", probability: float = 0.5, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.mode = arguments.choice(self._owner, "mode", mode, ("horizontal", "vertical", "both"))

    def fires(self, uniform: tf.Tensor) -> tf.Tensor:
        """Always: `matrix` itself decides, once for each axis."""
        return tf.ones_like(uniform[:, 0], tf.bool)

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        happens = uniform < self.probability
        never = tf.zeros_like(happens[:, 0])
        return flip_matrix(
            horizontal=never if self.mode == "vertical" else happens[:, 0],
            vertical=never if self.mode == "horizontal" else happens[:, 1],
        )

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"mode": self.mode, **super().get_config()}


@register
class RandomRotation(GeometricTransform):
    """Turns images about their centre by an angle drawn uniformly.

    Args:
        degrees: The angle; `x` means `(-x, x)`. Positive is counter-clockwise.
        probability: How often an image is turned at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomRotation(15)
        RandomRotation(degrees=(-15.0, 15.0))
    """

    def __init__(self, degrees: Range, probability: float = 1.0, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.degrees = arguments.interval(self._owner, "degrees", degrees)

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        return rotation_matrix(between(*self.degrees, uniform[:, 0]))

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"degrees": list(self.degrees), **super().get_config()}


@register
class RandomZoom(GeometricTransform):
    """Enlarges or shrinks what an image shows, about its centre, at an unchanged size of the image.

    What measured `a` pixels measures `(1 + factor) * a` afterwards: a positive factor zooms in, a
    negative one zooms out. (The Keras layer of this name has the opposite sign.)

    Args:
        factor: The change in size as a fraction, above -1; `x` means `(-x, x)`.
        width_factor: The same for the width alone, drawn on its own; `factor` then rules the height.
            By default the width changes with the height, and shapes keep their proportions.
        probability: How often an image is zoomed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomZoom((0, 0.5))
        RandomZoom(factor=(0.0, 0.5))
    """

    magnitudes = 2

    def __init__(
        self,
        factor: Range,
        width_factor: Range | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.factor = arguments.interval(self._owner, "factor", factor, -1, open_low=True)
        self.width_factor = width_factor
        if width_factor is not None:
            self.width_factor = arguments.interval(
                self._owner, "width_factor", width_factor, -1, open_low=True
            )

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        rows = 1.0 + between(*self.factor, uniform[:, 0])
        if self.width_factor is None:
            return scale_matrix(rows, rows)
        return scale_matrix(1.0 + between(*self.width_factor, uniform[:, 1]), rows)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        width = None if self.width_factor is None else list(self.width_factor)
        return {"factor": list(self.factor), "width_factor": width, **super().get_config()}


@register
class RandomTranslation(GeometricTransform):
    """Moves images up, down and sideways; the two distances are drawn on their own.

    Args:
        height_factor: The distance as a fraction of the height; `x` means `(-x, x)`. Positive is down.
        width_factor: The distance as a fraction of the width. Positive is to the right. By default
            the range of `height_factor`.
        probability: How often an image is moved at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomTranslation(0.1)
        RandomTranslation(height_factor=(-0.1, 0.1), width_factor=(-0.1, 0.1))
    """

    magnitudes = 2

    def __init__(
        self,
        height_factor: Range,
        width_factor: Range | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.height_factor = arguments.interval(self._owner, "height_factor", height_factor)
        self.width_factor = self.height_factor
        if width_factor is not None:
            self.width_factor = arguments.interval(self._owner, "width_factor", width_factor)

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        return translation_matrix(
            right=between(*self.width_factor, uniform[:, 1]) * width,
            down=between(*self.height_factor, uniform[:, 0]) * height,
        )

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {
            "height_factor": list(self.height_factor),
            "width_factor": list(self.width_factor),
            **super().get_config(),
        }


@register
class RandomShear(GeometricTransform):
    """Slants images about their centre, along rows and along columns, drawn on their own.

    A pixel `a` below the centre moves `x * a` to the right, one `a` to the right of it `y * a` down.

    Args:
        x_factor: The slope `x` in [-0.99, 0.99]; `x` means `(-x, x)`.
        y_factor: The slope `y` in [-0.99, 0.99]. By default columns are not slanted.
        probability: How often an image is slanted at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomShear(0.2)
        RandomShear(x_factor=(-0.2, 0.2))
    """

    magnitudes = 2

    def __init__(
        self,
        x_factor: Range,
        y_factor: Range = (0.0, 0.0),
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        # Beyond 1 the two slopes together can fold the image onto a line.
        self.x_factor = arguments.interval(self._owner, "x_factor", x_factor, -0.99, 0.99)
        self.y_factor = arguments.interval(self._owner, "y_factor", y_factor, -0.99, 0.99)

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        return shear_matrix(between(*self.x_factor, uniform[:, 0]), between(*self.y_factor, uniform[:, 1]))

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"x_factor": list(self.x_factor), "y_factor": list(self.y_factor), **super().get_config()}
