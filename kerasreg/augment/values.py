"""What images must look like: rank, dtype, and values inside the stated range."""

from __future__ import annotations

import numbers
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments

_SLACK = 1e-3
"""Fraction of the range by which values may lie outside: resizing and arithmetic round."""

_LARGE = 16
"""From which upper end on a range is not that of values in [0, 1]."""


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
    """Refuse images with a value outside the range, or that is not a number.

    Raises:
        ValueError: At once where images can be looked at now. In a graph it is an `InvalidArgumentError` with
            the same sentence, when the graph runs.
    """
    found = fault(tf.convert_to_tensor(images), value_range)
    if not tf.executing_eagerly():
        tf.debugging.Assert(tf.equal(found, ""), [found])
    elif found != "":
        raise ValueError(found.numpy().decode())


def fault(images: tf.Tensor, value_range: tuple[float, float]) -> tf.Tensor:
    """The sentence about what is wrong with the images' values, a scalar string; empty where nothing is."""
    low, high = value_range
    pixels = tf.cast(images, tf.float32)
    smallest, largest = tf.reduce_min(pixels), tf.reduce_max(pixels)
    slack = _SLACK * (high - low)
    extent = ["images from ", _words(smallest), " to ", _words(largest)]

    def sentence(came: list[Any], remedy: str) -> tf.Tensor:
        allowed = "the range of the values in the images"
        mark = arguments.Came(f"({low:g}, {high:g}) with \0")
        head, tail = str(arguments.refusal("Pipeline", "value_range", allowed, mark, remedy)).split("\0")
        return tf.strings.join([head, *came, tail])

    remedy = "clean the images or state their range"
    cases = [
        (tf.equal(tf.size(pixels), 0), lambda: tf.constant("")),
        # Not seen by the two below: a maximum over NaN is what it is compared with last.
        (tf.reduce_any(tf.math.is_nan(pixels)), lambda: sentence(["images that hold NaN"], remedy)),
        ((smallest < low - slack) | (largest > high + slack), lambda: sentence(extent, remedy)),
    ]
    if images.dtype.is_floating and high >= _LARGE:
        unit = "(0, 1)" if low >= 0 else "(-1, 1)"
        scale = f"multiply them by {high:g} or give value_range={unit}"
        cases.append((_is_unit_scaled(pixels), lambda: sentence(extent, scale)))
    return tf.case(cases, default=lambda: tf.constant(""), exclusive=False)


def _is_unit_scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Whether values lie in [-1, 1] and not only on whole numbers, as they do in an image that is black."""
    broken = tf.reduce_mean(tf.cast(tf.not_equal(pixels, tf.round(pixels)), tf.float32))
    return (tf.reduce_max(tf.abs(pixels)) <= 1) & (broken > 0.01)


def _words(number: tf.Tensor) -> tf.Tensor:
    return tf.strings.as_string(number, shortest=True)


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
