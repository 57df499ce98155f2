"""A turn of all colours about the grey axis, as a matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.color import LUMA, ColorMap, ColorTransform
from kerasreg.augment.transform import Range, between
from kerasreg.augment.units import Units

YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float64)
"""Red, green and blue to luma and the two axes of chroma (NTSC, FCC 1953)."""


def hue_matrix(degrees: tf.Tensor) -> tf.Tensor:
    """The matrix of a turn of hue, `(images, 3, 3)` from `(images,)`: `B + cos(t) C - sin(t) S`.

    It is `YIQ^-1 R(-t) YIQ` with `R` a rotation of I and Q: from red towards green, as hue is counted.
    """
    back = np.linalg.inv(YIQ)
    still, same, turned = np.zeros((3, 3, 3))
    still[0, 0] = 1
    same[1, 1] = same[2, 2] = 1
    turned[1, 2], turned[2, 1] = -1, 1
    still, same, turned = (tf.constant(back @ part @ YIQ, tf.float32) for part in (still, same, turned))
    angle = (degrees * (math.pi / 180))[:, None, None]
    return still + tf.cos(angle) * same - tf.sin(angle) * turned


@register
class RandomHue(ColorTransform):
    """Turns the hue of all colours by one angle, drawn uniformly. Images have 3 channels.

    The turn is a rotation of I and Q in the YIQ space, a matrix, which keeps every pixel's luma
    `0.299 R + 0.587 G + 0.114 B`. It is not the hue of HSV, which keeps the largest of the channels
    instead: the two agree on grey and roughly on the angles, not on the values. A strong colour can turn
    out of the range, and is clipped to it.

    Args:
        degrees: The angle in degrees; `x` means `(-x, x)`. Positive goes from red over yellow to green,
            360 is once around.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        The NTSC colour space of the FCC, 1953.

    Example:
        >>> RandomHue(20)
        RandomHue(degrees=(-20.0, 20.0))
        >>> red = hue_matrix(tf.constant([30.0]))[0, :, 0].numpy()
        >>> (100 * red).round().astype(int).tolist()  # in hundredths of the range, before it is clipped
        [82, 20, -58]
    """

    needs_rgb = True

    def __init__(self, degrees: Range, probability: float = 1.0, name: str | None = None) -> None:
        super().__init__(probability, name)
        self.degrees = arguments.interval(self._owner, "degrees", degrees)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        return hue_matrix(between(*self.degrees, uniform[:, 0])), tf.zeros_like(mean)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"degrees": list(self.degrees), **super().get_config()}
