"""Norm constraints that find the inputs' axes by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import integer, number, refusal
from kerasreg._core.registry import register
from kerasreg._core.tensors import check_floats, wide_dtype


def unit_norms(weights: Any, axis: Sequence[int] | None = None) -> Any:
    """The L2 norm of each unit's incoming weights, with the reduced axes kept.

    Args:
        weights: A kernel of any rank whose last axis counts the units.
        axis: The axes of one unit's weights; None for all but the last, which is right for dense and for
            convolution kernels alike.
    """
    axes = tuple(range(len(weights.shape) - 1)) if axis is None else tuple(axis)
    # A float16 square is infinite from 256 on and 0 below 2e-4.
    weights = _wide(weights)
    return ops.sqrt(ops.sum(ops.square(weights), axis=axes, keepdims=True))


def _wide(weights: Any) -> Any:
    return ops.cast(weights, wide_dtype(weights.dtype))


class _Norm(keras.constraints.Constraint):
    """What the two share: the axes of one unit's weights."""

    def __init__(self, axis: int | Sequence[int] | None):
        owner = type(self).__name__
        axes = axis if isinstance(axis, Sequence) and not isinstance(axis, str) else [axis]
        self.axis = None if axis is None else [integer(owner, "axis", each) for each in axes]

    def _norms(self, w: Any) -> Any:
        check_floats(type(self).__name__, "w", w)
        rank = len(w.shape)
        if self.axis is not None and any(not -rank <= axis < rank for axis in self.axis):
            allowed = f"in [{-rank}, {rank}) for weights of shape {tuple(w.shape)}"
            raise refusal(type(self).__name__, "axis", allowed, self.axis)
        return unit_norms(w, self.axis)

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
        ValueError: If `max_value` is not above 0, or `axis` does not fit the weights.

    Source:
        Srivastava et al., "Dropout", 2014, section 5.1.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> kernel = np.array([[6.0, 0.3], [8.0, 0.4]], "float32")
        >>> [round(float(w), 3) for w in np.ravel(kr.constraints.MaxNorm(5.0)(kernel))]
        [3.0, 0.3, 4.0, 0.4]
    """

    def __init__(self, max_value: float = 2.0, axis: int | Sequence[int] | None = None):
        super().__init__(axis)
        self.max_value = number("MaxNorm", "max_value", max_value, 0, open_low=True)

    def __call__(self, w: Any) -> Any:
        """The constrained weights."""
        w = ops.convert_to_tensor(w)
        norms = self._norms(w)
        bounded = _wide(w) * self.max_value / ops.maximum(norms, ops.cast(self.max_value, norms.dtype))
        return ops.where(norms > self.max_value, ops.cast(bounded, w.dtype), w)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"max_value": self.max_value, **super().get_config()}


@register
class UnitNorm(_Norm):
    """Scales each unit's incoming weights to norm 1: w := w / ||w||_2; weights that are all 0 stay 0.

    Args:
        axis: The axes of one unit's weights; None for all but the last.

    Raises:
        ValueError: If `axis` does not fit the weights.

    Source:
        Salimans and Kingma, "Weight Normalization", 2016, with g = 1.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> kernel = np.array([[3.0], [4.0]], "float32")
        >>> [round(float(w), 3) for w in np.ravel(kr.constraints.UnitNorm()(kernel))]
        [0.6, 0.8]
    """

    def __init__(self, axis: int | Sequence[int] | None = None):
        super().__init__(axis)

    def __call__(self, w: Any) -> Any:
        """The constrained weights."""
        w = ops.convert_to_tensor(w)
        norms = self._norms(w)
        return ops.cast(_wide(w) / ops.where(norms > 0, norms, ops.ones_like(norms)), w.dtype)
