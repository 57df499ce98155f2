"""The two ways to read pixels at other places: resampling, and a move of whole pixels.

Both gather from the flattened image, a pixel's channels together, and in the image's own dtype: the
neighbours of a place in a uint8 image are read as bytes and become float32 in registers. Under XLA the
whole of `warp` is then one loop over the output. Written with one expression per channel it is three.
"""

from __future__ import annotations

import tensorflow as tf

from kerasreg.augment.taps import FILL_MODES, KERNELS
from kerasreg.augment.transform import Size

__all__ = ["FILL_MODES", "move", "samples_needed", "sizes", "supersampled", "warp"]


def warp(
    images: tf.Tensor,
    matrices: tf.Tensor,
    fill_mode: str,
    size: Size | None = None,
    interpolation: str = "bilinear",
    projective: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Resampling of each image through its own output-to-input matrix.

    `out[y, x] = sum over the neighbours of w * image[neighbour]` at the place
    `matrix @ (x - cx', y - cy', 1) + (cx, cy)`, where `(cx, cy) = ((width - 1) / 2, (height - 1) / 2)` is the
    centre of the image, and `(cx', cy')` that of the output. A projective matrix gives `(X, Y, W)`, for
    the place `(X / W, Y / W)`.

    Args:
        images: `(images, height, width, channels)` of any real dtype.
        matrices: float32 of shape `(images, 3, 3)`.
        fill_mode: What stands outside the image: `"reflect"` (`d c b a | a b c d | d c b a`),
            `"nearest"` (the edge pixel), `"wrap"` (the image again) or `"constant"`.
        size: Height and width of the output; those of the images by default.
        interpolation: `"bilinear"`, `"nearest"` or `"bicubic"`.
        projective: Whether the last rows of the matrices are other than `(0, 0, 1)`.

    Returns:
        Pixels of shape `(images, output height * output width, channels)`, float32 but with `"nearest"`,
        which leaves the images' own dtype; and with a `"constant"` fill the share of each pixel that comes
        from inside the image, `(images, output height * output width, 1)`. Outside counts as 0 in the
        pixels, for the caller to add the fill; `None` with the other fill modes.
    """
    height, width, channels = sizes(images)
    size = size or (height, width)
    x, y = _places(matrices, (height, width), size, projective)
    columns = KERNELS[interpolation](x, width, fill_mode)
    rows = KERNELS[interpolation](y, height, fill_mode)
    flat = tf.reshape(images, [-1, height * width, channels])

    def pixel(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather(flat, row * width + column, batch_dims=1)

    if interpolation == "nearest":
        (row,), (column,) = rows, columns
        read = pixel(row.index, column.index)
        if fill_mode != "constant":
            return read, None
        inside = (row.weight * column.weight)[..., None]
        return tf.where(inside > 0, read, tf.zeros_like(read)), inside

    lines = []
    for row in rows:
        line = [tf.cast(pixel(row.index, col.index), tf.float32) * col.weight[..., None] for col in columns]
        lines.append(_sum(line) * row.weight[..., None])
    inside = None
    if fill_mode == "constant":
        inside = (_sum([col.weight for col in columns]) * _sum([row.weight for row in rows]))[..., None]
    return _sum(lines), inside


def move(
    images: tf.Tensor, matrices: tf.Tensor, fill_mode: str | None = None, size: Size | None = None
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """As `warp`, for matrices that take whole pixels to whole pixels: exact, and in the images' own dtype.

    Without a fill mode every place must lie in the image.
    """
    if fill_mode is not None:
        return warp(images, matrices, fill_mode, size, "nearest")
    height, width, channels = sizes(images)
    size = size or (height, width)
    x, y = (tf.cast(tf.round(place), tf.int32) for place in _places(matrices, (height, width), size, False))
    flat = tf.reshape(images, [-1, height * width, channels])
    return tf.gather(flat, y * width + x, batch_dims=1), None


def supersampled(
    images: tf.Tensor,
    matrices: tf.Tensor,
    samples: tf.Tensor,
    fill_mode: str,
    size: Size | None = None,
    interpolation: str = "bilinear",
    projective: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """As `warp`, with each output pixel the mean of places spread evenly over its square.

    Args:
        images: See `warp`.
        matrices: See `warp`.
        samples: int32 of shape `(images, 2)`, how many places along x and along y, from `samples_needed`.
        fill_mode: See `warp`.
        size: See `warp`.
        interpolation: See `warp`.
        projective: See `warp`.
    """
    height, width, channels = sizes(images)
    size = size or (height, width)
    count = samples[:, 0] * samples[:, 1]
    shares = 1.0 / tf.cast(samples, tf.float32)
    pixels = tf.zeros([tf.shape(images)[0], size[0] * size[1], channels])
    inside = pixels[..., :1] if fill_mode == "constant" else tf.zeros([1, 1, 1])

    def add(k: tf.Tensor, pixels: tf.Tensor, inside: tf.Tensor) -> tuple[tf.Tensor, ...]:
        place = tf.stack([k % samples[:, 0], k // samples[:, 0]], axis=1)
        offset = (tf.cast(place, tf.float32) + 0.5) * shares - 0.5
        shifted = matrices[:, :, 2] + tf.linalg.matvec(matrices[:, :, :2], offset)
        shifted = tf.concat([matrices[:, :, :2], shifted[..., None]], axis=2)
        read, share = warp(images, shifted, fill_mode, size, interpolation, projective)
        weight = tf.where(k < count, 1.0 / tf.cast(count, tf.float32), 0.0)[:, None, None]
        return k + 1, pixels + weight * read, inside if share is None else inside + weight * share

    most = tf.reduce_max(count)
    _, pixels, inside = tf.while_loop(lambda k, *_: k < most, add, (tf.constant(0), pixels, inside))
    return pixels, inside if fill_mode == "constant" else None


def samples_needed(matrices: tf.Tensor, size: Size, projective: bool = False) -> tf.Tensor:
    """How many places along x and y a pixel must be the mean of, int32 of shape `(images, 2)`.

    One, unless the images shrink along that axis to less than half: then as many as there are pixels of
    the input under one of the output. With a projective matrix they are counted where they are most,
    at the corners of the output.
    """
    linear = matrices[:, None, :2, :2]
    if projective:
        height, width = (tf.cast(side, tf.float32) for side in size)
        corners = [[sx * width / 2, sy * height / 2, 1.0] for sx in (-1, 1) for sy in (-1, 1)]
        there = tf.einsum("bij,kj->bki", matrices, tf.convert_to_tensor(corners))
        w = _in_front(there[..., 2])[..., None]
        # d(X / W) = dX / W - X dW / W^2
        linear = (linear - (there[..., :2] / w)[..., None] * matrices[:, None, 2:, :2]) / w[..., None]
    stretch = tf.reduce_max(tf.norm(linear, axis=2), axis=1)
    # A stretch of exactly 4 must not become 5 by its last bits.
    needed = tf.cast(tf.math.ceil(tf.minimum(stretch, _MOST_SAMPLES) - 1e-3), tf.int32)
    return tf.where(stretch > 2 + 1e-3, needed, 1)


_MOST_SAMPLES = 64.0


def _sum(terms: list[tf.Tensor]) -> tf.Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _places(matrices: tf.Tensor, size: Size, out: Size, projective: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each output pixel is read, in input pixels from the upper left, `(images, height * width)`."""
    # A centre is a multiple of 1/2, so that identity, flips and crops come out as whole numbers, exactly.
    centers = [tf.cast(side - 1, tf.float32) / 2 for side in size]
    y, x = (tf.range(side, dtype=tf.float32) - tf.cast(side - 1, tf.float32) / 2 for side in out)
    x, y = x[None, None, :], y[None, :, None]

    def row(i: int) -> tf.Tensor:
        m = matrices[:, i, :, None, None]
        return m[:, 0] * x + (m[:, 1] * y + m[:, 2])

    across, down = row(0), row(1)
    if projective:
        depth = 1.0 / _in_front(row(2))
        across, down = across * depth, down * depth
    return tuple(
        tf.reshape(place + center, [-1, out[0] * out[1]])
        for place, center in ((across, centers[1]), (down, centers[0]))
    )


def _in_front(w: tf.Tensor) -> tf.Tensor:
    """The last coordinate kept positive: beyond its horizon a plane shows what is far away."""
    return tf.maximum(w, 1e-6)


def sizes(images: tf.Tensor) -> tuple[tf.Tensor | int, tf.Tensor | int, int]:
    """Height, width and channels, as Python numbers where they are known."""
    dynamic = tf.shape(images)
    known = images.shape
    height = dynamic[1] if known[1] is None else known[1]
    width = dynamic[2] if known[2] is None else known[2]
    return height, width, known[3]
