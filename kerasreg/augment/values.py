"""What images must look like: rank, dtype, and values inside the stated range."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments

_SLACK = 1e-3
"""Fraction of the range by which values may lie outside: resizing and arithmetic round."""


def check_value_range(value: Any) -> tuple[float, float]:
    """A `(low, high)` pair with `low < high`, as floats."""
    allowed = "a (low, high) pair of finite numbers with low < high"
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise arguments.refusal("Pipeline", "value_range", allowed, value)
    low, high = (arguments.number("Pipeline", "value_range", bound) for bound in value)
    if low >= high:
        raise arguments.refusal("Pipeline", "value_range", allowed, value)
    return low, high


def check_spec(spec: Any, value_range: tuple[float, float]) -> None:
    """Refuse what cannot be images, by shape and dtype alone."""
    allowed = "images of shape (height, width, channels) or (batch, height, width, channels)"
    if not isinstance(spec, tf.TensorSpec):
        raise arguments.refusal("Pipeline", "images", allowed, arguments.Came(f"{spec}"))
    if spec.shape.rank not in (3, 4) or spec.shape[-1] is None:
        raise arguments.refusal("Pipeline", "images", allowed, arguments.Came(f"shape {_shape(spec.shape)}"))
    if not (spec.dtype.is_integer or spec.dtype.is_floating):
        raise arguments.refusal(
            "Pipeline", "images", "of an integer or floating dtype", arguments.Came(spec.dtype.name)
        )
    low, high = value_range
    if spec.dtype.is_integer and high - low <= 1:
        raise arguments.refusal(
            "Pipeline",
            "value_range",
            f"the range of the images' values, which are {spec.dtype.name}",
            value_range,
            "for uint8 images give (0, 255)",
        )


def check_channels(spec: tf.TensorSpec, needed: dict[str, int]) -> None:
    """Refuse images of other channels than a transform is about; `needed` goes by its name."""
    for count in sorted(set(needed.values())):
        if spec.shape[-1] != count:
            raise arguments.refusal(
                "Pipeline",
                "images",
                f"of {count} channels for {', '.join(name for name, n in needed.items() if n == count)}",
                arguments.Came(f"{spec.shape[-1]} in shape {_shape(spec.shape)}"),
            )


def needs_look(dtype: tf.DType, value_range: tuple[float, float]) -> bool:
    """Whether values of this dtype can lie outside the range at all."""
    low, high = value_range
    return dtype.is_floating or dtype.min < low or dtype.max > high


def check_values(images: Any, value_range: tuple[float, float]) -> None:
    """Refuse images with a value outside the range, or that is not a number."""
    values = np.asarray(images)
    if not values.size:
        return
    if values.dtype.kind not in "iuf":
        # NumPy knows no bfloat16, and cannot tell its order.
        values = values.astype(np.float32)
    low, high = value_range
    smallest, largest = float(values.min()), float(values.max())
    slack = _SLACK * (high - low)
    # Written so that NaN, which compares false, is refused.
    if not (low - slack <= smallest and largest <= high + slack):
        came = arguments.Came(
            "images that hold NaN" if np.isnan(smallest) else f"images from {smallest:g} to {largest:g}"
        )
        raise arguments.refusal(
            "Pipeline",
            "value_range",
            "the range that the images' values lie in",
            arguments.Came(f"({low:g}, {high:g}) with {came}"),
            "clean the images or state their range",
        )


def check_dtype(dtype: Any) -> str:
    """The name of a dtype that the result may have."""
    if isinstance(dtype, tf.DType):
        dtype = dtype.name
    return arguments.choice("Pipeline", "dtype", dtype, ("float32", "float16", "bfloat16", "uint8"))


def check_dtype_holds(name: str, value_range: tuple[float, float]) -> None:
    """Refuse a dtype that the values that come out do not fit into."""
    low, high = value_range
    if name == "uint8" and (low < 0 or high > 255 or high - low <= 1):
        raise arguments.refusal(
            "Pipeline", "dtype", f"a floating dtype for value_range ({low:g}, {high:g})", name
        )


def check_fill_value(value: Any) -> float:
    """A finite number."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise arguments.refusal("Pipeline", "fill_value", "a finite number", value)
    return arguments.number("Pipeline", "fill_value", value)


def _shape(shape: tf.TensorShape) -> str:
    return "unknown" if shape.rank is None else str(tuple(shape.as_list()))
