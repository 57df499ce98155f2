"""Keras' progress bar, for those who wait."""

from __future__ import annotations

import time

import keras

# Nobody needs a bar for what is over before it can be read.
PATIENCE = 3.0


class Progress:
    """A bar over batches, which appears after some seconds only.

    Args:
        total: How many batches, or None where nobody knows.
        verbose: True for a bar at once, False for none, `"auto"` for one after `PATIENCE` seconds.
    """

    def __init__(self, total: int | None, verbose: bool | str):
        self._total = total
        self._starts = {True: -1.0, False: float("inf")}.get(verbose, PATIENCE)
        self._began = time.monotonic()
        self._bar: keras.utils.Progbar | None = None
        self._done = 0

    def step(self) -> None:
        """One batch more is done."""
        self._done += 1
        if self._bar is None and time.monotonic() - self._began > self._starts:
            self._bar = keras.utils.Progbar(self._total, unit_name="batch")
        if self._bar is not None:
            self._bar.update(self._done, finalize=False)

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.update(self._done, finalize=True)
