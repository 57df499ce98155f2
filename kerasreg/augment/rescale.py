"""The fixed affine map that a model wants its pixels in: a rescaled range, or standardised channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.color import ColorMap, ColorTransform
from kerasreg.augment.units import Units, numbers_per_channel


@register
class Rescale(ColorTransform):
    """The same map for every image: `x * scale + offset`, a part of the colour map of its step.

    The pipeline's `value_range` is that of the images as they come in. What follows a `Rescale` acts in
    the range `[low * scale + offset, high * scale + offset]`, per channel where the numbers are: a later
    `RandomBrightness(0.1)` adds a tenth of that range, and the result is clipped to it. A pipeline's
    `fill_value` stays in the units of the images, and is rescaled with them. It is not random, so that
    it has no probability, and `tta_predict` applies it to the unchanged view as well.

    With a number for each channel, equal channels no longer mean grey: `RandomSaturation`,
    `RandomHue`, `RandomGrayscale` and a `ColorJitter` with these must stand before it.

    Args:
        scale: The factor, a number or one for each channel, not 0.
        offset: What is added, a number or one for each channel.
        name: See `Pipeline`.

    Raises:
        ValueError: A scale of 0, a number that is not finite, or not as many offsets as scales.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomBrightness, Rescale
        >>> pipeline = Pipeline([RandomBrightness((0.1, 0.1)), Rescale(1 / 127.5, -1)])
        >>> round(float(pipeline(tf.fill([1, 1, 1], 127.5))[0, 0, 0]), 4)
        0.2
        >>> pipeline.explain().units
        Units(low=(-1.0,), high=(1.0,), scale=(0.00784313725490196,), offset=(-1.0,))
    """

    magnitudes = 0

    def __init__(
        self,
        scale: float | Sequence[float] = 1 / 255,
        offset: float | Sequence[float] = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(1.0, name)
        self._scale = numbers_per_channel(self._owner, "scale", scale)
        self._offset = numbers_per_channel(self._owner, "offset", offset)
        if 0 in self._scale:
            raise arguments.refusal(self._owner, "scale", "other than 0", scale)
        sizes = {len(self._scale), len(self._offset)} - {1}
        if len(sizes) > 1:
            words = f"a number or {len(self._scale)}, one for each scale"
            raise arguments.refusal(self._owner, "offset", words, offset)
        self.channels = sizes.pop() if sizes else None
        self.scale = _plain(self._scale)
        self.offset = _plain(self._offset)

    @classmethod
    def standardized(
        cls, mean: float | Sequence[float], std: float | Sequence[float], name: str | None = None
    ) -> Rescale:
        """`(x - mean) / std`, with the two in the units that `x` has here.

        >>> Rescale.standardized(mean=100, std=50)
        Rescale(scale=0.02, offset=-2.0)
        """
        mean = numbers_per_channel(cls.__name__, "mean", mean)
        deviations = numbers_per_channel(cls.__name__, "std", std)
        if min(deviations) <= 0:
            raise arguments.refusal(cls.__name__, "std", "above 0", std)
        size = max(len(mean), len(deviations))
        if {len(mean), len(deviations)} - {1, size}:
            raise arguments.refusal(cls.__name__, "std", f"a number or {len(mean)}, one for each mean", std)
        mean, deviations = (v * size if len(v) == 1 else v for v in (mean, deviations))
        scale = [1 / s for s in deviations]
        offset = [-m / s for m, s in zip(mean, deviations, strict=True)]
        return cls(_plain(scale), _plain(offset), name)

    def units_after(self, units: Units) -> Units:
        """See `Transform.units_after`."""
        return units.rescaled(self._scale, self._offset)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        zeros = tf.zeros_like(mean)
        return zeros + tf.constant(self._scale), zeros + tf.constant(self._offset)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"scale": self.scale, "offset": self.offset, "name": self.name}


def _plain(values: Sequence[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else list(values)
