"""What is measured of one layer's output, on the device, in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

# The order in which `summarize` lays its figures.
FIGURES = ("mean", "variance", "zeros", "min", "max", "nonfinite")


def summarize(outputs: Any) -> Any:
    """Mean, population variance and share of zeros of a tensor, and what else `FIGURES` names, as a vector.

    The variance is taken about the mean, in a second pass: E[x^2] - E[x]^2 loses every digit of a small
    deviation beside a large mean.
    """
    x = ops.cast(ops.stop_gradient(outputs), "float32")
    mean = ops.mean(x)
    variance = ops.mean(ops.square(x - mean))
    zeros = ops.mean(ops.cast(ops.equal(x, 0.0), "float32"))
    nonfinite = ops.sum(ops.cast(ops.logical_not(ops.isfinite(x)), "float32"))
    return ops.stack([mean, variance, zeros, ops.min(x), ops.max(x), nonfinite])


def read(packed: np.ndarray, rows: Sequence[str]) -> list[dict[str, Any]]:
    """One plain dict a row, with the figures that people ask for."""
    return [
        {
            "layer": row,
            "mean": float(mean),
            "std": math.sqrt(variance) if variance >= 0 else math.nan,
            "rms": math.sqrt(variance + mean**2) if variance >= 0 else math.nan,
            "min": float(low),
            "max": float(high),
            "zeros": float(zeros),
            "nonfinite": int(nonfinite),
        }
        for row, (mean, variance, zeros, low, high, nonfinite) in zip(
            rows, packed.astype("float64"), strict=True
        )
    ]
