"""TensorFlow's fused batch-norm kernel, and the one decision when to use it.

Keras 3 has no fused path. The kernel makes fewer passes over images in graph mode. XLA lowers it to
E[x^2] - E[x]^2, which is wrong far from zero (tensorflow#118701), and it has neither float64 nor other ranks.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._core.private import graph_is_compiled_by_xla
from kerasreg.layers.batch_moments import BatchMoments

_DTYPES = ("float32", "float16", "bfloat16")


def applies(x: Any, feature: int) -> bool:
    """Whether the kernel is the right one for x: rank 4, features last, TensorFlow, a graph, and no XLA."""
    if keras.backend.backend() != "tensorflow" or len(x.shape) != 4 or feature != 3:
        return False
    import tensorflow as tf

    # A symbolic call only asks for shapes, and has no tensor for the kernel.
    if not tf.is_tensor(x) or keras.backend.standardize_dtype(x.dtype) not in _DTYPES:
        return False
    return not tf.executing_eagerly() and not graph_is_compiled_by_xla(tf.compat.v1.get_default_graph())


def normalize_with_batch(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, BatchMoments]:
    """Normalise with the batch, scale by gamma and shift by beta, in x's type; the moments in float32.

    Gradients flow through the result; the kernel passes none through the moments.
    """
    import tensorflow as tf

    start = tf.zeros([])
    if x.dtype == tf.float32:
        # The kernel sums as it goes: a million values near 1e4 leave no right digit. What is subtracted here
        # changes nothing in the result. Half types cannot hold such data, and would round the difference.
        start = tf.stop_gradient(tf.reduce_sum(x[:1, :1, :1], axis=(0, 1, 2), keepdims=True))
        x = x - start
    y, mean, sample_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), "float32")
    # The kernel divides by n - 1, and of a single value by 1.
    variance = sample_variance * (count - 1.0) / tf.maximum(count, 1.0)
    mean, variance = (tf.stop_gradient(tf.reshape(figure, (1, 1, 1, -1))) for figure in (mean, variance))
    return y, BatchMoments(tf.reshape(count, (1, 1, 1, 1)), start + mean, variance)


def normalize_with(x: Any, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Normalise with given moments, scale by gamma and shift by beta, in x's type."""
    import tensorflow as tf

    y, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    )
    return y


def parameters(layer: keras.layers.BatchNormalization) -> tuple[Any, Any]:
    """The layer's gamma and beta in float32, with ones and zeros where the layer has none."""
    features = layer.moving_mean.shape
    gamma = ops.cast(layer.gamma, "float32") if layer.scale else ops.ones(features, "float32")
    beta = ops.cast(layer.beta, "float32") if layer.center else ops.zeros(features, "float32")
    return gamma, beta
