"""One number that makes a trained classifier as sure as it is right."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, number, refusal
from kerasreg._core.classes import Scored, scored
from kerasreg._core.registry import register
from kerasreg._core.tensors import check_floats, wide_dtype

_STEPS = 200


@register
class TemperatureScaling(keras.layers.Layer):
    """Divides logits by a temperature T > 0, fitted to rows that the model was not trained on.

    y = z / T, so that softmax(y) is flatter for T > 1 and sharper for T < 1. `fit` takes the T with the
    smallest negative log likelihood. The class with the largest logit stays the one with the largest: where
    the division rounds another logit up to it, that one is put just below. (A processor may take logits
    smaller than 1e-37 for 0.)

    The temperature is a weight that no optimizer moves, and is saved with a model that holds the layer:
    `keras.Sequential([model, scaling, keras.layers.Softmax()])` is the calibrated classifier.

    Args:
        temperature: T to begin with, above 0.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Call arguments:
        inputs: Logits of shape (..., classes), or of class 1 alone, of shape (..., 1).

    Raises:
        ValueError: If `temperature` is no number above 0, or the logits are whole numbers.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> logits = np.array([[4.0, 0.0]] * 4)  # says 98 %
        >>> scaling = kr.layers.TemperatureScaling().fit(logits, [0, 0, 0, 1])  # is right in 75 %
        >>> round(float(keras.ops.softmax(scaling(logits))[0, 0]), 3)
        0.75
    """

    def __init__(self, temperature: float = 1.0, **kwargs: Any):
        temperature = number("TemperatureScaling", "temperature", temperature, 0, open_low=True)
        super().__init__(**kwargs)
        self._value = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(temperature),
            dtype=wide_dtype(self.variable_dtype),
            trainable=False,
            name="temperature",
        )
        self.supports_masking = True

    @property
    def temperature(self) -> float:
        """T as it is now."""
        # The shortest number that is this one in its own precision.
        return float(str(np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(self._value)))[()]))

    def fit(self, logits: Any, y_true: Any, sample_weight: Any = None) -> TemperatureScaling:
        """Set T to what makes the labels most likely.

        Args:
            logits: Of shape (..., classes), or of class 1 alone, (rows,) or (..., 1); of rows that the model
                was not trained on.
            y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
            sample_weight: Weights of shape (...), or None.

        Returns:
            The layer itself.

        Raises:
            ValueError: If labels and logits do not fit together, or no T above 0 is the best: all labels have
                the largest logit, or the labels' logits are on average no larger than the others.
        """
        rows = scored(
            "TemperatureScaling.fit", y_true, logits, sample_weight, from_logits=True, predictions="logits"
        )
        self._value.assign(fit_temperature(rows))
        return self

    def call(self, inputs: Any) -> Any:
        """The logits divided by the temperature."""
        x = ops.convert_to_tensor(inputs)
        check_floats("TemperatureScaling", "inputs", x)
        wide = ops.cast(x, wide_dtype(x.dtype))
        y = wide / ops.cast(self._value, wide.dtype)
        if len(x.shape) < 2 or x.shape[-1] == 1:
            return ops.cast(y, x.dtype)
        kind = _finfo(x.dtype)
        largest, step, least = float(kind.max), float(kind.eps), float(kind.tiny)

        def constant(value: float) -> Any:
            # Through NumPy: on some backends a number of Python's is cut to float32 on the way.
            return ops.convert_to_tensor(np.float64(value), dtype=y.dtype)

        # An empty batch has no largest logit but the one given here.
        top = ops.max(wide, axis=-1, keepdims=True, initial=-np.inf)
        # Where all are below what the type holds, there has to be room for one above the others.
        lowest = ops.where(wide < top, constant(-largest), constant(-largest * (1.0 - step)))
        # Keras' maximum and minimum of float64 are float32 on PyTorch.
        y = ops.where(y < lowest, lowest, y)
        y = ops.cast(ops.where(y > largest, constant(largest), y), x.dtype)
        top_y = ops.max(y, axis=-1, keepdims=True, initial=-np.inf)
        size = ops.abs(top_y) * step
        below = top_y - ops.where(size < least, ops.cast(constant(least), y.dtype), size)
        return ops.where(ops.logical_and(wide < top, y >= top_y), below, y)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the logits."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor, the temperature as it is now."""
        return {**super().get_config(), "temperature": self.temperature}


def _finfo(dtype: Any) -> Any:
    """The limits of a floating type, bfloat16 among them."""
    import ml_dtypes

    return ml_dtypes.finfo(keras.backend.standardize_dtype(dtype))


def fit_temperature(rows: Scored) -> float:
    """The T that minimises -sum_n w_n log softmax(z_n / T)[y_n].

    In beta = 1 / T the sum is convex. Its derivative, sum_n w_n (E_p[z_n] - z_n[y_n]) with
    p = softmax(beta z_n), rises from that of beta = 0, where all classes are as likely, to that of certainty.
    """
    z = rows.values.astype("float64")
    z = z - z.max(axis=1, keepdims=True)
    label = z[rows.rows, rows.labels]
    # At certainty E_p[z] is the largest logit, here 0; -label is never below.
    if rows.mean(-label) == 0:
        raise _no_best("the label's logit is the largest in each row, so that certainty is best")
    if rows.mean(z.mean(axis=1) - label) >= 0:
        raise _no_best("the labels' logits are no larger than the others on average")
    low, high, beta = 0.0, np.inf, 1.0 / max(np.average(-z.mean(axis=1), weights=rows.weights), 1e-300)
    for _ in range(_STEPS):
        p = np.exp(beta * z)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * z).sum(axis=1)
        slope = rows.mean(mean - label)
        curvature = rows.mean((p * np.square(z - mean[:, None])).sum(axis=1))
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = slope / curvature if curvature > 0 else np.inf
        new = beta - step
        # Newton where it stays between what is known, else a search.
        if not low < new < high:
            new = 2 * beta if high == np.inf else (low + high) / 2
        if abs(new - beta) <= 1e-12 * beta:
            break
        beta = new
    return float(1.0 / beta)


def _no_best(came: str) -> ValueError:
    allowed = "logits and labels for which some temperature above 0 is the best"
    remedy = "take rows that the model was not trained on, and more of them"
    return refusal("TemperatureScaling.fit", "logits", allowed, Came(came), remedy)
