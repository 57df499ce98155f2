"""A batch norm at inference, as what it is: y = scale x + shift for each feature."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

from kerasreg.batch_norm.statistics import numpy_of


class Affine(NamedTuple):
    """y = scale x + shift, feature by feature, in float64."""

    scale: np.ndarray
    shift: np.ndarray


def affine_of(layer: keras.layers.BatchNormalization) -> Affine:
    """The map with scale = gamma / sqrt(variance + epsilon) and shift = beta - mean scale."""
    mean, variance = (numpy_of(w).astype("float64") for w in (layer.moving_mean, layer.moving_variance))
    # What is not a number in the layer is not one here; whoever folds it looks.
    with np.errstate(all="ignore"):
        scale = 1.0 / np.sqrt(variance + layer.epsilon)
        if layer.scale:
            scale = scale * numpy_of(layer.gamma).astype("float64")
        shift = -mean * scale
    if layer.center:
        shift = shift + numpy_of(layer.beta).astype("float64")
    return Affine(scale, shift)
