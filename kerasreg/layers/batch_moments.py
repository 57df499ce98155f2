"""Mean and variance of a batch, feature by feature: at any mean, with masks, replicas, ghost batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.tensors import is_concrete


class BatchMoments(NamedTuple):
    """What a batch says of its features; tensors that broadcast against it, or one figure for each feature.

    Attributes:
        count: How many values each feature has.
        origin: A number near the mean, a constant for gradients.
        shift: The mean less the origin.
        variance: The population variance.
        usable: Whether there was anything to measure, and all of it came out as a number; a scalar.
    """

    count: Any
    origin: Any
    shift: Any
    variance: Any
    usable: Any

    @property
    def mean(self) -> Any:
        """The mean, rounded to the tensors' type; origin and shift together hold it with more digits."""
        return self.origin + self.shift


def batch_moments(
    x: Any, axes: tuple[int, ...], mask: Any = None, synchronized: bool = False
) -> BatchMoments:
    """The moments over `axes`, in x's own type; 0 where there is no value.

    Squared distances are from the mean: E[x^2] - E[x]^2 has no right digit left at a mean of 1e4 beside a
    deviation of 1. Nor has a plain float32 sum of a million such values, so the first mean is corrected by
    the mean distance from it.

    Args:
        x: A floating-point tensor.
        axes: The axes to reduce.
        mask: True (or 1) where a value counts, of a shape that broadcasts to x; None where all do.
        synchronized: Whether the values of all replicas of `tf.distribute` count as one batch.
    """
    total = _over_replicas if synchronized and has_replicas() else _as_it_is
    if mask is None:
        weight, kept, count = None, x, _number_of_values(x, axes)
    else:
        weight = ops.broadcast_to(ops.cast(mask, x.dtype), ops.shape(x))
        # A value that does not count must not reach a sum: 0 times NaN is NaN.
        kept, count = ops.where(weight > 0, x, ops.zeros_like(x)), ops.sum(weight, axes, keepdims=True)
    count = total(count)
    safe = ops.maximum(count, ops.ones_like(count))

    def mean_of(values: Any) -> Any:
        values = values if weight is None else values * weight
        return total(ops.sum(values, axes, keepdims=True)) / safe

    origin = ops.stop_gradient(mean_of(kept))
    distance = kept - origin
    shift = mean_of(distance)
    if keras.backend.backend() == "tensorflow":
        # Its sums run through the values one by one, and a million of them may leave a shift of many
        # deviations, to be taken away before squaring. No gradient flows through it: distances sum to 0.
        variance = mean_of(ops.square(distance - ops.stop_gradient(shift)))
    else:
        # Not ops.maximum with a Python number, which makes float32 of float64.
        variance = ops.relu(mean_of(ops.square(distance)) - ops.square(shift))
    # A mean that is no number leaves no variance that is one.
    usable = ops.logical_and(ops.any(count > 0), ops.all(ops.isfinite(variance)))
    return BatchMoments(count, origin, shift, variance, usable)


def as_bools(owner: str, mask: Any) -> Any:
    """A mask as truth values.

    Raises:
        ValueError: If it holds words, or, where that can be seen, other numbers than 0 and 1: weights, which
            no moments here are taken with.
    """
    mask = ops.convert_to_tensor(mask)
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if dtype == "bool":
        return mask
    allowed = "of truth values, or of 0 and 1"
    if dtype == "string":
        raise refusal(owner, "mask", allowed, Came(f"type {dtype}"))
    if is_concrete(mask):
        seen = np.asarray(ops.convert_to_numpy(mask))
        wrong = seen[(seen != 0) & (seen != 1)]
        if wrong.size:
            raise refusal(owner, "mask", allowed, Came(f"{float(wrong[0]):g} in type {dtype}"))
    return ops.cast(mask, "bool")


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


def over_groups(found: BatchMoments) -> BatchMoments:
    """The groups' average, each with the weight of its values."""
    count = ops.sum(found.count, axis=0, keepdims=True)
    share = found.count / ops.maximum(count, ops.ones_like(count))
    mean, variance = (
        ops.sum(share * figure, axis=0, keepdims=True) for figure in (found.mean, found.variance)
    )
    return BatchMoments(count, mean, ops.zeros_like(mean), variance, found.usable)


def flat(found: BatchMoments) -> BatchMoments:
    """The figures without the axes of size 1 that lay them out: one for each feature."""
    return BatchMoments(*(ops.reshape(figure, (-1,)) for figure in found[:-1]), found.usable)


def _number_of_values(x: Any, axes: tuple[int, ...]) -> Any:
    """How many values each feature has, in x's type, with as many axes as x."""
    count = ops.prod(ops.convert_to_tensor([ops.shape(x)[axis] for axis in axes], "int32"))
    return ops.reshape(ops.cast(count, x.dtype), (1,) * len(x.shape))


def has_replicas() -> bool:
    """Whether this is one of several replicas, each with a part of the batch."""
    # Elsewhere a sharded array is one array, and its sum is everybody's.
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def _as_it_is(total: Any) -> Any:
    return total


def _over_replicas(total: Any) -> Any:
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)
