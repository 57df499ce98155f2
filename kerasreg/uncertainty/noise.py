"""The stochastic layers of Keras and kerasreg, each with noise that belongs to a place.

Three kinds. Most layers hand their input on at inference, so that their noise is a pure function of it
(`add_noise`). Recurrent layers and `ConcreteDropout` compute something with their noise inside: they are
called with numbers supplied (`call_with_noise`, which does for every kind). A `TimeDistributed` adds its
layer's noise, drawn anew for each step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from kerasreg import layers
from kerasreg._core.counter_random import Where, normal_from, uniform
from kerasreg._core.noise_source import Uniform, supply
from kerasreg._core.private import get_mask, set_mask
from kerasreg.layers.recurrent import using_masks, variational_masks

_ALPHA_OF_SELU = 1.6732632423543772 * 1.0507009873554805
_SPATIAL = (keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D)


def is_stochastic(layer: keras.layers.Layer) -> bool:
    """Whether the layer is of a kind whose noise is known here.

    A user's own subclass with a `call` of its own is not: its noise may be anything.
    """
    if not _is_known(layer):
        return False
    if isinstance(layer, keras.layers.TimeDistributed):
        # It calls its layer for each step, and Keras' recurrent layers give up supplied masks after a call.
        return is_stochastic(layer.layer) and not _is_kerases_recurrent(layer.layer)
    return isinstance(layer, KINDS) or _is_recurrent(layer)


def strength(layer: keras.layers.Layer) -> float:
    """The layer's rate as it is now, or its standard deviation; of two rates, the share that either drops."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return strength(layer.layer)
    if isinstance(layer, keras.layers.GaussianNoise):
        return layer.stddev
    if isinstance(layer, keras.layers.RNN):
        return 1.0 - (1.0 - layer.cell.dropout) * (1.0 - layer.cell.recurrent_dropout)
    if isinstance(layer, layers.ConcreteDropout):
        return float(ops.convert_to_numpy(layer.rate))
    return layer.rate


def adds_to_its_input(layer: keras.layers.Layer) -> bool:
    """Whether the layer is stochastic, and its noise a function of its input: `add_noise` knows it."""
    inner = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
    return is_stochastic(layer) and not _is_recurrent(inner) and not isinstance(inner, _INSIDE)


def add_noise(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    """What a layer that hands x on at inference would give in training, with the noise of `where`."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return _at_each_time(layer.layer, x, where)
    return _added(layer, x, _numbers(layer, x, where))


def _at_each_time(layer: keras.layers.Layer, x: Any, where: Where) -> Any:
    """The noise of a layer for the steps of axis 1, as if they were rows: each has its own."""
    steps = x.shape[1]
    of_steps = ops.reshape(x, (-1, *x.shape[2:]))
    rows = where.rows if where.rows is not None else ops.shape(x)[0] // where.samples
    where = replace(where, rows=rows)
    noisy = _added(layer, of_steps, _numbers(layer, of_steps, where, steps))
    return ops.reshape(noisy, (-1, steps, *x.shape[2:]))


def _numbers(layer: keras.layers.Layer, x: Any, where: Where, steps: int = 1) -> Uniform:
    """The place's numbers, in the shapes in which the layer asks for them."""
    if (getattr(layer, "noise_shape", None) or (None,))[0] != 1:
        return lambda shape: uniform(shape, where)

    def shared(shape: Sequence[Any]) -> Any:
        # One draw for all rows: that of the first row, whichever batch asks for it.
        rows = ops.shape(x)[0] // (where.samples * steps)
        first = uniform((where.samples * steps, *shape[1:]), replace(where, first_row=0, rows=1))
        each = ops.repeat(ops.reshape(first, (where.samples, 1, steps, *shape[1:])), rows, axis=1)
        return ops.reshape(each, (-1, *shape[1:]))

    return shared


def call_with_noise(
    layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any], where: Where
) -> Any:
    """A stochastic layer's call, of whatever kind, with the noise that belongs to `where`.

    For a handler of `_core.interception.intercept`, with the arguments that it was given. The layer draws
    nothing by itself, with `mc=True` neither, and its output keeps the mask that the layer gave it.
    """
    inner = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
    if _is_kerases_recurrent(inner):
        sequences = args[0] if args else kwargs["sequences"]
        masks = variational_masks(inner.cell, sequences, _counted(where))
        with using_masks(inner.cell, masks):
            args, kwargs = with_training(layer, args, kwargs, True)
            return proceed(*args, **kwargs)
    if isinstance(inner, _INSIDE):
        with supply(inner, _counted(where)):
            return proceed(*args, **kwargs)
    with supply(inner, None):
        # The layer itself hands its input on here, with the type and the mask that it gives its output.
        args, kwargs = with_training(layer, args, kwargs, False)
        x = proceed(*args, **kwargs)
    y = add_noise(layer, x, where)
    set_mask(y, get_mask(x))
    return y


def with_training(
    layer: keras.layers.Layer, args: tuple, kwargs: dict[str, Any], training: bool
) -> tuple[tuple, dict[str, Any]]:
    """A call's arguments with `training` as it is given here, where the layer takes it."""
    names = list(inspect.signature(layer.call).parameters)
    if "training" not in names:
        return args, kwargs
    at = names.index("training")
    if at < len(args):
        return (*args[:at], training, *args[at + 1 :]), kwargs
    return args, {**kwargs, "training": training}


def _counted(where: Where) -> Uniform:
    """Numbers for a layer that draws more than once: each draw is a place of its own."""
    draws = 0

    def next_draw(shape: Sequence[Any]) -> Any:
        nonlocal draws
        draws += 1
        return uniform(shape, replace(where, draw=draws - 1))

    return next_draw


def _added(layer: keras.layers.Layer, x: Any, uniform: Uniform) -> Any:
    if isinstance(layer, _OURS):
        return layer.noisy(x, uniform)
    for kind, noise in _NOISE.items():
        if isinstance(layer, kind):
            return ops.cast(noise(layer, x, uniform), x.dtype)
    raise TypeError(f"{type(layer).__name__} has its noise inside; call_with_noise calls it")


def _dropout(layer: keras.layers.Layer, x: Any, uniform: Uniform) -> Any:
    keep = uniform(_noise_shape(layer, x)) >= layer.rate
    return ops.where(keep, x / (1.0 - layer.rate), ops.zeros((), x.dtype))


def _gaussian_dropout(layer: keras.layers.Layer, x: Any, uniform: Uniform) -> Any:
    std = (layer.rate / (1.0 - layer.rate)) ** 0.5
    return x * ops.cast(1.0 + std * normal_from(uniform(ops.shape(x))), x.dtype)


def _gaussian_noise(layer: keras.layers.Layer, x: Any, uniform: Uniform) -> Any:
    return x + ops.cast(layer.stddev * normal_from(uniform(ops.shape(x))), x.dtype)


def _alpha_dropout(layer: keras.layers.Layer, x: Any, uniform: Uniform) -> Any:
    rate, low = layer.rate, -_ALPHA_OF_SELU
    keep = uniform(_noise_shape(layer, x)) >= rate
    # Scale and shift that give back mean 0 and variance 1 (Klambauer et al., 2017, section 4).
    scale = ((1.0 - rate) * (1.0 + rate * low**2)) ** -0.5
    return scale * ops.where(keep, x, ops.cast(low, x.dtype)) - scale * low * rate


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


def _is_known(layer: keras.layers.Layer) -> bool:
    """Whether the layer's call is Keras' or kerasreg's, and not a user's own."""
    return type(layer).call.__module__.partition(".")[0] in ("keras", "kerasreg")


def _is_recurrent(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.RNN) and isinstance(layer.cell, _CELLS) and _is_known(layer.cell)


def _is_kerases_recurrent(layer: keras.layers.Layer) -> bool:
    return _is_recurrent(layer) and not isinstance(layer, _INSIDE)


# Keras derives its spatial dropouts from Dropout.
_NOISE = {
    keras.layers.GaussianDropout: _gaussian_dropout,
    keras.layers.GaussianNoise: _gaussian_noise,
    keras.layers.AlphaDropout: _alpha_dropout,
    keras.layers.Dropout: _dropout,
}
_OURS = (layers.DropPath, layers.DropBlock2D)
_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)
_INSIDE = (layers.LSTM, layers.GRU, layers.ConcreteDropout)
KINDS = (*_NOISE, *_OURS, *_INSIDE)
