"""Mean and variance of a batch, feature by feature: two passes, masks, replicas, ghost batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops


class BatchMoments(NamedTuple):
    """What a batch says of its features; tensors that broadcast against it.

    Attributes:
        count: How many values each feature has.
        mean: Their mean.
        variance: Their population variance.
    """

    count: Any
    mean: Any
    variance: Any


def batch_moments(
    x: Any, axes: tuple[int, ...], mask: Any = None, synchronized: bool = False
) -> BatchMoments:
    """The moments over `axes`, in x's own type; 0 where there is no value.

    The variance is the mean squared distance from the mean, in a second pass: E[x^2] - E[x]^2 has no right
    digit left at a mean of 1e4 beside a deviation of 1.

    Args:
        x: A floating-point tensor.
        axes: The axes to reduce.
        mask: True (or 1) where a value counts, of a shape that broadcasts to x; None where all do.
        synchronized: Whether the values of all replicas of `tf.distribute` count as one batch.
    """
    if mask is None and not synchronized:
        return _plain_moments(x, axes)
    total = _over_replicas if synchronized else _as_it_is
    weight = ops.ones_like(x) if mask is None else ops.broadcast_to(ops.cast(mask, x.dtype), ops.shape(x))
    # A value that does not count must not reach a sum: 0 times NaN is NaN.
    kept = ops.where(weight > 0, x, ops.zeros_like(x))
    count = total(ops.sum(weight, axes, keepdims=True))
    safe = ops.maximum(count, ops.ones_like(count))
    mean = total(ops.sum(kept, axes, keepdims=True)) / safe
    # The first mean is as exact as its sum; what the distances from it still average to is what it is off by.
    distance = (kept - ops.stop_gradient(mean)) * weight
    error = ops.stop_gradient(total(ops.sum(distance, axes, keepdims=True)) / safe)
    squares = total(ops.sum(ops.square(distance - error) * weight, axes, keepdims=True))
    return BatchMoments(count, mean + error, squares / safe)


def _plain_moments(x: Any, axes: tuple[int, ...]) -> BatchMoments:
    count = ops.prod(ops.convert_to_tensor([ops.shape(x)[axis] for axis in axes], "int32"))
    count = ops.reshape(ops.cast(count, x.dtype), (1,) * len(x.shape))
    safe = ops.maximum(count, ops.ones_like(count))
    # Distances from one of the values: a float32 sum of a million values near 1e4 has no right digit left.
    # The sum over the slice is that value, or 0 where there is none.
    first = x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(len(x.shape)))]
    start = ops.stop_gradient(ops.sum(first, axes, keepdims=True))
    distance = x - start
    shift = ops.sum(distance, axes, keepdims=True) / safe
    # The gradient through the mean is 0 here, for distances from it sum to 0: not to be worked out.
    variance = ops.sum(ops.square(distance - ops.stop_gradient(shift)), axes, keepdims=True) / safe
    return BatchMoments(count, start + shift, variance)


def ghost_batches(x: Any, mask: Any, size: int) -> tuple[Any, Any]:
    """Cut a batch into groups of `size` rows: (rows, ...) to (groups, size, ...), with the mask to match.

    The last group is filled up with rows that the mask leaves out.
    """
    rows = ops.shape(x)[0]
    missing = -rows % size
    weight = ops.ones_like(x) if mask is None else ops.broadcast_to(ops.cast(mask, x.dtype), ops.shape(x))

    def cut(tensor: Any) -> Any:
        padding = [[0, missing]] + [[0, 0]] * (len(tensor.shape) - 1)
        return ops.reshape(ops.pad(tensor, padding), (-1, size, *ops.shape(tensor)[1:]))

    return cut(x), cut(weight)


def joined(ghosts: Any, rows: Any) -> Any:
    """Undo `ghost_batches`: (groups, size, ...) to the first `rows` rows."""
    shape = ops.shape(ghosts)
    return ops.reshape(ghosts, (-1, *shape[2:]))[:rows]


def _as_it_is(total: Any) -> Any:
    return total


def _over_replicas(total: Any) -> Any:
    # Elsewhere a sharded array is one array, and its sum is everybody's.
    if keras.backend.backend() != "tensorflow":
        return total
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return total
    return context.all_reduce(tf.distribute.ReduceOp.SUM, total)
