"""Counts of a tensor's values between fixed edges, which need no look at the values first."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._tap.kinds_of_graph import tensorflow_runs_each_operation

LOW_EXPONENT, HIGH_EXPONENT = -10, 6


def _edges() -> np.ndarray:
    """Two bins an octave, split at 1.5 times the power of two, so that every edge is a float32."""
    octaves = 2.0 ** np.arange(LOW_EXPONENT, HIGH_EXPONENT)
    positive = np.append(np.stack([octaves, 1.5 * octaves], axis=1).ravel(), 2.0**HIGH_EXPONENT)
    return np.concatenate([[-np.inf], -positive[::-1], positive, [np.inf]])


# From -inf over -64 and -1/1024 to 1/1024, 64 and inf; the bin in the middle holds the zeros.
EDGES: np.ndarray = _edges()
BINS = len(EDGES) - 1


def count(x: Any) -> Any:
    """How many values of a float32 tensor lie in each bin; NaN lies in none.

    A value on an edge belongs to the bin farther from 0. A vector of `BINS` numbers, in float32.
    """
    values = ops.reshape(x, [-1])
    # One bin more than there are takes what is NaN.
    where = ops.where(ops.isnan(values), BINS, _bin_by_bits(values))
    if tensorflow_runs_each_operation():
        import tensorflow as tf

        counts = tf.math.bincount(where, minlength=BINS + 1, maxlength=BINS + 1)
    else:
        counts = ops.scatter(where[:, None], ops.ones_like(where), (BINS + 1,))
    return ops.cast(counts[:BINS], "float32")


def _bin_by_bits(values: Any) -> Any:
    """Exponent and first digit of a float32 are the bin of its size: few and cheap passes."""
    bits = _bits(values)
    # Two bins an octave: 8 bits of exponent, biased by 127, and one of the fraction.
    size = ops.right_shift(ops.bitwise_and(bits, 0x7FFFFFFF), 22)
    size = ops.clip(size - (2 * (LOW_EXPONENT + 127) - 1), 0, BINS // 2)
    return BINS // 2 + ops.where(bits < 0, -size, size)


def _bits(values: Any) -> Any:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.bitcast(values, tf.int32)
    import jax

    return jax.lax.bitcast_convert_type(values, "int32")
