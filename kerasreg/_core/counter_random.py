"""Random numbers that are a function of where they are used, not of what was drawn before.

A number is given by (seed, stream, sample, row, draw, position): the same whatever the batch size, the number
of samples side by side, the number of threads, or the order of the calls. TensorFlow counts with Philox, JAX
folds the same six into Threefry keys, so the numbers repeat on one backend and differ between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

# One Philox block holds four 32-bit numbers.
_BLOCK = 4
# Both backends draw multiples of 2^-23 in [0, 1); the mirror image of the smallest is the largest.
_LARGEST = 1.0 - 2.0**-23


@dataclass(frozen=True)
class Where:
    """The place that a draw belongs to.

    Args:
        seed: An integer in [0, 2^31), int or scalar tensor.
        stream: An integer in [0, 2^31) that tells apart the places within one sample, such as layers.
        sample: The first sample's number, an int or an integer scalar tensor.
        first_row: The number, within the whole input, of the batch's first row; int or scalar tensor.
        rows: The batch's rows, where a draw may have several times as many, such as windows of an image:
            those of one row are neighbours then. By default each is a row of its own.
        samples: How many samples in a row the draw is for, one below the other along its first axis.
        mirror: `"none"`; `"all"` for the mirror image 1 - u of each number; `"half"` for an even number
            of samples of which the second half mirrors the first.
        draw: The draw's number where one place draws more than once, in [0, 2^31).
    """

    seed: Any
    stream: int
    sample: Any
    first_row: Any
    rows: Any = None
    samples: int = 1
    mirror: str = "none"
    draw: int = 0


def uniform(shape: Sequence[Any], where: Where) -> Any:
    """Uniform float32 numbers in [0, 1) of a shape whose first axis counts rows."""
    backend = keras.backend.backend()
    if backend not in _DRAW:
        raise NotImplementedError(f"mc_predict runs on the tensorflow and jax backends, not on {backend}.")
    own = where.samples // 2 if where.mirror == "half" else where.samples
    u = _DRAW[backend]((shape[0] // where.samples, *shape[1:]), where, own)
    if where.mirror == "half":
        return ops.concatenate([u, _LARGEST - u], axis=0)
    return _LARGEST - u if where.mirror == "all" else u


def normal(shape: Sequence[Any], where: Where) -> Any:
    """Standard normal float32 numbers of a shape whose first axis counts rows."""
    return normal_from(uniform(shape, where))


def normal_from(u: Any) -> Any:
    """Standard normal numbers from uniform ones, by the inverse of the normal distribution function."""
    # Away from 0, where the inverse is minus infinity.
    u = ops.clip(u, 2.0**-24, 1.0 - 2.0**-24)
    return 2.0**0.5 * ops.erfinv(2.0 * u - 1.0)


def _uniform_tensorflow(shape: Sequence[Any], where: Where, samples: int) -> Any:
    """Numbers of the given shape for each sample, one sample below the other."""
    import tensorflow as tf

    rows = shape[0] if where.rows is None else where.rows
    each = shape[0] // rows
    sizes = [each, *shape[1:]]
    if all(isinstance(size, int) for size in sizes):
        per_row = math.prod(sizes)
    else:
        per_row = tf.reduce_prod(tf.cast(tf.stack(sizes), tf.int64))
    # Whole blocks for each row: then a row's counters depend on its number only.
    blocks = (per_row + _BLOCK - 1) // _BLOCK
    key = tf.bitcast([tf.cast(where.seed, tf.int64) * 2**32 + where.stream], tf.uint64)
    low = tf.cast(where.first_row, tf.int64) * blocks
    first = tf.cast(where.sample, tf.int64) + where.draw * 2**32
    counters = tf.stack([tf.fill([samples], low), first + tf.range(samples, dtype=tf.int64)], axis=1)
    size = tf.stack([tf.cast(rows, tf.int64), tf.cast(blocks * _BLOCK, tf.int64)])
    philox = tf.random.Algorithm.PHILOX.value
    numbers = tf.concat(
        [
            tf.raw_ops.StatelessRandomUniformV2(shape=size, key=key, counter=counter, alg=philox)
            for counter in tf.unstack(tf.bitcast(counters, tf.uint64), samples)
        ],
        axis=0,
    )
    if not (isinstance(per_row, int) and per_row % _BLOCK == 0):
        numbers = numbers[:, :per_row]
    return tf.reshape(numbers, [samples * shape[0], *shape[1:]])


def _uniform_jax(shape: Sequence[Any], where: Where, samples: int) -> Any:
    """Numbers of the given shape for each sample, one sample below the other."""
    import jax

    count = shape[0] if where.rows is None else where.rows
    key = jax.random.fold_in(jax.random.key(where.seed), where.stream)
    # The first draw's numbers are those of a place that draws once.
    key = jax.random.fold_in(key, 2**31 + where.draw) if where.draw else key

    def of_row(sample: Any, row: Any) -> Any:
        place = jax.random.fold_in(jax.random.fold_in(key, sample), row)
        return jax.random.uniform(place, (shape[0] // count, *shape[1:]))

    of_rows = jax.vmap(of_row, in_axes=(None, 0))
    rows = where.first_row + jax.numpy.arange(count)
    numbers = jax.vmap(of_rows, in_axes=(0, None))(where.sample + jax.numpy.arange(samples), rows)
    return numbers.reshape((samples * shape[0], *shape[1:]))


_DRAW = {"tensorflow": _uniform_tensorflow, "jax": _uniform_jax}
