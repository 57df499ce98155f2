"""Whether a classifier is right as often as it says."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, integer, refusal
from kerasreg._core.class_tensors import are_class_numbers, are_shares, refuse_unless
from kerasreg._core.registry import register
from kerasreg._core.tensors import shape_fits
from kerasreg.metrics.confidence_bins import bin_of, calibration_error, equal_width_edges

_OWNER = "ExpectedCalibrationError"
_SOFTMAX = "put a softmax behind the model"


@register
class ExpectedCalibrationError(keras.metrics.Metric):
    """ECE = sum_b n_b / N |accuracy_b - confidence_b| over equal-width bins b of the confidence.

    The confidence of a sample is its largest class probability, bins are (low, high]. 0 says that of all
    predictions made with confidence c a share of c is right. `kr.uncertainty.expected_calibration_error`
    takes arrays, and has bins of equal mass too.

    Args:
        bins: The number of bins of equal width in [0, 1].
        name: The metric's name.
        dtype: The type of the sums.

    Call arguments:
        y_true: Class numbers of shape (batch,) or (batch, 1), or one-hot rows; of smoothed or mixed ones, the
            class with the largest share counts.
        y_pred: Class probabilities of shape (batch, classes).
        sample_weight: One weight for each sample, or None.

    Raises:
        ValueError: If `bins` is below 1, labels and probabilities do not fit, or they are none. Where their
            values cannot be looked at because the step is compiled, what is none makes the result NaN until
            the next `reset_state`, never a number that looks right.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> metric = kr.metrics.ExpectedCalibrationError(bins=10)
        >>> metric.update_state(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))
        >>> float(metric.result())
        0.25
    """

    def __init__(self, bins: int = 15, name: str = "expected_calibration_error", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.bins = integer("ExpectedCalibrationError", "bins", bins, low=1)
        # Per bin: the weight of its samples, of their confidence, and of the right ones.
        self._sums = self.add_variable((3, self.bins), initializer="zeros", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        p = ops.cast(ops.convert_to_tensor(y_pred), self.dtype)
        labels = ops.convert_to_tensor(y_true)
        if len(p.shape) != 2 or p.shape[-1] < 2:
            allowed = "class probabilities of shape (batch, classes)"
            raise refusal("ExpectedCalibrationError", "y_pred", allowed, Came(f"shape {tuple(p.shape)}"))
        rows, classes = p.shape
        if not any(shape_fits(labels.shape, fit) for fit in ((rows,), (rows, 1), (rows, classes))):
            allowed = f"class numbers or one-hot rows that fit probabilities of shape {(rows, classes)}"
            raise refusal("ExpectedCalibrationError", "y_true", allowed, Came(f"shape {tuple(labels.shape)}"))
        valid = are_shares(p)
        refuse_unless(valid, _OWNER, "y_pred", "class probabilities with sums of 1", p, _SOFTMAX)
        if len(labels.shape) == 2 and labels.shape[-1] == classes:
            fit = are_shares(labels)
            refuse_unless(fit, _OWNER, "y_true", "class numbers or one-hot rows", labels)
            labels = ops.argmax(labels, axis=-1)
        else:
            labels = ops.reshape(labels, (-1,))
            fit = are_class_numbers(labels, classes)
            refuse_unless(fit, _OWNER, "y_true", f"class numbers from 0 to {classes - 1}", labels)
        labels, valid = ops.cast(labels, "int32"), valid & fit
        # An empty batch has no largest number but the one given here.
        confidence = ops.max(p, axis=-1, initial=0.0)
        right = ops.cast(ops.equal(ops.cast(ops.argmax(p, axis=-1), "int32"), labels), self.dtype)
        edges = ops.convert_to_tensor(equal_width_edges(self.bins), dtype=confidence.dtype)
        number = bin_of(confidence, edges, ops)
        weight = ops.ones_like(confidence)
        if sample_weight is not None:
            weight = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
            if not any(shape_fits(weight.shape, fit) for fit in ((rows,), (rows, 1))):
                allowed = f"one weight for each of {rows} samples"
                came = Came(f"shape {tuple(weight.shape)}")
                raise refusal("ExpectedCalibrationError", "sample_weight", allowed, came)
            weight = ops.reshape(weight, (-1,))
            fit = (weight >= 0) & ops.isfinite(weight)
            refuse_unless(fit, _OWNER, "sample_weight", "finite weights of at least 0", weight)
            valid = valid & fit
        weight = ops.where(valid, weight, ops.cast(float("nan"), weight.dtype))
        in_bin = ops.one_hot(number, self.bins, dtype=self.dtype)
        self._sums.assign_add(ops.matmul(ops.stack([weight, weight * confidence, weight * right]), in_bin))

    def result(self) -> Any:
        """The error over all batches, in [0, 1]."""
        count, confidence, right = ops.unstack(ops.convert_to_tensor(self._sums), 3)
        return calibration_error(count, confidence, right, ops)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "bins": self.bins}
