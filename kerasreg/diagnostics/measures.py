"""The figures of one tensor or kernel, as tensors of a compiled pass."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.kernels import Kernel
from kerasreg._core.tensors import wide_dtype

# Where a bounded activation is flat: |derivative| below a twentieth of its largest, or the bound itself.
_FLAT = {
    "tanh": (-0.97, 0.97),
    "sigmoid": (0.0125, 0.9875),
    "hard_sigmoid": (0.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-0.78, 0.78),
}


def saturation_of(activation: Any) -> tuple[float, float] | None:
    """Between which values an activation is not flat; None for one without two bounds."""
    return _FLAT.get(getattr(activation, "__name__", ""))


def signal_figures(values: Any) -> dict[str, Any]:
    """The RMS, and the part of it that differs between rows and positions.

    variation = sqrt(mean over features of the variance over everything else); the last axis is the features'.
    """
    flat = _flat(values)
    # Sums as products: one pass over the values each, and no other tensor of their size.
    mean = ops.matmul(ops.ones((1, flat.shape[0]), flat.dtype), flat) / flat.shape[0]
    centred = flat - mean
    spread = _sum_of_squares(centred) / _size(flat)
    return {
        # E[x^2] = Var + mean^2, feature by feature.
        "rms": ops.sqrt(spread + ops.mean(ops.square(mean))),
        "variation": ops.sqrt(spread),
    }


def feature_figures(values: Any) -> dict[str, Any]:
    """Each feature's mean and standard deviation."""
    flat = _flat(values)
    return {"means": ops.mean(flat, axis=0), "deviations": ops.std(flat, axis=0)}


def activation_figures(values: Any, activation: Any) -> dict[str, Any]:
    """The share of units at 0 throughout the batch, and of values in the activation's flat parts.

    Only a rectifier has the first, only a bounded activation the second; else they are 0.
    """
    found = {"dead": ops.zeros((), "float32"), "saturated": ops.zeros((), "float32")}
    if is_rectifier(activation):
        flat = _flat(values)
        # Nothing is below 0: a sum of 0 has no other summands.
        total = ops.matmul(ops.ones((1, flat.shape[0]), flat.dtype), flat)
        found["dead"] = ops.mean(ops.cast(ops.equal(total, 0), "float32"))
    bounds = saturation_of(activation)
    if bounds is not None:
        low, high = (ops.cast(bound, values.dtype) for bound in bounds)
        outside = ops.logical_or(ops.less_equal(values, low), ops.greater_equal(values, high))
        found["saturated"] = ops.mean(ops.cast(outside, "float32"))
    return found


def is_rectifier(activation: Any) -> bool:
    """Whether an activation, or a layer that is one, gives 0 for what is negative, and nothing negative."""
    if isinstance(activation, keras.layers.ReLU):
        return not activation.negative_slope
    return getattr(activation, "__name__", "") in ("relu", "relu6")


def kernel_figures(kernel: Kernel) -> dict[str, Any]:
    """Moments of a kernel, and two random projections of each unit's weights, which equal units share."""
    weights = ops.cast(kernel.variable, "float32")
    shape = tuple(weights.shape)
    units = [axis % len(shape) for axis in kernel.output_axes]
    if kernel.kind == "depthwise":
        units = [len(shape) - 1]  # equal windows on different channels are no fault
    inside = [axis for axis in range(len(shape)) if axis not in units]
    count = int(np.prod([shape[axis] for axis in units]))
    if (*inside, *units) != tuple(range(len(shape))):
        weights = ops.transpose(weights, (*inside, *units))
    flat = ops.reshape(weights, (-1, count))
    directions = np.random.default_rng(0).normal(size=(3, flat.shape[0])).astype("float32")
    directions[2] = 1.0
    signature = ops.matmul(directions, flat)
    return {
        "mean": ops.sum(signature[2]) / _size(flat),
        "square": _sum_of_squares(flat) / _size(flat),
        "low": ops.min(flat),
        "high": ops.max(flat),
        "signature": signature,
        "bias": _bias(kernel, count),
    }


def _flat(values: Any) -> Any:
    values = ops.cast(values, wide_dtype(values.dtype))
    return ops.reshape(values, (-1, values.shape[-1])) if len(values.shape) > 1 else values[:, None]


def _size(flat: Any) -> float:
    return float(flat.shape[0] * flat.shape[1])


def _sum_of_squares(flat: Any) -> Any:
    return ops.sum(ops.square(flat))


def _bias(kernel: Kernel, count: int) -> Any:
    bias = getattr(kernel.layer, "bias", None)
    if bias is None or int(np.prod(bias.shape)) != count:
        return ops.zeros((count,))
    return ops.reshape(ops.cast(bias, "float32"), (-1,))


def norm_figures(layer: keras.layers.BatchNormalization, inputs: Any) -> dict[str, Any]:
    """A batch norm's moving statistics against those of its input."""
    inputs = ops.cast(inputs, wide_dtype(inputs.dtype))
    axis = layer.axis % len(inputs.shape)
    others = tuple(i for i in range(len(inputs.shape)) if i != axis)
    mean, variance = ops.mean(inputs, axis=others), ops.var(inputs, axis=others)
    moving_mean, moving = (ops.cast(v, inputs.dtype) for v in (layer.moving_mean, layer.moving_variance))
    shift = ops.square(mean - moving_mean) / (moving + layer.epsilon)
    ratio = ops.log((variance + layer.epsilon) / (moving + layer.epsilon))
    untouched = ops.max(ops.abs(moving_mean)) + ops.max(ops.abs(moving - 1.0))
    return {
        "shift": ops.sqrt(ops.mean(shift)),
        "ratio": ops.mean(ops.abs(ratio)),
        "untouched": ops.cast(ops.equal(untouched, 0), "float32"),
    }


def is_fresh_norm(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a batch norm whose moving statistics are those that it was built with."""
    if not isinstance(layer, keras.layers.BatchNormalization) or not layer.built:
        return False
    mean, variance = (v.numpy() for v in (layer.moving_mean, layer.moving_variance))
    return not np.any(mean) and bool(np.all(np.asarray(variance) == 1.0))


def distinct_units(signature: np.ndarray, bias: np.ndarray) -> int:
    """How many different units there are, by the projections of their weights and their biases."""
    if _all_apart(np.sort(signature[0])):
        return signature.shape[1]
    if not np.isfinite(signature).all() or not np.isfinite(bias).all():
        return signature.shape[1]
    size = max(float(np.abs(signature).max()), float(np.abs(bias).max()), 1e-30)
    rows = np.stack([*signature, bias], axis=1) / size
    rows = rows[np.lexsort(rows.T[::-1])]
    # Equal columns may differ by the rounding of the sums that projected them.
    return 1 + int(np.count_nonzero(np.abs(np.diff(rows, axis=0)).max(axis=1) > 1e-5))


def _all_apart(projections: np.ndarray) -> bool:
    """Whether one sorted number of each unit tells all of them apart, as in most kernels."""
    gaps = projections[1:] - projections[:-1]
    return gaps.size > 0 and bool(gaps.min() > 1e-5 * max(-projections[0], projections[-1]))
