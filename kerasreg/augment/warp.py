"""The two ways to read pixels at other places: bilinear resampling, and a move of whole pixels.

Both gather from the flattened image, a pixel's channels together, and in the image's own dtype: the
four neighbours of a uint8 image are read as bytes and become float32 in registers. Under XLA the
whole of `warp` is then one loop over the output. Written with one expression per channel it is three.
"""

from __future__ import annotations

import tensorflow as tf

FILL_MODES = ("reflect", "nearest", "wrap", "constant")


def warp(images: tf.Tensor, matrices: tf.Tensor, fill_mode: str) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Bilinear resampling of each image through its own output-to-input matrix.

    `out[y, x] = sum over the four neighbours of w * image[neighbour]` at the place
    `matrix @ (x - cx, y - cy, 1) + (cx, cy)`, where `(cx, cy) = ((width - 1) / 2, (height - 1) / 2)`.

    Args:
        images: `(images, height, width, channels)` of any real dtype.
        matrices: float32 of shape `(images, 3, 3)`, affine.
        fill_mode: What stands outside the image: `"reflect"` (`d c b a | a b c d | d c b a`),
            `"nearest"` (the edge pixel), `"wrap"` (the image again) or `"constant"`.

    Returns:
        float32 pixels of shape `(images, height * width, channels)`, and with `"constant"` the share
        of each pixel that comes from inside the image, `(images, height * width, 1)`. Outside counts
        as 0 in the pixels, for the caller to add the fill; `None` with the other fill modes.
    """
    height, width, channels = sizes(images)
    x, y = _places(matrices, height, width)
    left, right, to_right, *columns_inside = _neighbours(x, width, fill_mode)
    above, below, to_below, *rows_inside = _neighbours(y, height, fill_mode)
    flat = tf.reshape(images, [-1, height * width, channels])

    def pixel(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(flat, row * width + column, batch_dims=1), tf.float32)

    if fill_mode == "constant":
        in_left, in_right = columns_inside
        in_above, in_below = rows_inside
        weights = [
            (in_above * in_left * (1 - to_below) * (1 - to_right), above, left),
            (in_above * in_right * (1 - to_below) * to_right, above, right),
            (in_below * in_left * to_below * (1 - to_right), below, left),
            (in_below * in_right * to_below * to_right, below, right),
        ]
        inside = tf.add_n([weight for weight, _, _ in weights])[..., None]
        return tf.add_n([weight[..., None] * pixel(row, col) for weight, row, col in weights]), inside

    to_right, to_below = to_right[..., None], to_below[..., None]
    upper = pixel(above, left) * (1 - to_right) + pixel(above, right) * to_right
    lower = pixel(below, left) * (1 - to_right) + pixel(below, right) * to_right
    return upper * (1 - to_below) + lower * to_below, None


def move(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """As `warp`, for matrices that take whole pixels to whole pixels: exact, and in the images' own dtype."""
    height, width, channels = sizes(images)
    x, y = (tf.cast(tf.round(place), tf.int32) for place in _places(matrices, height, width))
    flat = tf.reshape(images, [-1, height * width, channels])
    return tf.gather(flat, y * width + x, batch_dims=1)


def _places(matrices: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each output pixel is read, in input pixels from the upper left, `(images, height * width)`."""
    # The centre is a multiple of 1/2, so that identity and flips come out as whole numbers, exactly.
    center_x = tf.cast(width - 1, tf.float32) / 2
    center_y = tf.cast(height - 1, tf.float32) / 2
    x = (tf.range(width, dtype=tf.float32) - center_x)[None, None, :]
    y = (tf.range(height, dtype=tf.float32) - center_y)[None, :, None]

    def row(i: int, center: tf.Tensor) -> tf.Tensor:
        m = matrices[:, i, :, None, None]
        return tf.reshape(m[:, 0] * x + (m[:, 1] * y + m[:, 2]) + center, [-1, height * width])

    return row(0, center_x), row(1, center_y)


def _neighbours(place: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> tuple[tf.Tensor, ...]:
    """The two pixels around a place on one axis, the weight of the second, and if needed who is inside."""
    length = tf.cast(size, tf.float32)
    if fill_mode == "constant":
        # Beyond one pixel outside nothing is seen; the bound keeps the cast to int32 in range.
        place = tf.clip_by_value(place, -2.0, length + 1)
        lower = tf.floor(place)
        first = tf.cast(lower, tf.int32)
        inside = [tf.cast((i >= 0) & (i < size), tf.float32) for i in (first, first + 1)]
        pair = [tf.clip_by_value(i, 0, size - 1) for i in (first, first + 1)]
        return *pair, place - lower, *inside
    if fill_mode == "wrap":
        place = place - length * tf.floor(place / length)
        lower = tf.floor(place)
        first = tf.cast(lower, tf.int32)
        return first % size, (first + 1) % size, place - lower
    if fill_mode == "reflect":
        # Folding the continuous coordinate once costs less than folding the index of every neighbour.
        from_edge = place + 0.5
        folded = from_edge - 2 * length * tf.floor(from_edge / (2 * length))
        place = length - tf.abs(folded - length) - 0.5
    # The half pixel around the image has the value of its edge, and the last pixel is the second of a
    # pair with weight 1, so that the second is always the next one.
    place = tf.clip_by_value(place, 0.0, length - 1)
    lower = tf.minimum(tf.floor(place), tf.maximum(length - 2, 0.0))
    first = tf.cast(lower, tf.int32)
    second = first + 1 if isinstance(size, int) and size > 1 else tf.minimum(first + 1, size - 1)
    return first, second, place - lower


def sizes(images: tf.Tensor) -> tuple[tf.Tensor | int, tf.Tensor | int, int]:
    """Height, width and channels, as Python numbers where they are known."""
    dynamic = tf.shape(images)
    known = images.shape
    height = dynamic[1] if known[1] is None else known[1]
    width = dynamic[2] if known[2] is None else known[2]
    return height, width, known[3]
