"""Keras' progress bar, for work that may turn out to be long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import keras

from kerasreg._core.arguments import refusal

T = TypeVar("T")

# Seconds. Nobody needs a bar for what is over before it can be read.
PATIENCE = 3.0


class Progress:
    """A bar that appears where there is something to wait for.

    Args:
        owner: Whose argument `verbose` is, for an error's sentence.
        verbose: As with Keras: 1 or True for a bar at once, 0 or False for none, `"auto"` for one after three
            seconds.
        total: How many units of work there are; None where nobody knows, and the bar counts.
        unit: What one of them is called.

    Raises:
        ValueError: If `verbose` is none of these.
    """

    def __init__(self, owner: str, verbose: object, total: int | None, unit: str = "batch"):
        if not isinstance(verbose, (str, int)) or verbose not in ("auto", 0, 1):
            raise refusal(owner, "verbose", "'auto', 0 or 1", verbose)
        self._total, self._unit = total, unit
        patience = {"auto": PATIENCE, 0: float("inf"), 1: 0.0}[verbose]
        self._from = time.monotonic() + patience
        self._bar: keras.utils.Progbar | None = None
        self._done = 0

    def add(self, units: int = 1) -> None:
        """So many units more are done."""
        self._done += units
        if self._bar is None and time.monotonic() >= self._from:
            self._bar = keras.utils.Progbar(self._total, unit_name=self._unit)
        if self._bar is not None:
            self._bar.update(self._done, finalize=False)

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.update(self._done, finalize=True)

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items as they are, each counted once it has been worked on.

        Example:
            >>> list(Progress("read", "auto", 2, "letter").over("ab"))
            ['a', 'b']
        """
        for item in items:
            yield item
            self.add()
        self.close()
