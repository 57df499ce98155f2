"""Transforms that no matrix describes: they read the pixels, and the plan gives them a step of their own.

Three kinds: a `"table"` maps each value by itself, a `"stencil"` makes a pixel out of those around it,
`"noise"` adds to each value, a `"cut-out"` overwrites a part of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import tensorflow as tf

from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units

Found = dict[str, tf.Tensor]
Pass = Callable[[tf.Tensor, Found, Units], tf.Tensor]


class PixelTransform(Transform):
    """A transform that works on the pixels themselves; a subclass writes `change`, and often `measure`.

    Pixels are float32 of shape `(images, height, width, channels)`, in the units of their place in the
    pipeline. What a table is given lies in the range.
    """

    invertible = True

    kind: ClassVar[str] = "table"
    """`"table"`, `"stencil"`, `"noise"` or `"cut-out"`; neighbours of one kind share a step, not stencils."""

    leaves_range: ClassVar[bool] = False
    """True where the result can lie outside the range, so that it is to be clipped."""

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """The few numbers per image that `change` needs, of shape `(images, ...)`.

        Args:
            images: The pixels that `change` will be given.
            uniform: Uniform numbers in [0, 1), shape `(images, magnitudes)`.
            units: The range of the values.
        """
        return {}

    def change(self, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
        """The pixels afterwards, as if every image were changed.

        Args:
            images: The pixels.
            found: What `measure` returned.
            units: The range of the values.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `change`")

    def passes(self) -> Sequence[Pass]:
        """What is to be compiled apart, in order: `change` unless a subclass splits it."""
        return (self.change,)

    def gated_numbers(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """`measure`, and which images are changed at all."""
        return {"fires": self.fires(uniform), **self.measure(images, uniform[:, 1:], units)}


def gated(change: Pass, images: tf.Tensor, found: Found, units: Units) -> tf.Tensor:
    """One pass over the images that are changed; the others as they are."""
    return tf.where(per_pixel(found["fires"]), change(images, found, units), images)


def per_pixel(numbers: tf.Tensor) -> tf.Tensor:
    """One number per image, in a shape that broadcasts over its pixels."""
    return numbers[:, None, None, None]
