"""Figures of a step that runs in several replicas at once, each on its share of the batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def spread(packed: Any) -> Any:
    """A row of the packed figures for each replica, of shape (replicas, figures).

    Keras takes the mean of the logs over the replicas. Each hands on its figures in its own row, so often
    as there are replicas, and 0 in all others; the mean is then every replica's figures.
    """
    context = _context()
    if context is None:
        return packed[None]
    replicas = context.num_replicas_in_sync
    mine = ops.equal(ops.arange(replicas), ops.cast(context.replica_id_in_sync_group, "int32"))
    # No product: 0 times NaN would be one replica's trouble in every row.
    return ops.where(mine[:, None], packed * float(replicas), 0.0)


def summed(tensors: list[Any]) -> list[Any]:
    """The sums over all replicas, which is what gradients are taken as."""
    context = _context()
    if context is None or not tensors:
        return tensors
    import tensorflow as tf

    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def extremes_of_all(low: Any, high: Any) -> tuple[Any, Any]:
    """The least and the largest value of each channel over all replicas; one without rows has no say."""
    context = _context()
    if context is None:
        return low, high
    # There is a reduction by sums only.
    parts = context.all_gather(ops.stack([low, -high])[None], axis=0)
    least = ops.min(parts, axis=0)
    return least[0], -least[1]


def moments_of_all(mean: Any, variance: Any, count: Any) -> tuple[Any, Any]:
    """The moments of all replicas' values together, from those of each; a replica may have none.

    Args:
        mean: Of shape (channels,).
        variance: Of shape (channels,).
        count: How many values of each channel they are of.
    """
    if _context() is None:
        return mean, variance
    count = ops.cast(count, mean.dtype)
    # No product: 0 times the NaN of an empty share is none the less NaN.
    total, sums = summed([count, ops.where(count > 0, count * mean, 0.0)])
    whole = sums / total
    squares = ops.where(count > 0, count * (variance + ops.square(mean - whole)), 0.0)
    return whole, summed([squares])[0] / total


def in_sync() -> int:
    """How many replicas share a step; 1 on JAX, where a step is one program over the whole batch."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def rows(packed: Any) -> np.ndarray:
    """What `spread` made, on the host, in float64."""
    return np.asarray(ops.convert_to_numpy(packed)).astype("float64")


def _context() -> Any:
    """TensorFlow's replica context where it has more than one replica."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
