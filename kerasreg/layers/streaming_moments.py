"""Moments of batches as they come by, through one small buffer in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kerasreg.layers.moments import Moments

# Values that are looked at together: two megabytes, which a core's cache holds.
_VALUES = 2**18
# Below so many columns, the work for each row outweighs that for its values.
_COLUMNS = 256


class StreamingMoments:
    """Moments over every axis but the kept ones, of batches of any number of rows.

    Args:
        kept: The axes, from 0, whose positions have moments of their own.

    Example:
        >>> import numpy as np
        >>> stream = StreamingMoments([1])
        >>> for batch in (np.array([[1.0, 5.0]]), np.array([[2.0, np.nan], [6.0, 7.0]])):
        ...     stream.add(batch)
        >>> stream.moments.mean.tolist(), stream.moments.count.tolist()
        ([3.0, 6.0], [3.0, 2.0])
    """

    def __init__(self, kept: Sequence[int]) -> None:
        self._kept = tuple(kept)
        self._shape: tuple[int, ...] | None = None
        self._found: Moments | None = None
        self._columns: Moments | None = None
        self._used = 0

    def add(self, batch: np.ndarray) -> None:
        """Take in a batch of numbers of any type."""
        # Where rows have moments of their own, a batch is one row of a longer one.
        kept = self._kept if 0 not in self._kept else [axis + 1 for axis in self._kept]
        batch = batch if 0 not in self._kept else batch[None]
        if batch.size == 0:
            return
        if batch.shape[1:] != self._shape:
            self._settle()
            self._lay_out(batch.shape[1:], kept)
        rows = max(1, self._buffer.size // math.prod(self._shape))
        for start in range(0, len(batch), rows):
            part = batch[start : start + rows].transpose(self._order)
            self._fill(part.reshape(-1, self._buffer.shape[1]))

    @property
    def moments(self) -> Moments | None:
        """The moments of every batch until now, None where there was none."""
        self._settle()
        return self._found

    def _lay_out(self, shape: tuple[int, ...], kept: Sequence[int]) -> None:
        """Find how a batch whose rows have this shape becomes a matrix."""
        self._shape = shape
        # Axes that are summed over may count as rows, as long as enough columns are left.
        left, as_rows = math.prod(shape), []
        for axis, size in enumerate(shape, start=1):
            if axis not in kept and left // size >= _COLUMNS:
                left //= size
                as_rows.append(axis)
        cell = [axis for axis in range(1, len(shape) + 1) if axis not in as_rows]
        self._order = (0, *as_rows, *cell)
        self._cell = tuple(shape[axis - 1] for axis in cell)
        self._pooled = [position for position, axis in enumerate(cell) if axis not in kept]
        columns = math.prod(self._cell)
        # Several rows side by side make one wide row.
        self._beside = max(1, _COLUMNS // columns)
        self._buffer = np.empty((max(1, _VALUES // columns), columns))

    def _fill(self, rows: np.ndarray) -> None:
        start = 0
        while start < len(rows):
            part = rows[start : start + len(self._buffer) - self._used]
            np.copyto(self._buffer[self._used : self._used + len(part)], part, casting="unsafe")
            self._used += len(part)
            start += len(part)
            if self._used == len(self._buffer):
                self._flush()

    def _flush(self) -> None:
        """Empty the buffer into the moments of its columns."""
        used, self._used = self._used, 0
        if used == 0:
            return
        block = self._buffer[:used]
        wide = used - used % self._beside
        if wide:
            found = _finite_moments(block[:wide].reshape(wide // self._beside, -1))
            self._columns = found if self._columns is None else self._columns.merge(found)
        if wide < used:
            self._pool(_finite_moments(block[wide:]), 1)

    def _settle(self) -> None:
        self._flush()
        if self._columns is not None:
            self._pool(self._columns, self._beside)
            self._columns = None

    def _pool(self, columns: Moments, beside: int) -> None:
        """Turn moments of columns into those of features."""
        found = columns.reshape((beside, *self._cell)).pool([0, *(axis + 1 for axis in self._pooled)])
        self._found = found if self._found is None else self._found.merge(found)


def _finite_moments(block: np.ndarray) -> Moments:
    with np.errstate(over="ignore", invalid="ignore"):
        moments = Moments.of_columns(block)
    if not np.isfinite(moments.mean).all():
        raise OverflowError("an infinite value, or a mean beyond float64")
    return moments
