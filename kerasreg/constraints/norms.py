"""Norm constraints that find the inputs' axes by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import integer, number
from kerasreg._core.registry import register


def unit_norms(weights: Any, axis: Sequence[int] | None = None) -> Any:
    """The L2 norm of each unit's incoming weights, with the reduced axes kept.

    Args:
        weights: A kernel of any rank whose last axis counts the units.
        axis: The axes of one unit's weights; None for all but the last, which is right for dense and for
            convolution kernels alike.
    """
    axes = tuple(range(len(weights.shape) - 1)) if axis is None else tuple(axis)
    return ops.sqrt(ops.sum(ops.square(weights), axis=axes, keepdims=True))


class _Norm(keras.constraints.Constraint):
    """What the two share: the axes of one unit's weights."""

    def __init__(self, axis: int | Sequence[int] | None):
        owner = type(self).__name__
        axes = [axis] if isinstance(axis, int) else axis
        self.axis = None if axes is None else [integer(owner, "axis", a) for a in axes]

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"axis": self.axis}


@register
class MaxNorm(_Norm):
    """Scales a unit's incoming weights down to norm c where they exceed it: w := w min(1, c / ||w||_2).

    Args:
        max_value: c, a finite number above 0.
        axis: The axes of one unit's weights; None for all but the last. Keras' own constraint takes axis 0
            for every kernel, which for a convolution is a row of pixels.

    Raises:
        ValueError: If `max_value` is not above 0 or `axis` does not hold whole numbers.

    Source:
        Srivastava et al., "Dropout", 2014, section 5.1.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> np.asarray(kr.constraints.MaxNorm(1.0)(np.array([[3.0, 0.3], [4.0, 0.4]], "float32"))).round(3).tolist()
        [[0.6000000238418579, 0.30000001192092896], [0.800000011920929, 0.4000000059604645]]
    """

    def __init__(self, max_value: float = 2.0, axis: int | Sequence[int] | None = None):
        super().__init__(axis)
        self.max_value = number("MaxNorm", "max_value", max_value, 0, open_low=True)

    def __call__(self, w: Any) -> Any:
        """The constrained weights."""
        w = ops.convert_to_tensor(w)
        norms = unit_norms(w, self.axis)
        return ops.where(norms > self.max_value, w * self.max_value / ops.maximum(norms, self.max_value), w)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"max_value": self.max_value, **super().get_config()}


@register
class UnitNorm(_Norm):
    """Scales each unit's incoming weights to norm 1: w := w / ||w||_2; weights that are all 0 stay 0.

    Args:
        axis: The axes of one unit's weights; None for all but the last.

    Raises:
        ValueError: If `axis` does not hold whole numbers.

    Source:
        Salimans and Kingma, "Weight Normalization", 2016, with g = 1.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> np.asarray(kr.constraints.UnitNorm()(np.array([[3.0], [4.0]], "float32"))).round(1).ravel().tolist()
        [0.6000000238418579, 0.800000011920929]
    """

    def __init__(self, axis: int | Sequence[int] | None = None):
        super().__init__(axis)

    def __call__(self, w: Any) -> Any:
        """The constrained weights."""
        w = ops.convert_to_tensor(w)
        norms = unit_norms(w, self.axis)
        return ops.where(norms > 0, w / ops.where(norms > 0, norms, ops.ones_like(norms)), w)
