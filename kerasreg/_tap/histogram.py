"""Counts of a tensor's values between fixed edges, which need no look at the values first."""

from __future__ import annotations

from typing import Any

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
    return _by_bits(values) if tensorflow_runs_each_operation() else _by_comparison(values)


def _by_bits(values: Any) -> Any:
    """Exponent and first digit of a float32 are the bin of its size: few and cheap passes."""
    import tensorflow as tf

    bits = tf.bitcast(values, tf.int32)
    # Two bins an octave: 8 bits of exponent, biased by 127, and one of the fraction.
    size = tf.bitwise.right_shift(tf.bitwise.bitwise_and(bits, 0x7FFFFFFF), 22)
    size = tf.clip_by_value(size - (2 * (LOW_EXPONENT + 127) - 1), 0, BINS // 2)
    # One bin more than there are takes what is NaN.
    where = tf.where(tf.math.is_nan(values), BINS, BINS // 2 + tf.where(bits < 0, -size, size))
    counts = tf.math.bincount(where, minlength=BINS + 1, maxlength=BINS + 1)
    return tf.cast(counts[:BINS], "float32")


def _by_comparison(values: Any) -> Any:
    """One pass in a compiler that joins a comparison and its sum."""
    inner, x = EDGES[1:-1].astype("float32"), values[:, None]
    above = ops.concatenate([x > inner[inner < 0], x >= inner[inner > 0]], axis=1)
    reached = ops.sum(ops.cast(above, "int32"), axis=0)
    known = ops.sum(ops.cast(ops.logical_not(ops.isnan(values)), "int32"))
    at_least = ops.concatenate([known[None], reached, ops.zeros((1,), "int32")])
    return ops.cast(at_least[:-1] - at_least[1:], "float32")
