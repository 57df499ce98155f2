"""The operations of the published policies, and what their magnitudes mean.

    operation               RandAugment             TrivialAugment, wide   AugMix
                            at magnitude m of 30    up to                  up to, at severity s of 10
    ShearX, ShearY          slope +-0.3 m/30        slope +-0.99           slope +-0.3 s/10
    TranslateX, TranslateY  +-0.453 m/30 of a side  +-32 pixels            +-1/3 s/10 of a side
    Rotate                  +-30 degrees m/30       +-135 degrees          +-30 degrees s/10
    Brightness, Color,      factor 1 +- 0.9 m/30    factor 1 +- 0.99       factor 1 +- 0.9 s/10
      Contrast, Sharpness
    Posterize               8 - round(4 m/30) bits  2 to 8 bits            4 - floor(4 s/10) to 4 bits
    Solarize                from 1 - m/30 up        from 0 to 1 up         from 1 - s/10 up
    AutoContrast, Equalize and Identity have no magnitude.

The ends of the ranges are those of torchvision's `RandAugment` and `TrivialAugmentWide`, and of the code that
the authors of AugMix published.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment.color import LUMA, ColorMap, ColorTransform, RandomContrast, RandomSaturation
from kerasreg.augment.geometry import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
    translation_matrix,
)
from kerasreg.augment.histogram import RandomAutoContrast, RandomEqualize
from kerasreg.augment.policy import Identity
from kerasreg.augment.stencils import RandomSharpness
from kerasreg.augment.tables import RandomPosterize, RandomSolarize
from kerasreg.augment.transform import Transform, between
from kerasreg.augment.units import Units

_STILL = (0.0, 0.0)

GEOMETRY = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
ENHANCEMENTS = ("Brightness", "Color", "Contrast", "Sharpness")
TABLES = ("Posterize", "Solarize", "AutoContrast", "Equalize")
OPERATIONS = ("Identity", *GEOMETRY, *ENHANCEMENTS, *TABLES)
"""The 14 operations of RandAugment."""


def operation(
    name: str,
    *,
    shear: float,
    shift: float,
    degrees: float,
    strength: float,
    bits: tuple[int, int],
    threshold: tuple[float, float],
    in_pixels: bool = False,
) -> Transform:
    """An operation by its name.

    Args:
        name: One of `OPERATIONS`.
        shear: The largest slope.
        shift: The longest way, as a share of the side.
        degrees: The largest angle.
        strength: How far a factor is from 1 at most.
        bits: The fewest and the most bits that are kept.
        threshold: The lowest and the highest threshold.
        in_pixels: Whether the longest way is in pixels instead.
    """
    factor = (1.0 - strength, 1.0 + strength)
    shifted = Shift if in_pixels else RandomTranslation
    makers = {
        "Identity": lambda: Identity(),
        "ShearX": lambda: RandomShear(shear),
        "ShearY": lambda: RandomShear(0.0, shear),
        "TranslateX": lambda: shifted(_STILL, (-shift, shift)),
        "TranslateY": lambda: shifted((-shift, shift), _STILL),
        "Rotate": lambda: RandomRotation(degrees),
        "Brightness": lambda: Exposure(factor),
        "Color": lambda: Colorfulness(factor),
        "Contrast": lambda: GreyContrast(factor),
        "Sharpness": lambda: RandomSharpness(factor),
        "Posterize": lambda: RandomPosterize(bits, probability=1),
        "Solarize": lambda: RandomSolarize(threshold, probability=1),
        "AutoContrast": lambda: RandomAutoContrast(probability=1),
        "Equalize": lambda: RandomEqualize(probability=1),
    }
    return makers[name]()


def check_operations(owner: str, names: Any) -> list[str]:
    """Names of operations, each once."""
    listed = ", ".join(map(repr, OPERATIONS))
    allowed = f"None or a non-empty list of different names out of {listed}"
    if not isinstance(names, list | tuple) or not names or len(set(map(str, names))) != len(names):
        raise arguments.refusal(owner, "operations", allowed, names)
    if list(names) == ["Identity"]:
        raise arguments.refusal(owner, "operations", "a list with more than 'Identity'", names)
    for name in names:
        if name not in OPERATIONS:
            raise arguments.refusal(owner, "operations", allowed, arguments.Came(f"{name!r} in it"))
    return list(names)


class Shift(RandomTranslation):
    """Moves images by pixels rather than by shares of the side."""

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        return translation_matrix(
            right=between(*self.width_factor, uniform[:, 1]), down=between(*self.height_factor, uniform[:, 0])
        )


class Exposure(ColorTransform):
    """Multiplies what is above black: `low + f * (x - low)`."""

    def __init__(self, factor: tuple[float, float]) -> None:
        super().__init__()
        self.factor = factor

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        low, _ = units.bounds
        gain = tf.zeros_like(mean) + between(*self.factor, uniform)
        return gain, low * (1.0 - gain)


class Colorfulness(RandomSaturation):
    """As `RandomSaturation`, and nothing at all where there are no three channels to tell apart."""

    needs_rgb = False
    needs_grey = True

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        if mean.shape[-1] != 3:
            return tf.ones_like(mean), tf.zeros_like(mean)
        return super().color_map(uniform, mean, units)


class GreyContrast(RandomContrast):
    """As `RandomContrast`, about the mean of the grey image in all channels."""

    needs_grey = True

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        channels = mean.shape[-1]
        shares = LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)
        grey = tf.reduce_sum(mean * shares, axis=-1, keepdims=True)
        return super().color_map(uniform, tf.zeros_like(mean) + grey, units)
