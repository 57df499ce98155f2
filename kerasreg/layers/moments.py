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
        >>> a = Moments.of_columns(np.array([[1.0], [2.0]]))
        >>> b = Moments.of_columns(np.array([[3.0], [6.0]]))
        >>> a.merge(b).mean.tolist(), a.merge(b).variance.tolist()
        ([3.0], [3.5])
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of_columns(cls, block: np.ndarray) -> Moments:
        """The moments of each column of a float64 matrix, which is overwritten; NaN entries are left out."""
        # Sums of distances from a value of the column itself. Those of a constant are 0 to the last bit, and
        # no value of n is further than sqrt(n) deviations from the mean: one pass loses n ulp at most.
        shift = np.where(np.isfinite(block[0]), block[0], 0.0)
        block -= shift
        total = block.sum(axis=0)
        count = np.full(block.shape[1], float(len(block)))
        if not np.isfinite(total).all():
            present = ~np.isnan(block)
            count = present.sum(axis=0, dtype="float64")
            first = np.take_along_axis(block, present.argmax(axis=0)[None], axis=0)[0]
            first = np.where(count > 0, first, 0.0)
            block -= first
            block[~present] = 0.0
            shift = shift + first
            total = block.sum(axis=0)
        squares = np.einsum("ij,ij->j", block, block)
        step = total / np.maximum(count, 1.0)
        return cls(count, shift + step, np.maximum(squares - total * step, 0.0))

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

    def pool(self, axes: Sequence[int]) -> Moments:
        """The moments over these axes too, as if their positions had been one feature."""
        if not axes:
            return self
        ends = range(len(axes))
        count, mean, squares = (
            np.moveaxis(figure, axes, ends).reshape(-1, *np.delete(figure.shape, list(axes)))
            for figure in (self.count, self.mean, self.squares)
        )
        # From a mean among them, for the same reason as above.
        start = np.take_along_axis(mean, (count > 0).argmax(axis=0)[None], axis=0)[0]
        gap = np.where(count > 0, mean - start, 0.0)
        whole = count.sum(axis=0)
        step = (count * gap).sum(axis=0) / np.maximum(whole, 1.0)
        between = (count * np.square(gap - step)).sum(axis=0)
        return Moments(whole, start + step, squares.sum(axis=0) + between)

    def reshape(self, shape: Sequence[int]) -> Moments:
        """The same figures in another shape."""
        return Moments(*(figure.reshape(shape) for figure in (self.count, self.mean, self.squares)))

    @property
    def variance(self) -> np.ndarray:
        """The population variance, 0 where there is no value."""
        return self.squares / np.maximum(self.count, 1.0)
