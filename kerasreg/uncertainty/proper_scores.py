"""Scores that nobody betters by stating other probabilities than the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg._core.arguments import flag, refusal
from kerasreg._core.classes import scored


def brier_score(
    y_true: Any, y_pred: Any, sample_weight: Any = None, scale_by_half: bool | str = "auto"
) -> float:
    """The mean squared distance between probabilities and what came true, 1/N sum_n sum_k (p_nk - y_nk)^2.

    As `sklearn.metrics.brier_score_loss` defines it: in [0, 2] for three classes and more, half of that, in
    [0, 1], for two, where it is the squared error of the one probability.

    Args:
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Class probabilities of shape (..., classes); or of class 1 alone, (rows,) or (..., 1).
        sample_weight: Weights of shape (...), or None.
        scale_by_half: Whether to take half of the sum; `"auto"` for two classes only.

    Returns:
        The score; less is better, 0 is certain and right.

    Raises:
        ValueError: If the labels are no class numbers, `y_pred` no probabilities, or shapes differ.

    Source:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.

    Example:
        >>> brier_score([0, 1], [[0.8, 0.2], [0.4, 0.6]])
        0.1
        >>> round(brier_score([2], [[0.2, 0.2, 0.6]]), 3)
        0.24
    """
    if not isinstance(scale_by_half, bool) and scale_by_half != "auto":
        raise refusal("brier_score", "scale_by_half", 'True, False or "auto"', scale_by_half)
    rows = scored("brier_score", y_true, y_pred, sample_weight)
    classes = rows.values.shape[1]
    distance = np.square(rows.values.astype("float64") - np.eye(classes)[rows.labels]).sum(axis=1)
    half = classes == 2 if scale_by_half == "auto" else scale_by_half
    return rows.mean(distance) / (2 if half else 1)


def negative_log_likelihood(
    y_true: Any, y_pred: Any, sample_weight: Any = None, from_logits: bool = False
) -> float:
    """The mean negative log probability of what came true, -1/N sum_n log p_n(y_n), in nats.

    It is infinite where a class that came true has probability 0. A softmax rounds to 0 early; from logits
    the score is exact, however small the probability.

    Args:
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Class probabilities of shape (..., classes); or of class 1 alone, (rows,) or (..., 1).
        sample_weight: Weights of shape (...), or None.
        from_logits: Whether `y_pred` holds logits of these shapes instead.

    Returns:
        The score; less is better, log(classes) is that of knowing nothing.

    Raises:
        ValueError: If the labels are no class numbers, `y_pred` no probabilities, or shapes differ.

    Source:
        Good, "Rational Decisions", 1952.

    Example:
        >>> round(negative_log_likelihood([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
        1.0397
    """
    flag("negative_log_likelihood", "from_logits", from_logits)
    rows = scored("negative_log_likelihood", y_true, y_pred, sample_weight, from_logits=from_logits)
    values = rows.values.astype("float64")
    if not from_logits:
        # Values whose logarithm needs no warning; 0 is put back as what it is.
        likely = values[rows.rows, rows.labels]
        return rows.mean(np.where(likely > 0, -np.log(np.where(likely > 0, likely, 1.0)), np.inf))
    return rows.mean(log_normalizer(values) - values[rows.rows, rows.labels])


def log_normalizer(logits: np.ndarray) -> np.ndarray:
    """The logarithm of sum_k exp(z_k) over the last axis, for logits of any size."""
    top = logits.max(axis=-1)
    return top + np.log(np.exp(logits - top[..., None]).sum(axis=-1))
