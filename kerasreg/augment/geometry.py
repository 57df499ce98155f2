"""Transforms that move pixels at an unchanged size: each is a matrix, see `kerasreg.augment.matrices`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.matrices import (
    flip_matrix,
    quarter_turn_matrix,
    rotation_matrix,
    scale_matrix,
    shear_matrix,
    translation_matrix,
)
from kerasreg.augment.transform import Range, Transform, between, whole_between


class GeometricTransform(Transform):
    """A transform that moves pixels; a subclass writes `matrix`, and `size_after` where the size changes."""

    invertible = True

    moves_whole_pixels: bool = False
    """True where whole pixels are taken to whole pixels, so that nothing is interpolated."""

    fills: bool = True
    """True where what stands outside the image can come into sight."""

    projective: ClassVar[bool] = False
    """True where the matrix has another last row than `(0, 0, 1)`."""

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """The output-to-input matrix of each image, float32 of shape `(images, 3, 3)`.

        Args:
            uniform: Uniform numbers in [0, 1), shape `(images, magnitudes)`.
            height: Scalar float32, pixels.
            width: Scalar float32, pixels.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `matrix`")

    def idle_matrix(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """The matrix of an image that is left alone, float32 of shape `(3, 3)`: the identity, at one size."""
        return tf.eye(3)

    def shrinks(self) -> float:
        """How many pixels of the input can at most lie side by side in one of the output; inf if unknown.

        A bound of the matrix's spectral norm: the product of a chain's bounds that of the chain.
        """
        return math.inf

    def gated_matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """`matrix` for the images that are changed, `idle_matrix` for the others."""
        moved = self.matrix(uniform[:, 1:], height, width)
        return tf.where(self.fires(uniform)[:, None, None], moved, self.idle_matrix(height, width))


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
    fills = False
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

    def shrinks(self) -> float:
        """See `GeometricTransform.shrinks`."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"mode": self.mode, **super().get_config()}


@register
class RandomRotation(GeometricTransform):
    """Turns images about their centre by an angle drawn uniformly.

    With a `step` the angle is one of its multiples in the range, each as likely as the next:
    `RandomRotation((0, 270), step=90)` draws one of the four quarter turns. Quarter turns are exact, and
    interpolate nothing: they take whole pixels to whole pixels. The size stays, so that an image that is
    no square shows a fill at a quarter turn; where its sides are one even and one odd, so that no pixel
    would come to lie on a pixel, it is turned about a point half a pixel from its centre.

    Args:
        degrees: The angle; `x` means `(-x, x)`. Positive is counter-clockwise.
        probability: How often an image is turned at all, a number in [0, 1].
        name: See `Pipeline`.
        step: What the angle is a whole multiple of, in degrees above 0; by default any angle is drawn.

    Raises:
        ValueError: An argument outside what is stated here, or no multiple of `step` in `degrees`.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomRotation
        >>> RandomRotation(15)
        RandomRotation(degrees=(-15.0, 15.0))
        >>> pipeline = Pipeline([RandomRotation((90, 90), step=90)])
        >>> pipeline(tf.constant([[[1], [2]], [[3], [4]]], tf.uint8))[..., 0].numpy().tolist()
        [[2.0, 4.0], [1.0, 3.0]]
    """

    def __init__(
        self,
        degrees: Range,
        probability: float = 1.0,
        name: str | None = None,
        step: float | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.degrees = arguments.interval(self._owner, "degrees", degrees)
        self.step = step
        if step is not None:
            self.step = arguments.number(self._owner, "step", step, 0, open_low=True)
            # A millionth of a step, so that 0.3 holds three times 0.1.
            self._first = math.ceil(self.degrees[0] / self.step - 1e-6)
            self._last = math.floor(self.degrees[1] / self.step + 1e-6)
            if self._first > self._last:
                raise arguments.refusal(
                    self._owner, "step", f"such that one of its multiples is in degrees={self.degrees}", step
                )
        self.moves_whole_pixels = self.step is not None and self.step % 90 == 0

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        if self.step is None:
            return rotation_matrix(between(*self.degrees, uniform[:, 0]))
        multiple = whole_between(self._first, self._last, uniform[:, 0])
        if self.moves_whole_pixels:
            return quarter_turn_matrix(multiple * (self.step / 90), height, width)
        return rotation_matrix(multiple * self.step)

    def shrinks(self) -> float:
        """See `GeometricTransform.shrinks`."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"degrees": list(self.degrees), "step": self.step, **super().get_config()}


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

    def shrinks(self) -> float:
        """See `GeometricTransform.shrinks`."""
        return 1 / (1 + min(self.factor[0], (self.width_factor or self.factor)[0]))

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
        whole_pixels: Whether the distances are rounded to whole pixels, so that nothing is interpolated.

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
        whole_pixels: bool = False,
    ) -> None:
        super().__init__(probability, name)
        self.height_factor = arguments.interval(self._owner, "height_factor", height_factor)
        self.width_factor = self.height_factor
        if width_factor is not None:
            self.width_factor = arguments.interval(self._owner, "width_factor", width_factor)
        self.whole_pixels = arguments.flag(self._owner, "whole_pixels", whole_pixels)
        self.moves_whole_pixels = self.whole_pixels

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        right = between(*self.width_factor, uniform[:, 1]) * width
        down = between(*self.height_factor, uniform[:, 0]) * height
        if self.whole_pixels:
            right, down = tf.round(right), tf.round(down)
        return translation_matrix(right, down)

    def shrinks(self) -> float:
        """See `GeometricTransform.shrinks`."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {
            "height_factor": list(self.height_factor),
            "width_factor": list(self.width_factor),
            "whole_pixels": self.whole_pixels,
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

    def shrinks(self) -> float:
        """See `GeometricTransform.shrinks`."""
        x, y = (max(map(abs, factor)) for factor in (self.x_factor, self.y_factor))
        return max(float(np.linalg.norm([[1, x], [s * y, 1]], 2) / (1 - s * x * y)) for s in (-1, 1))

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"x_factor": list(self.x_factor), "y_factor": list(self.y_factor), **super().get_config()}
