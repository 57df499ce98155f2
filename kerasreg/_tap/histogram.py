"""Counts of a tensor's values between fixed edges, which need no look at the values first."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.private import graph_is_compiled_by_xla

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
    """How many values of a float32 tensor lie in each bin, lower edge included; NaN lies in none.

    A vector of `BINS` numbers, in float32.
    """
    values, inner = ops.reshape(x, [-1]), ops.convert_to_tensor(EDGES[1:-1], "float32")
    if not _tensorflow_runs_each_operation():
        return _by_comparison(values, inner)
    import tensorflow as tf

    # One bin more than there are takes what is NaN.
    where = tf.where(tf.math.is_nan(values), BINS, tf.searchsorted(inner, values, side="right"))
    counts = tf.math.bincount(where, minlength=BINS + 1, maxlength=BINS + 1)
    return tf.cast(counts[:BINS], "float32")


def _by_comparison(values: Any, inner: Any) -> Any:
    """One pass in a compiler that joins a comparison and its sum."""
    reached = ops.sum(ops.cast(values[:, None] >= inner, "int32"), axis=0)
    known = ops.sum(ops.cast(ops.logical_not(ops.isnan(values)), "int32"))
    at_least = ops.concatenate([known[None], reached, ops.zeros((1,), "int32")])
    return ops.cast(at_least[:-1] - at_least[1:], "float32")


def _tensorflow_runs_each_operation() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.executing_eagerly() or not graph_is_compiled_by_xla(tf.compat.v1.get_default_graph())
