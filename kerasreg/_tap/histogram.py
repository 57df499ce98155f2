"""Counts of a tensor's values between fixed edges, which need no look at the values first."""

from __future__ import annotations

import numpy as np

LOW_EXPONENT, HIGH_EXPONENT = -10, 6


def _edges() -> np.ndarray:
    """Two bins an octave, split at 1.5 times the power of two, so that every edge is a float32."""
    octaves = 2.0 ** np.arange(LOW_EXPONENT, HIGH_EXPONENT)
    positive = np.append(np.stack([octaves, 1.5 * octaves], axis=1).ravel(), 2.0**HIGH_EXPONENT)
    return np.concatenate([[-np.inf], -positive[::-1], positive, [np.inf]])


# From -inf over -64 and -1/1024 to 1/1024, 64 and inf; the bin in the middle holds the zeros.
EDGES: np.ndarray = _edges()
BINS = len(EDGES) - 1
