"""Layers by steps in bounded memory: what a picture of a training of any length is drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# More columns than a picture has room for; of longer trainings several steps share a column.
MOST_COLUMNS = 256


class StepGrid:
    """The figures of the observed steps in columns, of which there are never too many.

    Where steps share a column, the largest figure stands for them, and one that is not finite before all. Of
    the dead channels it is the smallest: a window begins with all that are silent and ends with the dead.

    Args:
        figures: The names of the figures that are kept.

    Example:
        >>> grid = StepGrid(["rms"])
        >>> for step in range(300):
        ...     grid.add(step, [{"layer": "a", "rms": float(step)}])
        >>> grid.stride, len(grid.steps), grid.values("rms", ["a"])[0, :3].tolist()
        (2, 150, [1.0, 3.0, 5.0])
    """

    def __init__(self, figures: Sequence[str]):
        self._figures = tuple(figures)
        self._columns: list[dict[tuple[str, str], float]] = []
        self.steps: list[int] = []
        self.stride = 1
        self._in_last = 0
        self._latest: int | None = None

    def add(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put an observed step's rows into the last column, or into a new one where that is full."""
        if step != self._latest:
            if not self.steps or self._in_last == self.stride:
                self._columns.append({})
                self.steps.append(step)
                self._in_last = 0
            self._in_last += 1
            self._latest = step
        for row in rows:
            for name in self._figures:
                if name in row:
                    _keep(self._columns[-1], (row["layer"], name), row[name])
        if len(self.steps) > MOST_COLUMNS and self._in_last == self.stride and len(self.steps) % 2 == 0:
            self._halve()

    def layers(self) -> list[str]:
        """Every layer, in the order in which they were first seen."""
        return list(dict.fromkeys(layer for column in self._columns for layer, _ in column))

    def values(self, figure: str, layers: Sequence[str]) -> np.ndarray:
        """One figure, of shape (layers, columns), with None where it was not taken."""
        return np.array(
            [[column.get((layer, figure)) for column in self._columns] for layer in layers], object
        )

    def _halve(self) -> None:
        for left, right in zip(self._columns[::2], self._columns[1::2], strict=True):
            for place, value in right.items():
                _keep(left, place, value)
        self._columns, self.steps = self._columns[::2], self.steps[::2]
        self.stride *= 2
        self._in_last = self.stride


def _keep(column: dict[tuple[str, str], float], place: tuple[str, str], value: float) -> None:
    known = column.get(place)
    if known is None or not math.isfinite(value):
        column[place] = value
    elif math.isfinite(known):
        column[place] = min(known, value) if place[1] == "dead" else max(known, value)
