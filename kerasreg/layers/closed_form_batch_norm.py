"""Normalisation by a whole batch on TensorFlow, with its gradient in closed form.

Automatic differentiation goes back through the mean, the variance and the result one after the other. Put
together (Ioffe and Szegedy, 2015, section 3), with d = dL/dy, x^ = (x - mu) / sigma and means over the batch,

    dL/dx = gamma / sigma (d - mean(d) - x^ mean(d x^)),    dL/dgamma = sum(d x^),    dL/dbeta = sum(d):

two sums and one line of arithmetic.
"""

from __future__ import annotations

from typing import Any

from kerasreg._core.tensors import wide_dtype
from kerasreg.layers.batch_moments import BatchMoments


def normalize_with_batch(
    x: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float
) -> tuple[Any, BatchMoments]:
    """Normalise over all axes but the last, scale by gamma and shift by beta, in x's type.

    A batch without usable moments is normalised with the moving ones. Gradients flow through the result; none
    through the moments, of which there is one for each feature.
    """
    import tensorflow as tf

    dtype = wide_dtype(x.dtype)
    gamma, beta, moving_mean, moving_variance = (
        tf.cast(v, dtype) for v in (gamma, beta, moving_mean, moving_variance)
    )
    # XLA's sums over one axis are up to twice as fast as over three.
    rows = x if len(x.shape) == 2 else tf.reshape(x, (-1, x.shape[-1]))
    # Over 0 values, every average is NaN, and so unusable.
    count = tf.cast(tf.shape(rows)[0], dtype)

    @tf.custom_gradient
    def normalize(rows: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        wide = tf.cast(rows, dtype)
        # Distances from one of the values: TensorFlow's float32 sum of a million values near 1e4 has no right
        # digit left. The sum over the slice is that value, or 0 where there is none.
        first = tf.reduce_sum(wide[:1], axis=0)
        origin = tf.where(tf.math.is_finite(first), first, 0.0)
        distance = wide - origin
        shift = tf.reduce_sum(distance, 0) / count
        variance = tf.reduce_sum(tf.square(distance - shift), 0) / count
        # A mean that is no number leaves no variance that is one.
        usable = tf.reduce_all(tf.math.is_finite(variance))
        # In terms of the distance, what lies between origin and mean is one more number to add.
        between = tf.where(usable, shift, moving_mean - origin)
        root = tf.math.rsqrt(tf.where(usable, variance, moving_variance) + epsilon)
        scale = root * gamma
        y = tf.cast(distance * scale + (beta - between * scale), rows.dtype)

        def gradient(dy: Any, *_: Any) -> tuple[Any, Any, Any]:
            wide_dy = tf.cast(dy, dtype)
            sum_dy = tf.reduce_sum(wide_dy, 0)
            sum_dy_x = (tf.reduce_sum(wide_dy * distance, 0) - sum_dy * between) * root
            through_moments = scale / -count
            slope = tf.where(usable, through_moments * root * sum_dy_x, 0.0)
            level = tf.where(usable, through_moments * sum_dy, 0.0) - slope * between
            dx = wide_dy * scale + (distance * slope + level)
            return tf.cast(dx, rows.dtype), sum_dy_x, sum_dy

        return (y, origin, shift, variance, usable), gradient

    y, *figures = normalize(rows, gamma, beta)
    if rows is not x:
        y = tf.ensure_shape(tf.reshape(y, tf.shape(x)), x.shape)
    return y, BatchMoments(count, *map(tf.stop_gradient, figures))
