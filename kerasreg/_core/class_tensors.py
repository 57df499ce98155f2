"""Labels and probabilities as tensors, checked where their values can be seen."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.classes import SUM_TOLERANCE
from kerasreg._core.tensors import is_concrete


def are_class_numbers(labels: Any, classes: int) -> Any:
    """Which labels are class numbers; a fraction is none, which a cast would hide."""
    wide, numbers = ops.cast(labels, "float32"), ops.cast(labels, "int32")
    return (numbers >= 0) & (numbers < classes) & (wide == ops.cast(numbers, "float32"))


def are_one_hot(rows: Any) -> Any:
    """Which rows hold a single 1 and zeros else."""
    rows = ops.cast(rows, "float32")
    return ops.all((rows == 0) | (rows == 1), axis=-1) & (ops.sum(rows, axis=-1) == 1)


def are_shares(rows: Any) -> Any:
    """Which rows hold class probabilities: none negative, with a sum of 1."""
    rows = ops.cast(rows, "float32")
    # Written so that NaN, which compares false, is refused.
    return ops.all(rows >= 0, axis=-1) & (ops.abs(ops.sum(rows, axis=-1) - 1.0) <= SUM_TOLERANCE)


def refuse_unless(
    valid: Any, owner: str, argument: str, allowed: str, values: Any, remedy: str | None = None
) -> None:
    """Raise where values that are not valid can be seen, that is outside of a compiled step.

    Args:
        valid: Truth values, one for each row of `values`.
        owner: Who asks, as in `arguments.refusal`.
        argument: Its name.
        allowed: What it may be.
        values: What came.
        remedy: What to do.
    """
    if not is_concrete(valid):
        return
    seen = np.asarray(ops.convert_to_numpy(valid))
    if seen.dtype == bool and not seen.all():
        wrong = np.asarray(keras.ops.convert_to_numpy(values))[~seen]
        came = Came(str(np.unique(wrong, axis=0)[:5].tolist()))
        raise refusal(owner, argument, allowed, came, remedy)
