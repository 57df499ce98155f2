"""The axes of an `EinsumDense` by their letters."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg.batch_norm.affine import Affine


def label_of(equation: str, axis: int, rank: int) -> str | None:
    """The letter of an axis of the output, or None for one that the ellipsis holds.

    >>> label_of("abc,cd->abd", 2, 3), label_of("...x,xy->...y", 3, 4), label_of("...x,xy->...y", 1, 4)
    ('d', 'y', None)
    """
    head, dots, tail = equation.partition("->")[2].strip().partition("...")
    if not dots:
        return head[axis]
    if axis < len(head):
        return head[axis]
    from_end = rank - axis
    return tail[-from_end] if from_end <= len(tail) else None


def scaled_kernel(kernel: np.ndarray, labels: str, label: str, scale: np.ndarray) -> np.ndarray:
    """The kernel, each slice along the axis `label` times its scale."""
    return kernel * scale.reshape([-1 if letter == label else 1 for letter in labels])


def scaled_bias(
    bias: np.ndarray | None,
    bias_axes: str | None,
    label: str,
    affine: Affine,
    axis: int,
    rank: int,
    layer: Any,
) -> tuple[np.ndarray, str]:
    """The bias scale bias + shift, and the letters of the axes along which it varies."""
    # Biases are aligned with the output's last axes.
    shape = (-1, *[1] * (rank - axis - 1))
    scale, shift = affine.scale.reshape(shape), affine.shift.reshape(shape)
    output = layer.equation.partition("->")[2]
    letters = "".join(letter for letter in output if letter.isalpha() and letter in (bias_axes or "") + label)
    return (0.0 if bias is None else bias) * scale + shift, letters
