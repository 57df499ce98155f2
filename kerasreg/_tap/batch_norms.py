"""What is measured of a batch normalization beside its output: its statistics against the batch's."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from kerasreg._tap import replicas


class Moving(NamedTuple):
    """A batch norm's moving statistics, in float32, as they were before the batch."""

    mean: Any
    variance: Any


def moving_statistics(layer: keras.layers.Layer) -> Moving | None:
    """What a built batch norm holds now; None for any other layer."""
    if not isinstance(layer, keras.layers.BatchNormalization) or not layer.built:
        return None
    return Moving(*(ops.cast(v, "float32") for v in (layer.moving_mean, layer.moving_variance)))


def drift(layer: keras.layers.Layer, inputs: Any, moving: Moving) -> Any:
    r"""How far the moving statistics are from those of the batch, in the batch's standard deviations.

    $$d = \sqrt{\frac{1}{C} \sum_c \frac{(\mu_c - m_c)^2}{v_c + \epsilon}
    + \frac{1}{2} \ln^2\frac{\sigma^2_c + \epsilon}{v_c + \epsilon}}$$

    with the batch's mean m and variance v, and the moving $\mu$ and $\sigma^2$. For a small distance it is
    that of two normal distributions in Fisher's metric.

    Source: Rao, "Information and the accuracy attainable in the estimation of statistical parameters", 1945.
    """
    x = ops.cast(ops.stop_gradient(inputs), "float32")
    axes = tuple(i for i in range(len(x.shape)) if i != layer.axis % len(x.shape))
    mean, variance = ops.moments(x, axes)
    if layer.synchronized:
        count = ops.size(x) // x.shape[layer.axis]
        mean, variance = replicas.moments_of_all(mean, variance, count)
    floor = variance + layer.epsilon
    shifted = ops.square(moving.mean - mean) / floor
    scaled = 0.5 * ops.square(ops.log((moving.variance + layer.epsilon) / floor))
    return ops.sqrt(ops.mean(shifted + scaled))


def skipped_batches(layer: keras.layers.Layer) -> Any:
    """How many poisoned batches a batch norm of ours has left out so far; None where none are counted."""
    counter = getattr(layer, "_skipped", None)
    return None if counter is None else ops.cast(counter, "float32")
