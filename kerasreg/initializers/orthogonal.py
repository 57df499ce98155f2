"""Orthogonal matrices, and how a kernel of each kind is made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def orthogonal_matrices(count: int, rows: int, columns: int, seed: Any) -> Any:
    """Random matrices whose columns, or rows where there are fewer, are orthonormal.

    The QR decomposition of a Gaussian matrix, with the signs of R's diagonal moved into Q, is uniform among
    the orthogonal matrices (Mezzadri, "How to generate random matrices from the classical compact groups",
    2007).

    Args:
        count: How many matrices.
        rows: Rows of each.
        columns: Columns of each.
        seed: An integer or a `keras.random.SeedGenerator`.

    Returns:
        A float32 tensor of shape (count, rows, columns).

    Example:
        >>> import numpy as np
        >>> q = np.asarray(orthogonal_matrices(1, 4, 3, seed=0))[0]
        >>> bool(np.allclose(q.T @ q, np.eye(3), atol=1e-5))
        True
    """
    tall = (max(rows, columns), min(rows, columns))
    q, r = ops.qr(keras.random.normal((count, *tall), dtype="float32", seed=seed))
    q = q * ops.sign(ops.diagonal(r, axis1=-2, axis2=-1))[:, None, :]
    return q if rows >= columns else ops.transpose(q, (0, 2, 1))


def orthogonal_kernel(
    shape: Sequence[int],
    kind: str,
    groups: int,
    summed_axes: Sequence[int] | None,
    batch_axes: Sequence[int],
    seed: Any,
) -> Any:
    """A kernel of mean square 1 made of orthogonal matrices: one for each group, gate or depthwise channel.

    Args:
        shape: The kernel's shape.
        kind: What the layer does with the kernel, as in `fans`.
        groups: The convolution's groups.
        summed_axes: For kind `dense`, the kernel's axes that are summed over; all but the last if None.
        batch_axes: For kind `dense`, those with a matrix for each index.
        seed: An integer or a `keras.random.SeedGenerator`.
    """
    shape = tuple(shape)
    rank = len(shape)
    *window, first, last = shape
    size = math.prod(window)
    axes = tuple(range(rank))
    if kind == "depthwise":  # a matrix (window, multiplier) for each channel
        blocks = orthogonal_matrices(first, size, last, seed)
        kernel = ops.reshape(ops.transpose(blocks, (1, 0, 2)), shape)
    elif kind == "transpose":  # (window, out, in): the layer multiplies by its transpose
        kernel = ops.reshape(orthogonal_matrices(1, size * first, last, seed), shape)
    elif kind == "recurrent":  # a square matrix for each gate
        gates = max(last // first, 1)
        blocks = orthogonal_matrices(gates, first, last // gates, seed)
        kernel = ops.reshape(ops.transpose(blocks, (1, 0, 2)), shape)
    elif kind == "conv":
        blocks = orthogonal_matrices(groups, size * first, last // groups, seed)
        kernel = ops.reshape(ops.transpose(blocks, (1, 0, 2)), shape)
    else:
        summed = axes[:-1] if summed_axes is None else tuple(axis % rank for axis in summed_axes)
        shared = tuple(axis % rank for axis in batch_axes)
        spread = tuple(axis for axis in axes if axis not in summed and axis not in shared)
        order = (*shared, *summed, *spread)
        count, rows, columns = (math.prod(shape[i] for i in part) for part in (shared, summed, spread))
        blocks = orthogonal_matrices(count, rows, columns, seed)
        kernel = ops.transpose(
            ops.reshape(blocks, [shape[i] for i in order]), [order.index(axis) for axis in axes]
        )
    return kernel * ops.rsqrt(ops.mean(ops.square(kernel)))
