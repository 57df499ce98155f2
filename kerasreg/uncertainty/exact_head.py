"""The last layer's mean and variance over the dropout before it, in closed form.

A linear layer z = W h~ + b, fed by h~ = h m / (1 - p) with independent m ~ Bernoulli(1 - p), has

    E[z] = W h + b,    Var[z_j] = sum_i W_ij^2 h_i^2 p / (1 - p).

Where h itself is random, the law of total variance adds the two, Var[z] = E[Var[z | h]] + Var[E[z | h]],
and only the second has to be sampled.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg.layers import Dropout
from kerasreg.uncertainty.rowwise import is_builtin

# What adds to each number by itself, and leaves its mean.
_INDEPENDENT = (keras.layers.Dropout, Dropout, keras.layers.GaussianDropout, keras.layers.GaussianNoise)


def is_linear_head(layer: keras.layers.Layer, operation: keras.Operation) -> bool:
    """Whether `operation`, fed by the stochastic `layer`, has a variance in closed form."""
    return (
        type(layer) in _INDEPENDENT
        and getattr(layer, "noise_shape", None) is None
        and isinstance(operation, keras.layers.Dense)
        and is_builtin(operation)
        and operation.activation is keras.activations.linear
        and getattr(operation, "quantization_mode", None) is None
    )


def conditional_variance(layer: keras.layers.Layer, dense: keras.layers.Dense, x: Any) -> Any:
    """Var[dense(layer(x)) | x] in float32.

    Args:
        layer: A dropout or noise layer for which `is_linear_head` holds.
        dense: The linear layer behind it.
        x: What goes into `layer`, of shape (..., features).

    Returns:
        Of shape (..., units).
    """
    x, kernel = ops.cast(x, "float32"), ops.cast(dense.kernel, "float32")
    if isinstance(layer, keras.layers.GaussianNoise):
        each = ops.ones_like(x) * layer.stddev**2
    else:
        each = ops.square(x) * (layer.rate / (1.0 - layer.rate))
    return ops.matmul(each, ops.square(kernel))
