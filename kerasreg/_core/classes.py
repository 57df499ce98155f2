"""Class numbers and class probabilities as a score takes them, checked: one row a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal

# float32 softmax outputs miss a sum of 1 by rounding only; float16 ones by up to this.
SUM_TOLERANCE = 5e-3


@dataclass(frozen=True)
class Scored:
    """What a score is computed from.

    Attributes:
        labels: int64 class numbers of shape (rows,).
        values: Probabilities or logits of shape (rows, classes), float32 or float64 as they came.
        weights: float64 of shape (rows,).
        binary: Whether there was one number a row, the probability or the logit of class 1.
    """

    labels: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    binary: bool

    @property
    def rows(self) -> np.ndarray:
        """The rows' own numbers, for indexing."""
        return np.arange(len(self.labels))

    def mean(self, figures: np.ndarray) -> float:
        """The average over the rows by their weights."""
        return float(np.average(figures, weights=self.weights))


def are_probabilities(values: Any) -> bool:
    """Whether the last axis holds class probabilities: two or more, none negative, sums of 1."""
    p = np.asarray(values, dtype="float64")
    if p.ndim == 0 or p.shape[-1] < 2 or not np.isfinite(p).all():
        return False
    return bool((p >= 0).all() and (np.abs(p.sum(axis=-1) - 1.0) <= SUM_TOLERANCE).all())


def scored(
    owner: str,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    from_logits: bool = False,
    predictions: str = "y_pred",
) -> Scored:
    """Labels, predictions and weights as plain rows.

    Args:
        owner: Whose arguments these are, for an error's sentence.
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Of shape (..., classes); or of shape (rows,) or (..., 1) for two classes.
        sample_weight: Of shape (...) or (..., 1), or None.
        from_logits: Whether `y_pred` are logits, of which nothing but numbers is asked.
        predictions: The name that `owner` has for `y_pred`.

    Raises:
        ValueError: If they do not fit together, or are not what they should be.
    """
    values = as_floats(owner, predictions, y_pred, "logits" if from_logits else "class probabilities")
    binary = values.ndim == 1 or (values.ndim > 1 and values.shape[-1] == 1)
    leading = values.shape if values.ndim == 1 else values.shape[:-1]
    if values.ndim == 0 or values.size == 0:
        allowed = "of shape (..., classes), or (rows,) or (..., 1) for two classes, with at least one row"
        raise refusal(owner, predictions, allowed, Came(f"shape {values.shape}"))
    if binary:
        column = values.reshape(-1)
        if not from_logits and not ((column >= 0) & (column <= 1)).all():
            came = Came(f"numbers from {column.min():.3g} to {column.max():.3g}")
            raise refusal(owner, predictions, "probabilities of class 1, in [0, 1]", came, _SOFTMAX)
        values = np.stack([np.zeros_like(column) if from_logits else 1 - column, column], axis=-1)
    values = values.reshape(-1, values.shape[-1])
    if not from_logits and not are_probabilities(values):
        sums = values.sum(axis=-1, dtype="float64")
        came = Came(
            f"values of at least {values.min():.3g} with sums from {sums.min():.4g} to {sums.max():.4g}"
        )
        raise refusal(owner, predictions, "class probabilities, of at least 0 with sums of 1", came, _SOFTMAX)
    labels = _class_numbers(owner, y_true, leading, values.shape[-1], binary)
    return Scored(labels, values, _weights(owner, sample_weight, leading), binary)


_SOFTMAX = "put a softmax or a sigmoid behind the model"


def as_floats(owner: str, argument: str, x: Any, words: str) -> np.ndarray:
    """An array or tensor as finite float32 or float64, float64 where it held something else than floats."""
    array = _array(x)
    if array.dtype.name in ("float16", "bfloat16"):
        array = array.astype("float32")
    if array.dtype.kind not in "biuf":
        came, remedy = Came(f"a {type(x).__name__}"), "pass an array, of a Prediction its `mean` or `samples`"
        raise refusal(owner, argument, f"{words} in an array", came, remedy)
    if array.dtype.name not in ("float32", "float64"):
        array = array.astype("float64")
    if not np.isfinite(array).all():
        came = Came(f"{np.count_nonzero(~np.isfinite(array))} of {array.size} numbers NaN or infinite")
        raise refusal(owner, argument, f"finite {words}", came)
    return array


def _array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x) if keras.ops.is_tensor(x) else x)


def _class_numbers(
    owner: str, y_true: Any, leading: tuple[int, ...], classes: int, binary: bool
) -> np.ndarray:
    labels = _array(y_true)
    one_hot = not binary and labels.shape == (*leading, classes)
    if labels.dtype.kind not in "biuf" or not (one_hot or labels.shape in (leading, (*leading, 1))):
        allowed = f"class numbers of shape {leading} or one-hot rows of shape {(*leading, classes)}"
        if binary:
            allowed = f"class numbers 0 and 1 of shape {leading}"
        came = Came(f"shape {labels.shape} of {labels.dtype.name}")
        raise refusal(owner, "y_true", allowed, came, "labels come first, then predictions")
    if one_hot:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=-1) == 1).all()):
            allowed = "one-hot where it has an axis for the classes"
            came = Came(f"rows with sums from {labels.sum(-1).min():.3g} to {labels.sum(-1).max():.3g}")
            raise refusal(owner, "y_true", allowed, came, "labels come first, then predictions")
        return labels.argmax(axis=-1).reshape(-1)
    labels = labels.reshape(-1)
    # Written so that NaN, which compares false, is refused.
    wrong = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if wrong.any():
        allowed = f"whole class numbers from 0 to {classes - 1}"
        raise refusal(owner, "y_true", allowed, Came(f"{labels[wrong][0]} at row {wrong.argmax()}"))
    return labels.astype("int64")


def _weights(owner: str, sample_weight: Any, leading: tuple[int, ...]) -> np.ndarray:
    if sample_weight is None:
        return np.ones(int(np.prod(leading)))
    weights = as_floats(owner, "sample_weight", sample_weight, "weights").astype("float64")
    if weights.shape not in (leading, (*leading, 1)):
        raise refusal(owner, "sample_weight", f"of shape {leading}", Came(f"shape {weights.shape}"))
    if (weights < 0).any() or weights.sum() == 0:
        came = Came(f"weights from {weights.min():.3g} to {weights.max():.3g}")
        raise refusal(owner, "sample_weight", "of at least 0, one of them above it", came)
    return weights.reshape(-1)
