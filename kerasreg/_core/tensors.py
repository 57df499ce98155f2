"""Small questions about tensors that several packages ask."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, refusal


def wide_dtype(*dtypes: Any) -> str:
    """float64 if one of the types is, else float32: where sums neither overflow nor lose their digits."""
    # Not keras.backend.result_type: on JAX it knows no float64.
    return "float64" if "float64" in map(keras.backend.standardize_dtype, dtypes) else "float32"


def check_floats(owner: str, argument: str, *tensors: Any) -> None:
    """Refuse whole numbers, words and the like where a layer has to compute with fractions.

    Raises:
        ValueError: With the type that came.
    """
    for tensor in tensors:
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if not keras.backend.is_float_dtype(dtype):
            remedy = "cast them to float32 first"
            raise refusal(owner, argument, "of a floating-point type", Came(f"type {dtype}"), remedy)


def check_numbers(owner: str, argument: str, tensor: Any) -> None:
    """Refuse words, which only TensorFlow has tensors of.

    Raises:
        ValueError: With the type that came.
    """
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string":
        raise refusal(owner, argument, "numbers", Came(f"type {dtype}"))


def check_features(owner: str, inputs: Any, axis: int, features: int | None) -> None:
    """Refuse inputs with another number of features than a layer was built for.

    Raises:
        ValueError: With the shape that came.
    """
    came = inputs.shape[axis]
    if None not in (came, features) and came != features:
        allowed = f"of {features} features along axis {axis}, for which the layer was built"
        raise refusal(owner, "inputs", allowed, Came(f"shape {tuple(inputs.shape)}"))


def shape_fits(shape: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Whether two shapes are one; a size that is not known yet fits.

    >>> shape_fits((None, 3), (32, 3)), shape_fits((32, 1), (32, 3))
    (True, False)
    """
    return len(shape) == len(expected) and all(
        a is None or b is None or a == b for a, b in zip(shape, expected, strict=True)
    )


def is_in_tensorflow_graph(x: Any) -> bool:
    """Whether x is a tensor of a TensorFlow graph, such as that of `Dataset.map`, whatever Keras' backend."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and tf.is_symbolic_tensor(x)


def is_traced(leaf: Any) -> bool:
    """Whether this is a tensor of a function that is being compiled, and no constant in it."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.is_tensor(leaf) and tf.is_symbolic_tensor(leaf)
    if backend == "jax":
        import jax

        return isinstance(leaf, jax.core.Tracer)
    return ops.is_tensor(leaf)


def traced_leaves(*structures: Any) -> list[Any]:
    """The traced tensors in nested structures."""
    return [leaf for leaf in keras.tree.flatten(structures) if is_traced(leaf)]


def num_bytes(tensor: Any) -> int:
    """What a tensor takes, 0 where its shape is not known yet.

    >>> num_bytes(keras.KerasTensor((4, 8), "bfloat16")), num_bytes(keras.KerasTensor((None, 8)))
    (64, 0)
    """
    if None in tuple(tensor.shape):
        return 0
    bits = "".join(filter(str.isdigit, keras.backend.standardize_dtype(tensor.dtype)))
    return math.prod(tensor.shape) * int(bits or 8) // 8


def read(variable: keras.Variable) -> Any:
    """A variable's value as a tensor, read once.

    TensorFlow's variables would be read anew by each operation on them, and slowly by NumPy.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(variable.value)
    return variable.value


def is_concrete(value: Any) -> bool:
    """Whether a tensor's numbers can be looked at: not one that stands for values in a trace or a graph."""
    if isinstance(value, keras.KerasTensor):
        return False
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return hasattr(value, "numpy")
    if backend == "jax":
        import jax

        return not isinstance(value, jax.core.Tracer)
    return True
