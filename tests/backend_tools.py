"""Gradients, compilation and wide numbers on whichever backend runs, for the tests."""

from contextlib import contextmanager

import keras
import numpy as np


def array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def pull_back(function, x, cotangent):
    """The cotangent of `function(x)` brought back to `x`, as a NumPy array."""
    x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "jax":
        import jax

        value, backwards = jax.vjp(function, x)
        (gradient,) = backwards(keras.ops.convert_to_tensor(cotangent, dtype=value.dtype))
        return array(gradient)
    if keras.backend.backend() == "torch":
        import torch

        x = x.detach().requires_grad_()
        value = function(x)
        cotangent = keras.ops.convert_to_tensor(cotangent, dtype=value.dtype)
        (gradient,) = torch.autograd.grad(value, x, cotangent)
        return array(gradient)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return array(tape.gradient(value, x, tf.convert_to_tensor(cotangent, dtype=value.dtype)))


def gradient(function, x):
    """The gradient of a scalar function, as a NumPy array."""
    return pull_back(function, x, np.ones(()))


def compiled(function):
    """The function as one compiled call, in which values cannot be looked at."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "torch":
        # Keras runs eagerly there, and nothing of ours is compiled.
        return function
    import tensorflow as tf

    return tf.function(function)


@contextmanager
def wide_numbers():
    """Have float64 where it is asked for; JAX cuts it to float32 unless told."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    # It moved in the course of JAX's versions.
    enable = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    with enable(True):
        yield
