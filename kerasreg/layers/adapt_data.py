"""The data that a layer adapts to, whatever holds them, as NumPy batches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.batches import is_tf_dataset
from kerasreg._core.progress import Progress

# Rows that are looked at between two looks at the clock, or gathered where a dataset has single ones.
_ROWS = 1024
_ALLOWED = "an array, a tf.data.Dataset, a keras.utils.PyDataset or an iterable of batches"


def batches(owner: str, data: Any, axes: Sequence[int], verbose: Any = "auto") -> Iterator[np.ndarray]:
    """The batches of arrays, datasets and iterables, one after the other, as arrays of numbers.

    Args:
        owner: Who asks, for an error's sentence.
        data: An array, a `tf.data.Dataset`, a `keras.utils.PyDataset` or an iterable of batches; of a tuple,
            the first part. A dataset of single rows or numbers is batched.
        axes: The layer's axes: where the rows are among them, an array is not cut in parts.
        verbose: As in `Progress`.

    Raises:
        ValueError: If `data` are nothing of the kind, empty, endless, or hold other things than numbers.
    """
    if keras.ops.is_tensor(data) or (hasattr(data, "__array__") and not is_tf_dataset(data)):
        array = _numbers(owner, data)
        if array.ndim == 0 or array.size == 0:
            raise refusal(owner, "data", "an array with at least one row", Came(f"shape {array.shape}"))
        rows = len(array) if 0 in from_zero(axes, array.ndim) else _ROWS
        starts = range(0, len(array), rows)
        for start in Progress(owner, verbose, len(starts), "part").over(starts):
            yield array[start : start + rows]
        return
    elements, length = _elements(owner, data)
    for element in Progress(owner, verbose, length).over(elements):
        yield _numbers(owner, element[0] if isinstance(element, tuple) and element else element)


def from_zero(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """The axes counted from the front, each once, in order.

    >>> from_zero((-1, 1), rank=4)
    (1, 3)
    """
    return tuple(sorted({axis % rank for axis in axes}))


def _elements(owner: str, data: Any) -> tuple[Iterable[Any], int | None]:
    """What to go through, and how much it is."""
    if is_tf_dataset(data):
        return _dataset_elements(owner, data)
    if isinstance(data, keras.utils.PyDataset):
        if data.num_batches is None:
            raise refusal(owner, "data", "finite", Came("a PyDataset without a length"))
        return map(data.__getitem__, range(data.num_batches)), data.num_batches
    if isinstance(data, (str, bytes, Mapping)) or not hasattr(data, "__iter__"):
        raise refusal(owner, "data", _ALLOWED, data)
    return data, len(data) if isinstance(data, Sized) else None


def _dataset_elements(owner: str, data: Any) -> tuple[Iterable[Any], int | None]:
    import tensorflow as tf

    spec = data.element_spec
    spec = spec[0] if isinstance(spec, tuple) and spec else spec
    if not isinstance(spec, tf.TensorSpec):
        allowed = "a dataset of dense tensors, or of tuples that begin with one"
        raise refusal(owner, "data", allowed, Came(f"elements {spec}"), "map the dataset to the inputs")
    # A vector of known length is a row of features, and a number one of many; to Keras' layer as well.
    if spec.shape.rank == 0 or (spec.shape.rank == 1 and spec.shape[0] is not None):
        data = data.batch(_ROWS)
    length = int(data.cardinality())
    if length == tf.data.INFINITE_CARDINALITY:
        raise refusal(owner, "data", "finite", Came("an endless dataset"), "cut it with take()")
    # No prefetching: a look at a batch is over sooner than a thread has handed it on.
    return data, length if length >= 0 else None


def _numbers(owner: str, batch: Any) -> np.ndarray:
    try:
        array = np.asarray(batch if _is_foreign(batch) else keras.ops.convert_to_numpy(batch))
    except (TypeError, ValueError) as error:
        remedy = "make every batch one dense array"
        raise refusal(owner, "data", "arrays of numbers", Came(type(batch).__name__), remedy) from error
    # NumPy counts the short floats of other libraries among no kind.
    if array.dtype.kind not in "biuf" and "float" not in array.dtype.name:
        raise refusal(owner, "data", "numbers", Came(f"dtype {array.dtype}"))
    return array


def _is_foreign(batch: Any) -> bool:
    """Whether NumPy reads it without Keras' help, and without the copy that Keras would make."""
    tf = sys.modules.get("tensorflow")
    return not keras.ops.is_tensor(batch) or (tf is not None and isinstance(batch, tf.Tensor))
