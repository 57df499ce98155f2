"""Segmentation masks through the warps of their images, by nearest neighbour."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kerasreg.augment.targets.frames import Frame


def move_masks(masks: tf.Tensor, frames: Sequence[Frame], fill_mode: str, fill_value: float) -> tf.Tensor:
    """Each pixel of the result is one pixel of the mask, the one nearest to its place.

    However many the warps, the mask is read once: a place is led back through all of them, and what lies
    outside a frame on the way is found where the fill of that frame took it from.

    Args:
        masks: `(images, height, width)` or `(images, height, width, channels)` of any dtype but string.
        frames: The warps, in order.
        fill_mode: As for the images.
        fill_value: What a constant fill puts in, a value of the masks.

    Returns:
        Masks of the last frame's size, in their own dtype.
    """
    shape = tf.shape(masks)
    height, width = frames[-1].after
    x = (tf.range(width, dtype=tf.float32) - _middle(width))[None, None, :]
    y = (tf.range(height, dtype=tf.float32) - _middle(height))[None, :, None]
    known = tf.ones([1, 1, 1], tf.bool)
    for frame in reversed(frames):
        x, y, depth = _led_back(frame.matrices, x, y)
        height, width = frame.before
        x, in_x = _folded(x + _middle(width), width, fill_mode)
        y, in_y = _folded(y + _middle(height), height, fill_mode)
        known &= in_x & in_y & (depth > 0)
        x, y = x - _middle(width), y - _middle(height)
    column, row = _index(x + _middle(width), width), _index(y + _middle(height), height)
    size = [shape[0], *frames[-1].after]
    place = tf.reshape(row * width + column, [shape[0], -1])
    channels = shape[3:]
    flat = tf.reshape(masks, tf.concat([[shape[0], shape[1] * shape[2]], channels], 0))
    found = tf.reshape(tf.gather(flat, place, batch_dims=1), tf.concat([size, channels], 0))
    if fill_mode == "constant":
        known = known[..., None] if masks.shape.rank == 4 else known
        fill = tf.cast(fill_value, masks.dtype)
        found = tf.where(known, found, fill)
    static = [side if isinstance(side, int) else None for side in frames[-1].after]
    return tf.ensure_shape(found, [masks.shape[0], *static, *masks.shape[3:]])


def _led_back(matrices: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The places that output places are read from, and how deep they lie: 1 but in perspective."""
    m = matrices[:, :, :, None, None]
    x, y, depth = (m[:, i, 0] * x + (m[:, i, 1] * y + m[:, i, 2]) for i in range(3))
    # As for the images: behind the horizon is far outside. An affine chain has a depth of 1.
    shown = tf.maximum(depth, 1e-6)
    return x / shown, y / shown, depth


def _folded(place: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    """A place on one axis led to where the fill takes it from, and whether there is such a place."""
    length = tf.cast(size, tf.float32)
    from_edge = place + 0.5
    if fill_mode == "constant":
        return place, (from_edge >= 0) & (from_edge < length)
    if fill_mode == "wrap":
        folded = from_edge - length * tf.floor(from_edge / length)
    elif fill_mode == "reflect":
        folded = from_edge - 2 * length * tf.floor(from_edge / (2 * length))
        folded = length - tf.abs(folded - length)
    else:
        folded = tf.clip_by_value(from_edge, 0.5, length - 0.5)
    return folded - 0.5, tf.ones_like(place, tf.bool)


def _index(place: tf.Tensor, size: tf.Tensor | int) -> tf.Tensor:
    """The number of the nearest pixel; the bounds keep the cast in range, and rounding in the image."""
    last = tf.cast(size, tf.float32) - 1
    return tf.cast(tf.clip_by_value(tf.floor(place + 0.5), 0.0, last), tf.int32)


def _middle(size: tf.Tensor | int) -> tf.Tensor:
    return (tf.cast(size, tf.float32) - 1) / 2
