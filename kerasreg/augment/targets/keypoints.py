"""Keypoints through the warps of their images."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kerasreg.augment.targets.frames import Frame, inside, moved


def move_keypoints(keypoints: tf.Tensor, frames: Sequence[Frame]) -> tf.Tensor:
    """Each point where the warps take it.

    Points are `x` and `y` in pixels from the upper left corner of the image, the coordinates of bounding
    boxes: the middle of the first pixel is at (0.5, 0.5). With a third column, the visibility, a point that
    leaves the frame gets 0 there, and one that has 0 or less already says nothing and stays as it is.
    Without, points outside the frame keep the coordinates that they have there.

    Args:
        keypoints: `(images, ..., points, 2)` or `(images, ..., points, 3)`.
        frames: The warps, in order.

    Returns:
        The same shape, in the points' own floating dtype, float32 for integers.
    """
    shape = tf.shape(keypoints)
    rows = tf.reshape(tf.cast(keypoints, tf.float32), [shape[0], -1, keypoints.shape[-1]])
    places, seen = rows[..., :2], tf.ones_like(rows[..., 0], tf.bool)
    for frame in frames:
        places = moved(places, frame)
        seen &= inside(places, frame.after)
    if keypoints.shape[-1] == 3:
        visibility = rows[..., 2]
        unknown = visibility <= 0
        visibility = tf.where(seen | unknown, visibility, tf.zeros_like(visibility))
        places = tf.where(unknown[..., None], rows[..., :2], places)
        places = tf.concat([places, visibility[..., None]], axis=-1)
    places = tf.reshape(places, shape)
    return tf.cast(places, keypoints.dtype) if keypoints.dtype.is_floating else places
