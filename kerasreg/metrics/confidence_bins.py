"""Bins of the confidence and the error over them, in NumPy or in `keras.ops`: one definition for both."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np


def equal_width_edges(bins: int) -> np.ndarray:
    """The edges between the bins, without 0 and 1."""
    return np.linspace(0.0, 1.0, bins + 1)[1:-1]


def bin_of(confidence: Any, edges: Any, xp: ModuleType) -> Any:
    """The number of the bin (low, high] of each confidence; the first one holds 0 as well.

    Args:
        confidence: Of any shape.
        edges: Those between the bins, in rising order and of the same type.
        xp: `numpy` or `keras.ops`.
    """
    if xp is np:
        return np.searchsorted(edges, confidence, side="left")
    # Counted: Keras 3.10's own search does without graphs.
    return xp.sum(xp.cast(confidence[..., None] > edges, "int32"), axis=-1)


def calibration_error(count: Any, confidence: Any, right: Any, xp: ModuleType) -> Any:
    """sum_b n_b / N |accuracy_b - confidence_b| from the bins' sums; 0 where there is nothing.

    Args:
        count: The weight of each bin's samples, of shape (bins,).
        confidence: The weighted sum of their confidence.
        right: The weight of those that are right.
        xp: `numpy` or `keras.ops`.
    """
    total = xp.sum(count)
    return xp.sum(xp.abs(right - confidence)) / xp.where(total > 0, total, xp.ones_like(total))
