"""One batch for a verb that looks at a model once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.batches import as_array, is_tf_dataset
from kerasreg._core.tensors import shape_fits

FEWEST_ROWS = 2


def one_batch(owner: str, x: Any, y: Any = None) -> tuple[Any, Any]:
    """Inputs and targets as NumPy arrays: all rows of arrays, the first batch of a dataset.

    Args:
        owner: Who asks, for an error's sentence.
        x: An array, a structure of arrays, or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches.
        y: Targets; those of a dataset of pairs are taken where it is None.

    Raises:
        ValueError: If there are fewer than two rows, arrays differ in rows, or a number is not finite.
    """
    if isinstance(x, keras.utils.PyDataset) or is_tf_dataset(x):
        element = x[0] if isinstance(x, keras.utils.PyDataset) else next(iter(x), None)
        if element is None:
            raise refusal(owner, "x", "a dataset with at least one batch", Came("an empty one"))
        pair = element if isinstance(element, tuple) else (element,)
        x, y = pair[0], pair[1] if y is None and len(pair) > 1 else y
    x = _arrays(owner, "x", x)
    if y is not None:
        y = _arrays(owner, "y", y)
        _refuse_words(owner, "y", keras.tree.flatten(y))
        rows = {len(leaf) for leaf in keras.tree.flatten([x, y])}
        if len(rows) > 1:
            raise refusal(owner, "y", "targets with a row for each row of x", Came(f"{sorted(rows)} rows"))
    return x, y


def check_fits(owner: str, model: keras.Model, x: Any, argument: str = "x") -> None:
    """Refuse inputs that a model with known inputs cannot take.

    Args:
        owner: Who asks, for an error's sentence.
        model: The model.
        x: A batch.
        argument: Its name.

    Raises:
        ValueError: If the number of inputs or a known size is another one, or words come for numbers.
    """
    wanted = getattr(model, "inputs", None)
    if not wanted:
        return
    given, shapes = keras.tree.flatten(x), [tuple(tensor.shape) for tensor in wanted]
    if not any(str(tensor.dtype) == "string" for tensor in wanted):
        _refuse_words(owner, argument, given)
    if len(given) == 1 or not isinstance(x, dict):
        fit = len(given) == len(shapes) and all(map(_fits, (leaf.shape for leaf in given), shapes))
    else:  # by name; more than the model asks for does no harm
        fit = len(given) >= len(shapes)
    if not fit:
        allowed = f"of the shapes of the model's inputs, {shapes}"
        raise refusal(owner, argument, allowed, Came(f"shapes {[tuple(leaf.shape) for leaf in given]}"))


def _refuse_words(owner: str, argument: str, leaves: Any) -> None:
    for leaf in leaves:
        dtype = keras.backend.standardize_dtype(leaf.dtype) if keras.ops.is_tensor(leaf) else leaf.dtype
        # NumPy has words of fixed length, bytes and objects; TensorFlow has strings.
        if dtype == "string" or getattr(dtype, "kind", "f") in "USO":
            raise refusal(owner, argument, "numbers", Came(f"type {dtype}"))


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    # Keras adds or takes away a last axis of one.
    if len(shape) != len(wanted):
        return abs(len(shape) - len(wanted)) == 1 and 1 in (*shape[-1:], *wanted[-1:])
    return shape_fits(shape[1:], wanted[1:])


def _arrays(owner: str, argument: str, value: Any) -> Any:
    if not any(hasattr(leaf, "shape") for leaf in keras.tree.flatten(value)):
        value = as_array(owner, argument, value)
    arrays = keras.tree.map_structure(_to_numpy, value)
    leaves = keras.tree.flatten(arrays)
    rows = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
    if len(rows) != 1 or max(rows) < FEWEST_ROWS:
        came = Came(f"shapes {[leaf.shape for leaf in leaves]}")
        allowed = f"arrays with one and the same number of rows, at least {FEWEST_ROWS}"
        raise refusal(owner, argument, allowed, came, "one row has no statistics")
    for leaf in leaves:
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            bad = np.count_nonzero(~np.isfinite(leaf))
            came = Came(f"{bad} of {leaf.size} numbers NaN or infinite")
            raise refusal(owner, argument, "finite", came, "clean the data first")
    return arrays


def _to_numpy(leaf: Any) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)
    # NumPy itself knows no bfloat16, and asks of it nothing.
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
