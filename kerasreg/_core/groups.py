"""Weights that stand or fall together: the axes of one group, and its norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._core.arguments import Came, integer, refusal


def checked_axis(owner: str, axis: Any) -> list[int] | None:
    """Axes as a list of whole numbers; None stands for all but the last."""
    if axis is None:
        return None
    axes = axis if isinstance(axis, Sequence) and not isinstance(axis, str) else [axis]
    if not axes:
        raise refusal(owner, "axis", "one axis or more, or None for all but the last", axis)
    return [integer(owner, "axis", each) for each in axes]


def group_axes(owner: str, axis: Sequence[int] | None, weights: Any) -> tuple[int, ...]:
    """The axes over which one group of these weights extends."""
    rank = len(weights.shape)
    if axis is None:
        # A vector or a scalar has no unit to which its entries would belong.
        return tuple(range(rank - 1))
    if any(not -rank <= each < rank for each in axis) or len({each % rank for each in axis}) < len(axis):
        allowed = f"different axes in [{-rank}, {rank}) for weights of shape {tuple(weights.shape)}"
        raise refusal(owner, "axis", allowed, Came(str(list(axis))))
    return tuple(axis)


def group_norms(weights: Any, axes: Sequence[int]) -> Any:
    """The L2 norm of each group, with the reduced axes kept, and the derivative 0 where a group is 0.

    The largest entry is taken out first, so no square overflows or vanishes.
    """
    if not axes:
        return weights * ops.stop_gradient(ops.sign(weights))
    largest = ops.stop_gradient(ops.max(ops.abs(weights), axis=axes, keepdims=True, initial=0.0))
    alive = largest > 0
    scaled = weights / ops.where(alive, largest, ops.ones_like(largest))
    # The root's derivative at 0 is infinite; a where behind it would make 0 times infinity.
    squares = ops.where(alive, ops.sum(ops.square(scaled), axis=axes, keepdims=True), ops.ones_like(largest))
    return largest * ops.sqrt(squares)
