"""What the arguments of `Normalization` may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, integer, refusal
from kerasreg._core.tensors import check_numbers
from kerasreg.layers.adapt_data import from_zero


def to_axes(axis: Any) -> tuple[int, ...]:
    """The axes as Keras' layer holds them, none for None."""
    if axis is None:
        return ()
    listed = axis if isinstance(axis, Sequence) and not isinstance(axis, str) else [axis]
    return tuple(integer("Normalization", "axis", each) for each in listed)


def check_axes(axes: Sequence[int], shape: tuple[int | None, ...]) -> None:
    """Refuse axes that inputs of this shape do not have, or whose size is not known."""
    rank = len(shape)
    if any(not -rank <= axis < rank for axis in axes):
        allowed = f"in [{-rank}, {rank}) for inputs of shape {shape}"
        raise refusal("Normalization", "axis", allowed, Came(str(list(axes))))
    if len(from_zero(axes, rank)) < len(axes):
        raise refusal("Normalization", "axis", "without repetition", Came(str(list(axes))))
    if any(shape[axis] is None for axis in axes):
        allowed = f"axes of known size for inputs of shape {shape}"
        raise refusal("Normalization", "axis", allowed, Came(str(list(axes))))


def check_known(mean: Any, variance: Any) -> None:
    """Refuse known moments that come alone, or that are no means and variances."""
    given = {"mean": mean, "variance": variance}
    for (name, value), other in zip(given.items(), ("variance", "mean"), strict=True):
        if value is None and given[other] is not None:
            raise refusal("Normalization", name, f"given together with {other}", value)
        if value is not None and not _is_finite(value, 0.0 if name == "variance" else -np.inf):
            allowed = "finite and of at least 0" if name == "variance" else "finite"
            raise refusal("Normalization", name, allowed, value)


def check_fit(name: str, known: Any, features: tuple[int | None, ...]) -> None:
    """Refuse known moments of another number of features."""
    shape = to_float64(known).shape
    try:
        fits = np.broadcast_shapes(shape, features) == tuple(features)
    except ValueError:
        fits = False
    if not fits:
        raise refusal(
            "Normalization", name, f"of a shape that broadcasts to {features}", Came(f"shape {shape}")
        )


def check_inputs(argument: str, x: Any, laid_out: tuple[int, ...]) -> None:
    """Refuse what are no numbers, and inputs without the features that were measured.

    One feature would be spread over several, and give numbers that mean nothing.

    Args:
        argument: Its name, for the error's sentence.
        x: A tensor.
        laid_out: The sizes of the features, with 1 for every other axis.
    """
    check_numbers("Normalization", argument, x)
    if getattr(x.shape, "rank", 0) is None:
        return
    shape = tuple(x.shape)
    sizes = zip(reversed(shape), reversed(laid_out), strict=False)
    if any(wanted != 1 and size not in (None, wanted) for size, wanted in sizes):
        allowed = f"of shapes that end like {laid_out}, where 1 is for any size"
        raise refusal("Normalization", argument, allowed, Came(f"shape {shape}"))


def to_float64(value: Any) -> np.ndarray:
    """Numbers of any kind, a tensor among them, as a float64 array."""
    return np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value, "float64")


def _is_finite(value: Any, low: float) -> bool:
    try:
        array = to_float64(value)
    except (TypeError, ValueError):
        return False
    return bool(np.isfinite(array).all() and (array >= low).all())
