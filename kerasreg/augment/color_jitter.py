"""Brightness, contrast, saturation and hue under one name, one probability and one map."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment import color
from kerasreg.augment.color import (
    ColorMap,
    ColorTransform,
    RandomBrightness,
    RandomContrast,
    RandomSaturation,
    multiplier,
)
from kerasreg.augment.hue import RandomHue
from kerasreg.augment.transform import Range
from kerasreg.augment.units import Units


@register
class ColorJitter(ColorTransform):
    """Changes brightness, contrast, saturation and hue, each by an amount of its own, in one affine map.

    There is no order to choose or to draw: with a brightness that adds, a contrast about the mean, and a
    saturation and a hue that keep the luma, the four maps commute exactly. (Other libraries draw an order
    because their brightness multiplies, and because they clip after each.) The four draw or skip together.

    Args:
        brightness: As `factor` of `RandomBrightness`.
        contrast: As `factor` of `RandomContrast`.
        saturation: As `factor` of `RandomSaturation`. If it does anything, images have 3 channels.
        hue: As `degrees` of `RandomHue`. If it does anything, images have 3 channels.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Example:
        >>> ColorJitter(brightness=0.1, contrast=0.2, hue=10)
        ColorJitter(brightness=(-0.1, 0.1), contrast=(0.8, 1.2), hue=(-10.0, 10.0))
    """

    magnitudes = 4

    def __init__(
        self,
        brightness: Range = (0.0, 0.0),
        contrast: Range = (1.0, 1.0),
        saturation: Range = (1.0, 1.0),
        hue: Range = (0.0, 0.0),
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.brightness = arguments.interval(self._owner, "brightness", brightness)
        self.contrast = multiplier(self._owner, "contrast", contrast)
        self.saturation = multiplier(self._owner, "saturation", saturation)
        self.hue = arguments.interval(self._owner, "hue", hue)
        self.needs_rgb = self.saturation != (1.0, 1.0) or self.hue != (0.0, 0.0)
        self.uses_mean = self.contrast != (1.0, 1.0)
        # Each with its column of numbers, whichever of the others are left out.
        every = (
            (0, self.brightness != (0.0, 0.0), RandomBrightness(self.brightness)),
            (1, self.uses_mean, RandomContrast(self.contrast)),
            (2, self.saturation != (1.0, 1.0), RandomSaturation(self.saturation)),
            (3, self.hue != (0.0, 0.0), RandomHue(self.hue)),
        )
        self._parts = [(column, part) for column, acts, part in every if acts]

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        chain = color.identity_map(tf.shape(mean)[0], mean.shape[-1])
        for column, part in self._parts:
            found = color.apply_map_to_vector(chain, mean)
            chain = color.compose(chain, part.color_map(uniform[:, column : column + 1], found, units))
        return chain

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        ranges = {name: list(getattr(self, name)) for name in ("brightness", "contrast", "saturation", "hue")}
        return {**ranges, **super().get_config()}
