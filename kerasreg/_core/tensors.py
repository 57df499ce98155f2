"""Small questions about tensors that several packages ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def wide_dtype(*dtypes: Any) -> str:
    """float64 if one of the types is, else float32: where sums neither overflow nor lose their digits."""
    # Not keras.backend.result_type: on JAX it knows no float64.
    return "float64" if "float64" in map(keras.backend.standardize_dtype, dtypes) else "float32"


def shape_fits(shape: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Whether two shapes are one; a size that is not known yet fits.

    >>> shape_fits((None, 3), (32, 3)), shape_fits((32, 1), (32, 3))
    (True, False)
    """
    return len(shape) == len(expected) and all(
        a is None or b is None or a == b for a, b in zip(shape, expected, strict=True)
    )


def is_concrete(value: Any) -> bool:
    """Whether a tensor's numbers can be looked at: not one that stands for values in a trace or a graph."""
    if isinstance(value, keras.KerasTensor):
        return False
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return hasattr(value, "numpy")
    if backend == "jax":
        import jax

        return not isinstance(value, jax.core.Tracer)
    return True
