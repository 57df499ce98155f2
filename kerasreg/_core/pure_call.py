"""Compile a function that calls a model, without touching the model's state."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras


def compile_pure(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one compiled call that reads the model's variables and writes none.

    Args:
        model: The built model that `function` calls.
        function: Takes and returns backend tensors.

    Returns:
        A callable with the same arguments; each new shape is compiled once.
    """
    # Weak: whoever keeps the compiled function must not keep the model with it.
    model_ref = weakref.ref(model)

    def pure(values: list[Any], *args: Any) -> Any:
        mapping = list(zip(model_ref().variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*args)

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        compiled = jax.jit(pure)
    elif backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(pure, reduce_retracing=True)
    else:
        raise NotImplementedError(f"This verb runs on the tensorflow and jax backends, not on {backend}.")
    return lambda *args: compiled([variable.value for variable in model_ref().variables], *args)
