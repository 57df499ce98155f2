"""TensorFlow's fused batch-norm kernel, with a check of what it gives.

The kernel makes fewer passes over images in graph mode. It sums in float32 one value after the other, so far
from zero the mean of many values is off, and the variance with it. Where the moving mean is far away, it is
taken off first; and what the kernel says is believed only where a bound on that error holds. XLA lowers the
kernel to E[x^2] - E[x]^2, which is wrong far from zero (tensorflow#118701).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasreg.layers import closed_form_batch_norm
from kerasreg.layers.batch_moments import BatchMoments

# The rounding of one float32 addition, relative to the sum.
_ROUNDING = 2.0**-25
# The relative error of the variance that may stand: half types cannot tell smaller ones apart anyway.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2, "float16": 1e-2}


def normalize_with_batch(
    x: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float
) -> tuple[Any, BatchMoments]:
    """Normalise over all axes but the last, scale by gamma and shift by beta, in x's type.

    The arguments and what comes back are those of `closed_form_batch_norm.normalize_with_batch`, which takes
    over where the kernel's moments cannot be trusted. x is of rank 4.
    """
    gamma, beta, moving_mean, moving_variance = (
        tf.cast(v, "float32") for v in (gamma, beta, moving_mean, moving_variance)
    )
    positions = x.shape[:3].num_elements()
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]) if positions is None else positions, "float32")

    def otherwise(x: Any, gamma: Any, beta: Any) -> tuple[Any, ...]:
        y, found = closed_form_batch_norm.normalize_with_batch(
            x, gamma, beta, moving_mean, moving_variance, epsilon
        )
        return y, *found[1:]

    # One gradient around both ways: TensorFlow's own through `cond` keeps copies for the way not taken.
    @tf.custom_gradient
    def normalize(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        origin, centered = _centered(x, moving_mean, moving_variance, count, epsilon)
        y, mean, sample_variance, *reserve = tf.raw_ops.FusedBatchNormV3(
            x=centered, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
        )
        # The kernel divides by n - 1, and of a single value by 1.
        variance = sample_variance * ((count - 1.0) / tf.maximum(count, 1.0))
        # False for NaN and infinity, too.
        right = tf.reduce_all(_excess(mean, variance, count, epsilon, x.dtype) <= 0)
        outputs = tf.cond(
            right,
            lambda: (y, origin, mean, variance, tf.constant(True)),
            lambda: otherwise(x, gamma, beta),
        )

        def gradient(dy: Any, *_: Any) -> tuple[Any, Any, Any]:
            def of_the_kernel() -> tuple[Any, ...]:
                names = [f"reserve_space_{i}" for i in (1, 2, 3)]
                return tf.raw_ops.FusedBatchNormGradV3(
                    y_backprop=dy,
                    x=centered,
                    scale=gamma,
                    epsilon=epsilon,
                    is_training=True,
                    **dict(zip(names, reserve, strict=True)),
                )[:3]

            def of_the_other() -> tuple[Any, ...]:
                with tf.GradientTape() as tape:
                    tape.watch((x, gamma, beta))
                    y, *_ = otherwise(x, gamma, beta)
                return tape.gradient(y, (x, gamma, beta), output_gradients=dy)

            return tf.cond(right, of_the_kernel, of_the_other)

        return outputs, gradient

    y, *figures = normalize(x, gamma, beta)
    return tf.ensure_shape(y, x.shape), BatchMoments(count, *map(tf.stop_gradient, figures))


def normalize_with(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float) -> Any:
    """Normalise with given moments, scale by gamma and shift by beta, in x's type."""
    gamma, beta, mean, variance = (tf.cast(v, "float32") for v in (gamma, beta, mean, variance))
    y, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
    )
    return y


def _centered(x: Any, mean: Any, variance: Any, count: Any, epsilon: float) -> tuple[Any, Any]:
    """The batch less where it is expected to lie, and that; 0 where the kernel does well without."""
    far = tf.reduce_any(_excess(mean, variance, count, epsilon, x.dtype) > 0)
    # A number that x's type holds: the difference is then as exact as x is.
    origin = tf.cast(mean, x.dtype)
    centered = tf.cond(far, lambda: x - origin, lambda: x)
    return tf.where(far, tf.cast(origin, "float32"), 0.0), centered


def _excess(mean: Any, variance: Any, count: Any, epsilon: float, dtype: Any) -> Any:
    """By how much the variance after the kernel's sum of `count` values may be more wrong than is allowed.

    The mean is off by at most mean * count * rounding, the variance by the square of that. Positive is too
    wrong; the measure is the share of the variance that may be.
    """
    off = mean * (count * (_ROUNDING / _TOLERANCE[dtype.name] ** 0.5))
    return tf.square(off) - (variance + epsilon)
