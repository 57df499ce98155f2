"""Bounding boxes through the warps of their images."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kerasreg.augment.targets.formats import from_corners, to_corners
from kerasreg.augment.targets.frames import Frame, Size, extent, moved, total

Boxes = dict[str, tf.Tensor]

PADDING_LABEL = -1
_SLACK = 1e-4
"""Share of a box's area that rounding may take from it."""


def move_boxes(boxes: Boxes, frames: Sequence[Frame], box_format: str, min_visible: float) -> Boxes:
    """Each box as the smallest upright rectangle around its four moved corners, cut off at the frame.

    A box is dropped where less than `min_visible` of that rectangle's area is in the frame, or none of it:
    the row becomes Keras' padding, box 0 and label -1, so that shapes stay and every other row keeps its
    place. Rows of padding stay as they are.

    Args:
        boxes: `"boxes"` of shape `(images, boxes, 4)`, `"labels"` of shape `(images, boxes)` or, one-hot,
            `(images, boxes, classes)`; other entries go through untouched.
        frames: The warps, in order. With several, what a box loses in one it does not get back.
        box_format: One of `BOX_FORMATS`, before and after.
        min_visible: The least share of its area, in [0, 1].

    Returns:
        Boxes in their own floating dtype, float32 for integers; labels in their own dtype.
    """
    before, after = total(frames)
    given, labels = boxes["boxes"], boxes["labels"]
    corners = to_corners(tf.cast(given, tf.float32), box_format, before)
    quads = _corner_points(corners)
    share = tf.ones_like(corners[..., 0])
    for frame in frames:
        hull, quads = _hull(_through(quads, frame)), _through(quads, frame)
        cut = _clipped(hull, frame.after)
        area = _area(hull)
        share *= tf.math.divide_no_nan(_area(cut), area)
        # A turned box goes on as it is turned; one that lost a part goes on as what is left of it.
        lost = tf.reduce_any(cut != hull, axis=-1)[..., None, None]
        quads = tf.where(lost, _corner_points(cut), quads)
        corners = cut
    ragged_row = labels.shape.rank == 3
    padding = tf.reduce_all(labels < 0, axis=-1) if ragged_row else labels < 0
    kept = (share > 0) & (share >= min_visible - _SLACK)
    dtype = given.dtype if given.dtype.is_floating else tf.float32
    found = tf.cast(from_corners(corners, box_format, after), dtype)
    found = tf.where(kept[..., None], found, tf.zeros_like(found))
    found = tf.where(padding[..., None], tf.cast(given, dtype), found)
    gone = ~kept & ~padding
    gone = gone[..., None] if ragged_row else gone
    return {
        **boxes,
        "boxes": found,
        "labels": tf.where(gone, tf.constant(PADDING_LABEL, labels.dtype), labels),
    }


def _corner_points(corners: tf.Tensor) -> tf.Tensor:
    """The four corners of upright boxes, `(images, boxes, 4, 2)`."""
    left, top, right, bottom = tf.unstack(corners, axis=-1)
    pairs = ((left, top), (right, top), (right, bottom), (left, bottom))
    return tf.stack([tf.stack(pair, axis=-1) for pair in pairs], axis=-2)


def _through(quads: tf.Tensor, frame: Frame) -> tf.Tensor:
    shape = tf.shape(quads)
    return tf.reshape(moved(tf.reshape(quads, [shape[0], -1, 2]), frame), shape)


def _hull(quads: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.reduce_min(quads, axis=-2), tf.reduce_max(quads, axis=-2)], axis=-1)


def _clipped(corners: tf.Tensor, size: Size) -> tf.Tensor:
    return tf.clip_by_value(corners, 0.0, tf.tile(extent(size), [2]))


def _area(corners: tf.Tensor) -> tf.Tensor:
    width, height = tf.unstack(corners[..., 2:] - corners[..., :2], axis=-1)
    return width * height
