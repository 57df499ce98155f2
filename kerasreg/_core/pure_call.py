"""Compile a function that calls a model, without touching the model's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def compile_pure(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one compiled call that reads the model's variables and writes none.

    Args:
        model: The built model that `function` calls. It is not kept: `function` must not keep it either,
            where the compiled call outlives it.
        function: Takes and returns nested structures of backend tensors.

    Returns:
        A callable with the same positional arguments, arrays or tensors; each new shape is compiled once.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _compile_jax(model.variables, function)
    if backend == "tensorflow":
        return _compile_tensorflow(function)
    raise NotImplementedError(f"This verb runs on the tensorflow and jax backends, not on {backend}.")


def fresh_state(variables: list[keras.Variable]) -> keras.StatelessScope:
    """Inside `compile_pure`, a scope in which the model is as it was before any call within the function."""
    if keras.backend.backend() == "tensorflow":
        # What the scope does not know is read from the variable itself.
        return keras.StatelessScope()
    return keras.StatelessScope(state_mapping=[(variable, variable.value) for variable in variables])


def _compile_jax(variables: list[keras.Variable], function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    variables = list(variables)

    def pure(values: list[Any], *args: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*args)

    compiled = jax.jit(pure)
    return lambda *args: compiled([variable.value for variable in variables], *args)


def _compile_tensorflow(function: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    # A traced function is called directly: tf.function's own search for it costs as much as a small model.
    traced: dict[Any, Any] = {}

    def call(*args: Any) -> Any:
        flat = [tf.convert_to_tensor(leaf) for leaf in keras.tree.flatten(args)]
        shapes = tuple((tensor.dtype, tuple(tensor.shape)) for tensor in flat)
        nested = "" if len(flat) == len(args) else repr(keras.tree.map_structure(lambda leaf: None, args))
        signature = shapes, nested
        if signature not in traced:

            def pure(*tensors: tf.Tensor) -> Any:
                with keras.StatelessScope():
                    return function(*keras.tree.pack_sequence_as(args, tensors))

            whole = tf.function(pure, autograph=False)
            specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in flat]
            # Both: a traced function does not keep the function that it was traced from.
            traced[signature] = whole, whole.get_concrete_function(*specs)
        return traced[signature][1](*flat)

    return call
