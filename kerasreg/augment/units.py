"""What the values of an image mean: their range, and how it has changed since the images came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerasreg._core import arguments


@dataclass(frozen=True)
class Units:
    """The range of values at one place in a pipeline, for all channels (one entry) or for each (one each).

    Attributes:
        low: The smallest value.
        high: The largest value.
        scale: With `offset`, the way from the units of the images: `value * scale + offset`.
        offset: See `scale`.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, value_range: Sequence[float]) -> Units:
        """The units of the images themselves."""
        low, high = value_range
        return cls((float(low),), (float(high),))

    def rescaled(self, scale: Sequence[float], offset: Sequence[float]) -> Units:
        """The units after `value * scale + offset`; a negative scale swaps the ends of the range."""
        scale, offset = np.float64(scale), np.float64(offset)
        ends = [np.float64(end) * scale + offset for end in (self.low, self.high)]
        return Units(
            low=tuple(np.minimum(*ends).tolist()),
            high=tuple(np.maximum(*ends).tolist()),
            scale=tuple((self.scale * scale).tolist()),
            offset=tuple((self.offset * scale + offset).tolist()),
        )

    def carried(self, values: float | Sequence[float]) -> np.ndarray:
        """Values in the units of the images, in these; float32 of shape `(1,)` or `(channels,)`."""
        return np.float32(np.multiply(values, self.scale) + self.offset)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high, float32 of shape `(1,)` or `(channels,)`."""
        return np.float32(self.low), np.float32(self.high)

    @property
    def width(self) -> np.ndarray:
        """`high - low`, float32 of shape `(1,)` or `(channels,)`."""
        return np.float32(np.subtract(self.high, self.low))

    @property
    def grey(self) -> bool:
        """Whether equal channels mean grey: no channel was rescaled on its own."""
        return len(set(self.scale)) == 1 and len(set(self.offset)) == 1

    @property
    def outer(self) -> tuple[float, float]:
        """The smallest and the largest value of any channel."""
        return min(self.low), max(self.high)

    def __str__(self) -> str:
        pairs = dict.fromkeys(zip(self.low, self.high, strict=True))
        return ", ".join(f"[{low:g}, {high:g}]" for low, high in pairs)


def numbers_per_channel(owner: str, argument: str, value: object) -> tuple[float, ...]:
    """A finite number, or one for each channel, as a tuple of one or of so many.

    >>> numbers_per_channel("Rescale", "scale", 2)
    (2.0,)
    """
    every = list(value) if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) else [value]
    if not every:
        raise arguments.refusal(owner, argument, "a finite number or one for each channel", value)
    return tuple(arguments.number(owner, argument, one) for one in every)
