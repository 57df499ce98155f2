"""The formats of Keras' bounding boxes, to corners in pixels and back."""

from __future__ import annotations

import tensorflow as tf

from kerasreg.augment.targets.frames import Size, extent

BOX_FORMATS = (
    "xyxy",
    "yxyx",
    "xywh",
    "center_xywh",
    "center_yxhw",
    "rel_xyxy",
    "rel_yxyx",
    "rel_xywh",
    "rel_center_xywh",
)


def to_corners(boxes: tf.Tensor, box_format: str, size: Size) -> tf.Tensor:
    """Boxes of any format as left, top, right, bottom in pixels.

    Args:
        boxes: float32 of shape `(..., 4)`.
        box_format: One of `BOX_FORMATS`; those with `rel_` are in shares of the width and the height.
        size: Height and width of the image.

    Example:
        >>> to_corners(tf.constant([[0.5, 0.5, 0.5, 1.0]]), "rel_center_xywh", (20, 40)).numpy().tolist()
        [[10.0, 0.0, 30.0, 20.0]]
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    if _rows_first(box_format):
        first, second = first[..., ::-1], second[..., ::-1]
    if "center" in box_format:
        first, second = first - second / 2, first + second / 2
    elif box_format.endswith("wh"):
        second = first + second
    corners = tf.concat([first, second], axis=-1)
    return corners * _scale(size) if box_format.startswith("rel_") else corners


def from_corners(corners: tf.Tensor, box_format: str, size: Size) -> tf.Tensor:
    """The way back from `to_corners`."""
    if box_format.startswith("rel_"):
        corners = corners / _scale(size)
    first, second = corners[..., :2], corners[..., 2:]
    if "center" in box_format:
        first, second = (first + second) / 2, second - first
    elif box_format.endswith("wh"):
        second = second - first
    if _rows_first(box_format):
        first, second = first[..., ::-1], second[..., ::-1]
    return tf.concat([first, second], axis=-1)


def _rows_first(box_format: str) -> bool:
    return box_format.removeprefix("rel_").removeprefix("center_").startswith("y")


def _scale(size: Size) -> tf.Tensor:
    return tf.tile(extent(size), [2])
