"""Random numbers that are a function of where they are used, not of what was drawn before.

A number is given by (seed, stream, sample, row, draw, position): the same whatever the batch size, the number
of threads, or the order of the calls. TensorFlow counts with Philox, JAX folds the same six into Threefry
keys, so the numbers repeat on one backend and differ between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

# One Philox block holds four 32-bit numbers.
_BLOCK = 4


@dataclass(frozen=True)
class Where:
    """The place that a draw belongs to.

    Args:
        seed: An integer in [0, 2^31), int or scalar tensor.
        stream: An integer in [0, 2^31) that tells apart the places within one sample, such as layers.
        sample: The sample's number, an int or an integer scalar tensor.
        first_row: The number, within the whole input, of the batch's first row; int or scalar tensor.
        draw: The draw's number where one place draws more than once, in [0, 2^31).
    """

    seed: Any
    stream: int
    sample: Any
    first_row: Any
    draw: int = 0


def uniform(shape: Sequence[Any], where: Where) -> Any:
    """Uniform float32 numbers in [0, 1) of a shape whose first axis counts rows."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _uniform_tensorflow(shape, where)
    if backend == "jax":
        return _uniform_jax(shape, where)
    raise NotImplementedError(f"mc_predict runs on the tensorflow and jax backends, not on {backend}.")


def normal(shape: Sequence[Any], where: Where) -> Any:
    """Standard normal float32 numbers of a shape whose first axis counts rows."""
    return normal_from(uniform(shape, where))


def normal_from(u: Any) -> Any:
    """Standard normal numbers from uniform ones, by the inverse of the normal distribution function."""
    # Away from 0, where the inverse is minus infinity.
    u = ops.clip(u, 2.0**-24, 1.0 - 2.0**-24)
    return 2.0**0.5 * ops.erfinv(2.0 * u - 1.0)


def _uniform_tensorflow(shape: Sequence[Any], where: Where) -> Any:
    import tensorflow as tf

    rows = shape[0]
    per_row = tf.reduce_prod(tf.cast(tf.stack([1, *shape[1:]]), tf.int64))
    # Whole blocks for each row: then a row's counters depend on its number only.
    blocks = (per_row + _BLOCK - 1) // _BLOCK
    low = tf.cast(where.first_row, tf.int64) * blocks
    high = tf.cast(where.sample, tf.int64) + where.draw * 2**32
    numbers = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.stack([tf.cast(rows, tf.int64), blocks * _BLOCK]),
        key=tf.bitcast([tf.cast(where.seed, tf.int64) * 2**32 + where.stream], tf.uint64),
        counter=tf.bitcast(tf.stack([low, high]), tf.uint64),
        alg=tf.random.Algorithm.PHILOX.value,
    )
    return tf.reshape(numbers[:, :per_row], shape)


def _uniform_jax(shape: Sequence[Any], where: Where) -> Any:
    import jax

    key = jax.random.fold_in(jax.random.key(where.seed), where.stream)
    key = jax.random.fold_in(key, where.sample)
    # The first draw's numbers are those of a place that draws once.
    key = jax.random.fold_in(key, where.draw) if where.draw else key
    rows = where.first_row + jax.numpy.arange(shape[0])
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)
    return jax.vmap(lambda row_key: jax.random.uniform(row_key, tuple(shape[1:])))(keys)
