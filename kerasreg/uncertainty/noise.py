"""The stochastic layers of Keras, each as a pure function of its input and of where the draw belongs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from kerasreg._core.counter_random import Where, normal, uniform

_ALPHA_OF_SELU = 1.6732632423543772 * 1.0507009873554805
_SPATIAL = (keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D)


def is_stochastic(layer: keras.layers.Layer) -> bool:
    """Whether the layer is of a kind whose noise is known here.

    A user's own subclass with a `call` of its own is not: its noise may be anything.
    """
    if isinstance(layer, keras.layers.TimeDistributed):
        # It calls its layer's `call` itself, so that nobody else sees that it is called.
        return is_stochastic(layer.layer)
    home = type(layer).call.__module__.partition(".")[0]
    return isinstance(layer, KINDS) and home in ("keras", "kerasreg")


def strength(layer: keras.layers.Layer) -> float:
    """The layer's rate, or its standard deviation."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return strength(layer.layer)
    return layer.stddev if isinstance(layer, keras.layers.GaussianNoise) else layer.rate


def add_noise(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    """What the layer would give in training, with the noise that belongs to `where`."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return _at_each_time(layer.layer, x, where)
    for kind, noise in _NOISE.items():
        if isinstance(layer, kind):
            return ops.cast(noise(layer, x, where), x.dtype)
    raise TypeError(type(layer))


def _dropout(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    keep = _uniform(layer, x, where) >= layer.rate
    return ops.where(keep, x / (1.0 - layer.rate), ops.zeros((), x.dtype))


def _at_each_time(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    """The noise of a layer for the steps of axis 1, as if they were rows: each has its own."""
    steps = x.shape[1]
    of_steps = ops.reshape(x, (-1, *x.shape[2:]))
    rows = where.rows if where.rows is not None else ops.shape(x)[0] // where.samples
    noisy = add_noise(layer, of_steps, replace(where, rows=rows))
    return ops.reshape(noisy, (-1, steps, *x.shape[2:]))


def _gaussian_dropout(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    std = (layer.rate / (1.0 - layer.rate)) ** 0.5
    return x * ops.cast(1.0 + std * normal(ops.shape(x), where), x.dtype)


def _gaussian_noise(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    return x + ops.cast(layer.stddev * normal(ops.shape(x), where), x.dtype)


def _alpha_dropout(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    rate, low = layer.rate, -_ALPHA_OF_SELU
    keep = _uniform(layer, x, where) >= rate
    # Scale and shift that give back mean 0 and variance 1 (Klambauer et al., 2017, section 4).
    scale = ((1.0 - rate) * (1.0 + rate * low**2)) ** -0.5
    return scale * ops.where(keep, x, ops.cast(low, x.dtype)) - scale * low * rate


def _uniform(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    """Numbers in the layer's noise shape."""
    shape = _noise_shape(layer, x)
    if (getattr(layer, "noise_shape", None) or (None,))[0] != 1:
        return uniform(shape, where)
    # One draw for all rows: that of the first row, whichever batch asks for it.
    rows = ops.shape(x)[0] // where.samples
    shared = uniform((where.samples, *shape[1:]), replace(where, first_row=0, rows=1))
    return ops.repeat(shared, rows, axis=0)


def _noise_shape(layer: keras.layers.Layer, x: Any) -> tuple[Any, ...]:
    shape = ops.shape(x)
    if isinstance(layer, _SPATIAL):
        # One draw for a whole feature map.
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        kept = {0, len(shape) - 1 if channels_last else 1}
        return tuple(size if axis in kept else 1 for axis, size in enumerate(shape))
    given = layer.noise_shape
    if given is None:
        return shape
    return tuple(size if wanted is None else wanted for size, wanted in zip(shape, given, strict=True))


# Keras derives its spatial dropouts from Dropout.
_NOISE = {
    keras.layers.GaussianDropout: _gaussian_dropout,
    keras.layers.GaussianNoise: _gaussian_noise,
    keras.layers.AlphaDropout: _alpha_dropout,
    keras.layers.Dropout: _dropout,
}
KINDS = tuple(_NOISE)
