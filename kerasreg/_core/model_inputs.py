"""What `fit` would call a model with, batch by batch, each as large as it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.batches import is_tf_dataset, rows_of


class ModelInputs:
    """The inputs in data of any kind that `fit` takes; targets and weights are left out.

    Args:
        owner: Who asks, for an error's sentence.
        data: Arrays, an `(x, y)` or `(x, y, sample_weight)` tuple of them (several inputs are a list or a
            dict), a `tf.data.Dataset`, a `keras.utils.PyDataset`, or an iterable of batches.
        batch_size: Rows in a batch of arrays; other data have their own.
        steps: How many batches at most; None for all.

    Attributes:
        total: How many batches there are, or None where nobody knows.

    Raises:
        ValueError: If the data never end and `steps` is None, or the arrays do not fit together.
    """

    def __init__(self, owner: str, data: Any, batch_size: int, steps: int | None = None):
        self._owner = owner
        self._elements, total = _elements(owner, data, batch_size)
        if total == math.inf and steps is None:
            raise refusal(owner, "steps", "a whole number of at least 1 where the data never end", None)
        self._steps = steps
        known = [n for n in (total, steps) if n is not None]
        # Data of unknown length may end before `steps`.
        self.total = int(min(known)) if total is not None else None

    def __iter__(self) -> Iterator[Any]:
        """Each batch that has rows, as arrays or tensors of the backend."""
        empty = True
        for element in itertools.islice(self._elements, self._steps):
            x = keras.tree.map_structure(_for_backend, keras.utils.unpack_x_y_sample_weight(element)[0])
            if all(leaf.shape and leaf.shape[0] == 0 for leaf in keras.tree.flatten(x)):
                continue
            empty = False
            yield x
        if empty:
            raise refusal(self._owner, "data", "at least one row", Came("none"))


def _elements(owner: str, data: Any, batch_size: int) -> tuple[Iterable[Any], float | None]:
    """The data's elements, and how many there are: infinity for no end, None where that is unknown."""
    if isinstance(data, keras.utils.PyDataset):
        total = data.num_batches
        indices = itertools.count() if total is None else range(total)
        return map(data.__getitem__, indices), math.inf if total is None else total
    if is_tf_dataset(data):
        cardinality = int(data.cardinality())
        return data, {-1: math.inf, -2: None}.get(cardinality, cardinality)
    if not isinstance(data, (list, tuple, dict, str)) and not hasattr(data, "shape"):
        if not hasattr(data, "__iter__"):
            raise refusal(owner, "data", "arrays, a dataset or an iterable of batches", data)
        return data, len(data) if hasattr(data, "__len__") else None
    x = keras.utils.unpack_x_y_sample_weight(data)[0] if isinstance(data, tuple) else data
    arrays, rows = rows_of(owner, "data", x)
    starts = range(0, rows, batch_size)
    slices = ((keras.tree.map_structure(lambda a, s=s: a[s : s + batch_size], arrays),) for s in starts)
    return slices, len(starts)


def _for_backend(leaf: Any) -> Any:
    """A tensor as it is, an array in the float type that Keras' own loops would cast it to."""
    if keras.ops.is_tensor(leaf):
        return leaf
    array = np.asarray(leaf)
    return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
