"""Counts of a tensor's values between fixed edges, which need no look at the values first."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

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
    below = ops.searchsorted(
        ops.convert_to_tensor(EDGES[1:-1], "float32"), ops.reshape(x, [-1]), side="right"
    )
    # Of two bins more than there are, one takes what is NaN.
    where = ops.where(ops.isnan(ops.reshape(x, [-1])), BINS, ops.cast(below, "int32"))
    return ops.cast(_tally(where), "float32")[:BINS]


def _tally(where: Any) -> Any:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.math.bincount(where, minlength=BINS + 1, maxlength=BINS + 1)
    return ops.bincount(where, minlength=BINS + 1)
