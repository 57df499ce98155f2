"""Images as if seen from the side."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.matrices import inverse, matrix, perspective_matrix

_MOST = 0.6
_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


@register
class RandomPerspective(GeometricTransform):
    """Shows images in perspective: each corner of the image is moved inwards on its own.

    A corner of the image's frame, at `(width / 2, height / 2)` from its centre, comes to lie at
    `((1 - d u) width / 2, (1 - d v) height / 2)`, with `d` the distortion and `u`, `v` drawn uniformly
    from [0, 1) for each corner; straight lines stay straight. It is torchvision's rule, but that
    places are not rounded to pixels and that the corners are those of the frame, not of the outermost
    pixels' centres. What comes into sight around the image is the pipeline's fill.

    Args:
        distortion: `d`, in [0, 0.6]: the largest shift of a corner, as a share of half the side. (From 2/3
            on the four corners need not be convex.)
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> RandomPerspective(0.4)
        RandomPerspective(distortion=0.4)
    """

    projective = True
    magnitudes = 8

    def __init__(self, distortion: float = 0.5, probability: float = 0.5, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.distortion = arguments.number(self._owner, "distortion", distortion, 0, _MOST)

    def corners(self, uniform: tf.Tensor) -> tf.Tensor:
        """Where the corners come to lie, `(images, 4, 2)`, with the frame from -1 to 1."""
        inwards = 1.0 - self.distortion * tf.reshape(uniform, [-1, 4, 2])
        return inwards * tf.constant(_CORNERS)

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        back = inverse(perspective_matrix(self.corners(uniform)))
        one = tf.ones_like(uniform[:1, 0])
        to_pixels = matrix([[one * width / 2, 0.0, 0.0], [0.0, height / 2, 0.0]])
        from_pixels = matrix([[one * 2 / width, 0.0, 0.0], [0.0, 2 / height, 0.0]])
        return to_pixels @ back @ from_pixels

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"distortion": self.distortion, **super().get_config()}
