"""The frames that an image goes through, and points that go along.

Points are in pixels from the upper left corner of an image, `x` to the right and `y` down, as Keras counts
bounding boxes: the first pixel reaches from 0 to 1 and its middle is at 0.5. The matrices of transforms lead
from the output to the input, in coordinates from the middle of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

Size = tuple[tf.Tensor | int, tf.Tensor | int]


class Frame(NamedTuple):
    """One warp of the images: what lies outside the frame afterwards is lost, and a fill stands for it.

    Attributes:
        matrices: Output-to-input matrices, float32 of shape `(images, 3, 3)`.
        before: Height and width of the images that are read.
        after: Height and width of the images that are made.
    """

    matrices: tf.Tensor
    before: Size
    after: Size


def inverted(matrices: tf.Tensor) -> tf.Tensor:
    """The inverse of each 3x3 matrix: `[b x c, c x a, a x b] / det` for rows `a`, `b`, `c`."""
    a, b, c = tf.unstack(matrices, axis=1)
    columns = tf.stack([tf.linalg.cross(b, c), tf.linalg.cross(c, a), tf.linalg.cross(a, b)], axis=2)
    return columns / tf.reduce_sum(a * tf.linalg.cross(b, c), axis=1)[:, None, None]


def moved(points: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Where points of the images before are afterwards.

    Args:
        points: float32 of shape `(images, points, 2)`, `x` and `y`.
        frame: How the images are warped.

    Returns:
        float32 of the same shape.
    """
    centred = points - _middle(frame.before)
    three = tf.concat([centred, tf.ones_like(centred[..., :1])], axis=-1)
    three = tf.einsum("npk,nqk->npq", three, inverted(frame.matrices))
    # Behind the horizon of a perspective there is no place: far outside, on the side that it vanished on.
    depth = tf.maximum(three[..., 2:], 1e-6)
    return three[..., :2] / depth + _middle(frame.after)


def inside(points: tf.Tensor, size: Size) -> tf.Tensor:
    """Which points lie in a frame of this height and width, its edges included; NaN does not."""
    return tf.reduce_all((points >= 0) & (points <= extent(size)), axis=-1)


def extent(size: Size) -> tf.Tensor:
    """Width and height as float32 of shape `(2,)`, in the order of `x` and `y`."""
    height, width = size
    return tf.stack([tf.cast(width, tf.float32), tf.cast(height, tf.float32)])


def total(frames: Sequence[Frame]) -> tuple[Size, Size]:
    """Height and width before the first warp and after the last."""
    return frames[0].before, frames[-1].after


def _middle(size: Size) -> tf.Tensor:
    return extent(size) / 2
