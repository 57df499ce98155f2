"""Matrices that move pixels, 3x3, from output to input coordinates.

Coordinates are in pixels, `x` to the right and `y` down, measured from the image's centre
`((width - 1) / 2, (height - 1) / 2)`; where the size changes, each side from its own centre. A matrix
takes an output pixel to the place in the input where its value is read, so that a chain "first A, then B"
is the product `A @ B`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf


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


def quarter_turn_matrix(turns: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Turn the image counter-clockwise by so many right angles, whole pixels to whole pixels.

    The entries are exact. Where height and width differ by an odd number the image's centre takes no pixel
    to a pixel, and odd turns are about a point half a pixel from it.

    Args:
        turns: Whole numbers as float32.
        height: Scalar float32, pixels.
        width: Scalar float32, pixels.
    """
    turns = tf.math.floormod(tf.round(turns), 4.0)
    cos = tf.gather([1.0, 0.0, -1.0, 0.0], tf.cast(turns, tf.int32))
    sin = tf.gather([0.0, 1.0, 0.0, -1.0], tf.cast(turns, tf.int32))
    # Of opposite signs for a turn and its opposite, so that the two return the image.
    half = tf.math.floormod(height + width, 2.0) / 2
    return matrix([[cos, -sin, half * sin], [sin, cos, half * sin * sin]])


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


def crop_matrix(
    top: tf.Tensor,
    left: tf.Tensor,
    window: Sequence[tf.Tensor | float],
    image: Sequence[tf.Tensor | float],
    out: Sequence[tf.Tensor | float],
) -> tf.Tensor:
    """Show a window of the image, enlarged or shrunk to the size of the output.

    Edges meet edges: `(left + (x + 1/2) width / width' - 1/2)` is where the output's pixel `x` is read.

    Args:
        top: The window's upper edge in pixels from that of the image, `(images,)`.
        left: Its left edge.
        window: Its height and width.
        image: Height and width of the image.
        out: Height and width of the output.
    """
    (height, width), (rows, columns) = window, out
    down = top + (height - image[0]) / 2
    right = left + (width - image[1]) / 2
    zero = tf.zeros_like(right)
    return matrix([[zero + width / columns, 0.0, right], [0.0, height / rows, down]])


def perspective_matrix(corners: tf.Tensor) -> tf.Tensor:
    """Take the corners of a square to four other places: the projective map of the image, input to output.

    Args:
        corners: `(images, 4, 2)`, where the corners `(-1, -1), (1, -1), (1, 1), (-1, 1)` come to lie as
            `(x, y)`, which must be a convex quadrilateral.

    Source:
        Heckbert, "Fundamentals of texture mapping and image warping", 1989, section 2.2.3.
    """
    (x0, x1, x2, x3), (y0, y1, y2, y3) = (tf.unstack(corners[:, :, i], axis=1) for i in range(2))
    # The unit square's map first, `u = (x + 1) / 2`.
    dx1, dx2, dx3 = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, dy3 = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    det = dx1 * dy2 - dx2 * dy1
    g, h = (dx3 * dy2 - dx2 * dy3) / det, (dx1 * dy3 - dx3 * dy1) / det
    rows = [
        (x1 - x0 + g * x1, x3 - x0 + h * x3, x0),
        (y1 - y0 + g * y1, y3 - y0 + h * y3, y0),
        (g, h, tf.ones_like(g)),
    ]
    entries = [[a / 2, b / 2, c + (a + b) / 2] for a, b, c in rows]
    return tf.stack([tf.stack(row, axis=-1) for row in entries], axis=1)


def inverse(matrices: tf.Tensor) -> tf.Tensor:
    """The inverse of 3x3 matrices up to a factor, with 1 at the lower right: the adjugate, divided."""
    a, b, c = tf.unstack(matrices, axis=1)
    adjugate = tf.stack([tf.linalg.cross(b, c), tf.linalg.cross(c, a), tf.linalg.cross(a, b)], axis=2)
    return adjugate / adjugate[:, 2:, 2:]
