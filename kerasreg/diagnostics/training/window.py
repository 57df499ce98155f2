"""A window of observed steps, and what it takes for an alarm to rise and to go."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# An alarm from fewer observed steps would be one odd batch's.
FEWEST_STEPS = 3

Row = dict[str, Any]
Series = list[tuple[int, float]]


class Window:
    """The rows of a training's stretch, by step and by layer.

    Args:
        rows: Dicts with `step`, `layer` and figures, each step's in the order of the calls.

    Attributes:
        steps: The observed steps, rising.
        layers: Every layer's rows, the layers in the order of their calls.

    Example:
        >>> rows = [{"step": s, "layer": "h", "rms": 0.1 * s} for s in range(1, 9)]
        >>> Window(rows).held("h", "rms")[0]
        (5, 0.5)
    """

    def __init__(self, rows: Iterable[Row]):
        self.rows = list(rows)
        self.layers: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            self.layers[row["layer"]].append(row)
        self.steps = sorted({row["step"] for row in self.rows})
        # The second half: what a training does at its very start is not yet what it does.
        count = max(FEWEST_STEPS, math.ceil(len(self.steps) / 2))
        self._from = self.steps[-count:][0] if self.steps else 0

    @property
    def enough(self) -> bool:
        """Whether there is enough to judge by."""
        return len(self.steps) >= FEWEST_STEPS

    def series(self, layer: str, *figures: str) -> Series:
        """(step, value) of the first of the figures that a row has, where it is finite."""
        found = []
        for row in self.layers.get(layer, ()):
            value = next((row[name] for name in figures if row.get(name) is not None), math.nan)
            if math.isfinite(value):
                found.append((row["step"], float(value)))
        return found

    def held(self, layer: str, *figures: str) -> Series:
        """The part of a series through which an alarm has to hold."""
        return [pair for pair in self.series(layer, *figures) if pair[0] >= self._from]

    def span(self, since: int) -> str:
        """How many of the observed steps an alarm has held, in words."""
        count = sum(step >= since for step in self.steps)
        return f"in all {count} steps observed since step {since}"


@dataclass(frozen=True)
class Bound:
    """From where on a figure is an alarm, and below which value it no longer is.

    Between the two nothing changes, so that a figure near a threshold does not make an alarm come and go.

    Args:
        alarm: A new alarm needs this value in every step of the second half of the window.
        clear: A standing alarm goes when every one of these steps is below this.

    Example:
        >>> bound = Bound(alarm=0.7, clear=0.5)
        >>> wavering = [(0, 0.8), (10, 0.65), (20, 0.8)]
        >>> bound.since(wavering, standing=False), bound.since(wavering, standing=True)
        (None, 0)
    """

    alarm: float
    clear: float

    def since(self, series: Sequence[tuple[int, float]], standing: bool) -> int | None:
        """The step from which an unbroken alarm lasts to the end of the series; None where there is none."""
        if len(series) < FEWEST_STEPS:
            return None
        if standing:
            return series[0][0] if max(value for _, value in series) >= self.clear else None
        if min(value for _, value in series) < self.alarm:
            return None
        return series[0][0]


def first_since(series: Sequence[tuple[int, float]], alarm: float) -> int:
    """The step from which on a whole series is at or above a value."""
    since = series[-1][0]
    for step, value in reversed(series):
        if value < alarm:
            break
        since = step
    return since


def middle(values: Iterable[float]) -> float:
    """The median; the lower one of two."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2] if ordered else math.nan
