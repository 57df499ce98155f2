"""Random numbers that depend on what they are for, not on when they are asked for.

Every number is `threefry(seed, transform, epoch, image)`: a counter-based generator (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011), so that the order of calls, the number of
threads and the batch size cannot change it. It is written in elementwise integer operations because
`tf.random.stateless_uniform` takes one key per call, and here every image has its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import tensorflow as tf

Words = tuple[tf.Tensor, tf.Tensor]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_CALLS = 1 << 63


def threefry2x32(key: Words, counter: Words) -> Words:
    """Threefry-2x32 with 20 rounds: two uint32 words of key and of counter to two random words.

    The words may have any shapes that broadcast together.
    """
    schedule = (key[0], key[1], key[0] ^ key[1] ^ tf.constant(_PARITY, tf.uint32))
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for block in range(5):
        for bits in _ROTATIONS[block % 2]:
            x = x + y
            y = _rotate_left(y, bits) ^ x
        x = x + schedule[(block + 1) % 3]
        y = y + schedule[(block + 2) % 3] + tf.constant(block + 1, tf.uint32)
    return x, y


def lane_words(names: Sequence[str], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """One `(hash of the name, position)` pair per number that each named transform draws.

    >>> lane_words(["RandomFlip", "RandomZoom"], [1, 2])
    [(744745887, 0), (28735166, 0), (28735166, 1)]
    """
    return [
        (zlib.crc32(name.encode()), lane)
        for name, size in zip(names, sizes, strict=True)
        for lane in range(size)
    ]


def uniforms(seed: int, lanes: Sequence[tuple[int, int]], epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Uniform numbers in [0, 1), one row per image and one column per lane.

    Args:
        seed: The pipeline's seed; its lowest 64 bits count.
        lanes: What the columns are for, from `lane_words`.
        epoch: int64, the same for all images of one pass over the data: a scalar, or one for each image.
        index: int64 of shape `(images,)`, each image's position in the epoch.

    Returns:
        float32 of shape `(images, lanes)`, multiples of 2**-24.
    """
    names, places = zip(*lanes, strict=True)
    key = threefry2x32(
        (_word(seed), _word(seed >> 32)), (tf.constant(names, tf.uint32), tf.constant(places, tf.uint32))
    )
    key = threefry2x32(key, words(epoch[:, None] if epoch.shape.rank else epoch))
    low, high = words(index)
    bits, _ = threefry2x32(key, (low[:, None], high[:, None]))
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def call_epoch(number: tf.Tensor) -> tf.Tensor:
    """The epoch of a direct call: the call's number, kept apart from the epochs of a dataset."""
    return number + tf.constant(-_CALLS, tf.int64)


def words(value: tf.Tensor) -> Words:
    """The low and the high 32 bits of an int64 tensor."""
    mask = tf.constant(0xFFFFFFFF, tf.int64)
    high = tf.bitwise.right_shift(value, tf.constant(32, tf.int64))
    return tf.cast(value & mask, tf.uint32), tf.cast(high & mask, tf.uint32)


def _word(value: int) -> tf.Tensor:
    return tf.constant(value & 0xFFFFFFFF, tf.uint32)


def _rotate_left(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.left_shift(x, tf.constant(bits, tf.uint32)) | tf.bitwise.right_shift(
        x, tf.constant(32 - bits, tf.uint32)
    )
