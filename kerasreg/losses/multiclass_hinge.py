"""The multiclass hinge loss on scores."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, choice, number, refusal
from kerasreg._core.class_tensors import are_class_numbers, are_one_hot, refuse_unless
from kerasreg._core.registry import register
from kerasreg._core.tensors import shape_fits

VARIANTS = ("sum", "max")


def multiclass_hinge(target: Any, scores: Any, margin: float = 1.0, variant: str = "sum") -> Any:
    """Per sample, the sum or the largest of `max(0, s_j - s_y + margin)` over the wrong classes j.

    Args:
        target: One-hot rows, shape (..., classes), in the scores' type.
        scores: Class scores, shape (..., classes).
        margin: By how much the right class has to lead.
        variant: `"sum"` or `"max"`.

    Returns:
        A tensor of shape (...).
    """
    right = ops.sum(target * scores, axis=-1, keepdims=True)
    violation = ops.relu(scores - right + margin) * (1.0 - target)
    reduce = ops.sum if variant == "sum" else ops.max
    return reduce(violation, axis=-1)


@register
class MulticlassHinge(keras.losses.Loss):
    """The lecture's data loss: sum over j != y of max(0, s_j - s_y + margin), averaged over the batch.

    `variant="max"` takes the worst wrong class instead of their sum.

    Args:
        margin: By how much the right class's score has to lead, a number above 0.
        variant: `"sum"` (Weston and Watkins, the lecture's) or `"max"` (Crammer and Singer).
        reduction: Keras' reduction over the batch.
        name: The loss's name.
        dtype: The type of the computation, Keras' default if None.

    Call arguments:
        y_true: Class numbers of shape (batch,) or (batch, 1), or one-hot rows of the scores' shape.
        y_pred: Class scores (no softmax) of shape (batch, classes), or with more axes in front of classes.

    Raises:
        ValueError: If `margin` or `variant` is not one of the above, if labels and scores do not fit, or
            if a label is not a class number or a row not one-hot. Where labels cannot be looked at because
            the step is compiled, such a label makes its sample's loss NaN, never a number that looks right.

    Source:
        Weston and Watkins, 1999; Crammer and Singer, 2001.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> loss = kr.losses.MulticlassHinge()
        >>> float(loss(np.array([0]), np.array([[2.0, 1.5, -1.0]], "float32")))
        0.5
    """

    def __init__(
        self,
        margin: float = 1.0,
        variant: str = "sum",
        reduction: str = "sum_over_batch_size",
        name: str = "multiclass_hinge",
        dtype: Any = None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.margin = number("MulticlassHinge", "margin", margin, low=0, open_low=True)
        self.variant = choice("MulticlassHinge", "variant", variant, VARIANTS)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        scores = ops.convert_to_tensor(y_pred)
        target = _one_hot(ops.convert_to_tensor(y_true), scores)
        return multiclass_hinge(target, scores, self.margin, self.variant)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "margin": self.margin, "variant": self.variant, "dtype": self.dtype}


def _one_hot(labels: Any, scores: Any) -> Any:
    """One-hot rows of the scores' shape; NaN where a class number is not one."""
    if len(scores.shape) < 2 or scores.shape[-1] < 2:
        raise refusal("MulticlassHinge", "y_pred", "scores of two or more classes", _shape(scores))
    classes = scores.shape[-1]
    if shape_fits(labels.shape, scores.shape):
        valid = are_one_hot(labels)
        refuse_unless(valid, "MulticlassHinge", "y_true", "class numbers or one-hot rows", labels)
        return _where_valid(valid, ops.cast(labels, scores.dtype))
    if len(labels.shape) == len(scores.shape) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    if not shape_fits(labels.shape, scores.shape[:-1]):
        allowed = f"class numbers or one-hot rows that fit scores of {_shape(scores)}"
        raise refusal("MulticlassHinge", "y_true", allowed, _shape(labels))
    valid = are_class_numbers(labels, classes)
    refuse_unless(valid, "MulticlassHinge", "y_true", f"class numbers from 0 to {classes - 1}", labels)
    one_hot = ops.one_hot(ops.cast(labels, "int32"), classes, dtype=scores.dtype)
    return _where_valid(valid, one_hot)


def _where_valid(valid: Any, rows: Any) -> Any:
    return ops.where(ops.expand_dims(valid, -1), rows, ops.cast(float("nan"), rows.dtype))


def _shape(tensor: Any) -> Came:
    return Came(f"shape {tuple(tensor.shape)}")
