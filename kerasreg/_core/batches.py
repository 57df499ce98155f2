"""The rows of a model's input, batch by batch, all of one size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal


def batches(owner: str, x: Any, batch_size: int) -> Iterator[tuple[Any, int]]:
    """Pairs of a batch and its number of real rows.

    A short last batch is filled up with copies of its last row, so that a compiled function sees one shape.

    Args:
        owner: Who asks, for an error's sentence.
        x: An array, a nested structure of arrays with as many rows each, or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches, whose own batch size then holds.
        batch_size: Rows in a batch.

    Raises:
        ValueError: If there is no row, or the arrays differ in rows.
    """
    if isinstance(x, keras.utils.PyDataset):
        elements = map(x.__getitem__, range(x.num_batches))
    elif is_tf_dataset(x):
        elements = x
    else:
        yield from _slices(owner, x, batch_size)
        return
    size, empty = None, True
    for element in elements:
        inputs = element[0] if isinstance(element, tuple) else element
        arrays = keras.tree.map_structure(_to_numpy, inputs)
        rows = len(keras.tree.flatten(arrays)[0])
        if rows == 0:
            continue
        size, empty = size or rows, False
        yield keras.tree.map_structure(partial(_fill, rows=max(size, rows)), arrays), rows
    if empty:
        raise refusal(owner, "x", "at least one row", Came("none"))


def number_of_batches(x: Any, batch_size: int) -> int | None:
    """How many batches `batches` will make of x, as far as x knows."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    if is_tf_dataset(x):
        known = int(x.cardinality())
        return known if known >= 0 else None
    rows = [len(leaf) for leaf in keras.tree.flatten(x) if len(getattr(leaf, "shape", ()))]
    return -(-rows[0] // batch_size) if rows else None


def as_taken(model: keras.Model, batch: Any) -> Any:
    """The arrays of a batch in the types and ranks of a functional model's inputs.

    The model would cast them itself, and give or take an axis of length 1; whoever follows its tensors from
    the inputs on wants it done before.
    """
    arrays, inputs = keras.tree.flatten(batch), getattr(model, "inputs", None) or []
    if len(arrays) != len(inputs):
        return batch
    fitted = []
    for array, taken in zip(arrays, inputs, strict=True):
        if array.ndim == len(taken.shape) - 1 and taken.shape[-1] == 1:
            array = array[..., None]
        elif array.ndim == len(taken.shape) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        # NumPy knows no bfloat16, and no strings that a backend knows.
        if array.dtype.kind in "bfiu" and str(taken.dtype) in np.sctypeDict:
            array = array.astype(str(taken.dtype), copy=False)
        fitted.append(array)
    return keras.tree.pack_sequence_as(batch, fitted)


def _slices(owner: str, x: Any, batch_size: int) -> Iterator[tuple[Any, int]]:
    arrays, total = rows_of(owner, "x", x)
    size = min(batch_size, total)
    for start in range(0, total, size):
        batch = keras.tree.map_structure(lambda a, s=start: _fill(a[s : s + size], rows=size), arrays)
        yield batch, min(size, total - start)


def rows_of(owner: str, argument: str, x: Any) -> tuple[Any, int]:
    """An array, or a structure of arrays of equally many rows, as NumPy arrays; and the number of rows."""
    if not any(hasattr(leaf, "shape") for leaf in keras.tree.flatten(x)):
        x = as_array(owner, argument, x)
    arrays = keras.tree.map_structure(_to_numpy, x)
    lengths = {len(a) if a.ndim else 0 for a in keras.tree.flatten(arrays)}
    if len(lengths) != 1 or lengths == {0}:
        shapes = [a.shape for a in keras.tree.flatten(arrays)]
        allowed = "arrays with one and the same number of rows, at least 1"
        raise refusal(owner, argument, allowed, Came(f"shapes {shapes}"))
    return arrays, lengths.pop()


def as_array(owner: str, argument: str, value: Any) -> np.ndarray:
    """Numbers in lists as an array; or an error where the lists are of different lengths."""
    try:
        return np.asarray(value)
    except ValueError as error:
        remedy = "pad them first"
        raise refusal(owner, argument, "rows of one length", Came("rows of several"), remedy) from error


def _fill(array: np.ndarray, rows: int) -> np.ndarray:
    missing = rows - len(array)
    return array if missing <= 0 else np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)


def is_tf_dataset(x: Any) -> bool:
    """Whether x is a `tf.data.Dataset`, without importing TensorFlow to find out."""
    # Nobody holds a tf.data.Dataset without having imported TensorFlow, which other backends do without.
    tf = sys.modules.get("tensorflow")
    return tf is not None and isinstance(x, tf.data.Dataset)
