"""A layer's units on their way to the layers that read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg.layers.frozen_batch_norm import thawed_class

_L = keras.layers
_ELEMENTWISE = (_L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU)
_SCALED = (_L.Dropout, _L.SpatialDropout1D, _L.SpatialDropout2D, _L.SpatialDropout3D, _L.GaussianDropout)
_SAME = (*_SCALED, _L.AlphaDropout, _L.GaussianNoise, _L.ActivityRegularization, _L.Identity)
_BY_RANK = {
    kind: tuple(getattr(_L, f"{kind}{rank}D") for rank in (1, 2, 3))
    for kind in ("MaxPooling", "AveragePooling", "Cropping", "UpSampling", "ZeroPadding")
}
_GLOBAL = tuple(
    getattr(_L, f"Global{kind}Pooling{rank}D") for kind in ("Average", "Max") for rank in (1, 2, 3)
)
_SPATIAL = tuple(layer for layers in _BY_RANK.values() for layer in layers)
# More than one, so that what looks across them is seen.
_PROBE = np.linspace(-3.0, 3.0, 13)


class CannotShrink(Exception):
    """Why not, in words that go on after "left: "."""


@dataclass(frozen=True)
class Features:
    """The features of one tensor, as what became of a layer's units.

    Attributes:
        unit: For each feature the number of its unit.
        constant: For each feature the one number that it always is, NaN where it has none.
        shape: The tensor's shape with the batch, as the model's graph knows it.
        axis: The axis of the features, counted from the front.
    """

    unit: np.ndarray
    constant: np.ndarray
    shape: tuple[int | None, ...]
    axis: int


def behind(layer: Any, name: str, features: Features, shape: tuple, weights: Any) -> Features:
    """The features behind a layer that hands each of them on by itself.

    Args:
        layer: The layer.
        name: What a reason calls it.
        features: What comes in.
        shape: The shape of what comes out.
        weights: A batch norm's weights as they are by now, by name; None for another layer.

    Raises:
        CannotShrink: If it is another layer.
    """
    if not isinstance(layer, keras.layers.Layer) or not _calls_as_keras_does(layer):
        raise CannotShrink(f"its output goes to {name}")
    if isinstance(layer, _L.BatchNormalization):
        return replace(features, constant=_normalized(layer, name, features, weights), shape=shape)
    if isinstance(layer, _ELEMENTWISE):
        call = layer.activation if type(layer) is _L.Activation else layer
        return replace(features, constant=applied(call, features.constant, layer, name), shape=shape)
    if isinstance(layer, _SAME):
        return replace(features, constant=_dropped(layer, name, features), shape=shape)
    if type(layer) in _GLOBAL:
        _need_axis(layer, name, features)
        axis = features.axis if len(shape) == len(features.shape) else 1
        return replace(features, shape=shape, axis=axis)
    if type(layer) in _SPATIAL:
        _need_axis(layer, name, features)
        constant = features.constant
        if type(layer) in _BY_RANK["ZeroPadding"]:
            constant = np.where(constant == 0, 0.0, np.nan)
        return replace(features, constant=constant, shape=shape)
    if type(layer) is _L.Flatten:
        return _flattened(layer, name, features)
    raise CannotShrink(f"its output goes to {name}")


def applied(function: Any, values: np.ndarray, layer: Any, name: str) -> np.ndarray:
    """An elementwise function of numbers, in the type that a layer computes in; NaN stays NaN.

    Raises:
        CannotShrink: If the function is not elementwise.
    """

    def at(points: np.ndarray) -> np.ndarray:
        x = ops.convert_to_tensor(points[None].astype("float32"))
        y = ops.cast(function(ops.cast(x, layer.compute_dtype)), "float32")
        return np.asarray(ops.convert_to_numpy(y)).astype("float64")

    try:
        whole, part = at(_PROBE), at(_PROBE[4:9])
    # Whatever a user's own function raises at a row of numbers.
    except Exception as error:
        raise CannotShrink(f"{name} has an activation that is not elementwise") from error
    if whole.shape != (1, len(_PROBE)) or not np.allclose(whole[:, 4:9], part, atol=1e-5, equal_nan=True):
        raise CannotShrink(f"{name} has an activation that is not elementwise")
    known = ~np.isnan(values)
    return np.where(known, at(np.where(known, values, 0.0))[0], np.nan)


def features_at(layer: Any, rank: int) -> int:
    """The axis of a layer's features in a tensor of this rank."""
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1


def _need_axis(layer: Any, name: str, features: Features) -> None:
    if features_at(layer, len(features.shape)) != features.axis:
        raise CannotShrink(f"{name} has its features at another axis")


def _calls_as_keras_does(layer: Any) -> bool:
    home = thawed_class(type(layer)).call.__module__.partition(".")[0]
    return home in ("keras", "kerasreg")


def _normalized(layer: Any, name: str, features: Features, weights: dict[str, np.ndarray]) -> np.ndarray:
    if layer.axis % len(features.shape) != features.axis:
        raise CannotShrink(f"{name} has its features at another axis")
    with np.errstate(all="ignore"):
        scale = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + layer.epsilon)
        shift = weights.get("beta", 0.0) - weights["moving_mean"] * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise CannotShrink(f"{name} holds numbers that are not finite")
    # A gamma of 0 makes a constant of whatever comes in.
    return np.where(scale == 0, shift, scale * features.constant + shift)


def _dropped(layer: Any, name: str, features: Features) -> np.ndarray:
    noise_shape = getattr(layer, "noise_shape", None)
    if noise_shape is not None and tuple(noise_shape)[features.axis] not in (None, 1):
        raise CannotShrink(f"{name} has a noise_shape of its own")
    if not getattr(layer, "mc", False):
        return features.constant
    # It stays stochastic; 0 stays 0 where it multiplies.
    still = (features.constant == 0) & isinstance(layer, _SCALED)
    return np.where(still, 0.0, np.nan)


def _flattened(layer: Any, name: str, features: Features) -> Features:
    rank = len(features.shape)
    sizes = [len(features.unit) if i == features.axis else size for i, size in enumerate(features.shape)][1:]
    if None in sizes:
        raise CannotShrink(f"{name} flattens an axis of unknown size")
    laid_out = [-1 if i == features.axis else 1 for i in range(1, rank)]
    number = np.broadcast_to(np.arange(len(features.unit)).reshape(laid_out), sizes)
    if layer.data_format == "channels_first" and rank > 2:
        # Keras puts the channels last first of all.
        number = np.moveaxis(number, 0, -1)
    number = number.reshape(-1)
    return Features(features.unit[number], features.constant[number], (None, len(number)), 1)
