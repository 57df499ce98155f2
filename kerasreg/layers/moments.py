"""Counts, means and squared deviations that merge exactly: one pass over any number of batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Per feature: how many values, their mean, and the sum of their squared deviations, in float64.

    Two of them merge into what one pass over both data would have given (Chan, Golub and LeVeque, 1979),
    without the cancellation of E[x^2] - E[x]^2.

    Example:
        >>> import numpy as np
        >>> a, b = Moments.of(np.array([1.0, 2.0]), ()), Moments.of(np.array([3.0, 6.0]), ())
        >>> float(a.merge(b).mean), float(a.merge(b).variance)
        (3.0, 3.5)
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, batch: np.ndarray, keep: Sequence[int]) -> Moments:
        """The moments of one batch over every axis but `keep`; NaN entries are left out."""
        batch = np.asarray(batch, dtype="float64")
        reduced = tuple(axis for axis in range(batch.ndim) if axis not in keep)
        present = ~np.isnan(batch)
        count = present.sum(axis=reduced, dtype="float64", keepdims=True)
        # Sums that start at a value of the data: the deviations of a constant are then 0 to the last bit.
        start = np.fmin.reduce(batch, axis=reduced, keepdims=True, initial=np.inf)
        start = np.where(count > 0, start, 0.0)
        distance = np.where(present, batch - start, 0.0)
        shift = distance.sum(axis=reduced, keepdims=True) / np.maximum(count, 1.0)
        mean = start + shift
        deviation = np.where(present, distance - shift, 0.0)
        squares = np.square(deviation).sum(axis=reduced, keepdims=True)
        return cls(*(np.squeeze(figure, axis=reduced) for figure in (count, mean, squares)))

    @classmethod
    def none(cls, shape: Sequence[int]) -> Moments:
        """The moments of no data, the neutral element of `merge`."""
        return cls(*(np.zeros(shape) for _ in range(3)))

    def merge(self, other: Moments) -> Moments:
        """The moments of both data together."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1.0)
        gap = other.mean - self.mean
        return Moments(
            count,
            self.mean + gap * share,
            self.squares + other.squares + np.square(gap) * self.count * share,
        )

    @property
    def variance(self) -> np.ndarray:
        """The population variance, 0 where there is no value."""
        return self.squares / np.maximum(self.count, 1.0)
