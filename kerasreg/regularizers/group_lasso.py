"""The group lasso: whole units or inputs, not single weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._core.groups import checked_axis, group_axes, group_norms
from kerasreg._core.registry import register
from kerasreg.regularizers.penalty import Penalty, wide
from kerasreg.regularizers.schedule import Schedule


@register
class GroupLasso(Penalty):
    """`strength sum_g ||W_g||_2`: pulls each group of weights toward 0 as a whole.

    The derivative at a group that is 0 is 0. The groups of one kernel have one size, so the root of that
    size, by which some authors weigh them, is a matter of the strength. By gradient alone a group comes near
    0, not to it; `kr.constraints.GroupSoftThreshold` makes exact zeros.

    Args:
        strength: lambda, a finite number of at least 0, or a `Schedule`.
        axis: The axes of one group's weights, as in `numpy.linalg.norm`. None for all but the last: one group
            for each unit of a dense layer and each filter of a convolution. For a dense kernel, `axis=1`
            makes one group of what leaves an input.

    Raises:
        ValueError: If `strength` is negative or not finite, `axis` does not fit the weights, or these are
            integers.

    Source:
        Yuan and Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.GroupLasso(0.5, axis=0)([[3.0, 0.0], [4.0, 1.0]]))
        3.0
    """

    def __init__(self, strength: float | Schedule = 0.01, axis: int | Sequence[int] | None = None):
        super().__init__(strength)
        self.axis = checked_axis("GroupLasso", axis)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        weights = wide(x, "GroupLasso")
        norms = group_norms(weights, group_axes("GroupLasso", self.axis, weights))
        return ops.cast(self.current_strength(), weights.dtype) * ops.sum(norms)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "axis": self.axis}
