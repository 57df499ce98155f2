"""A progress bar that shows itself only where there is something to wait for."""

from __future__ import annotations

import time

import keras

from kerasreg._core.arguments import refusal

# Whoever waits longer than this wants to know how long it will be.
_PATIENCE_SECONDS = 5.0


class Progress:
    """A bar over batches.

    Args:
        owner: Whose argument `verbose` is, for an error's sentence.
        verbose: True, False, or `"auto"` for a bar once the batches have taken 5 seconds and go on.
        total: How many batches there are, or None where that is not known.
    """

    def __init__(self, owner: str, verbose: bool | str, total: int | None) -> None:
        if not isinstance(verbose, bool) and verbose != "auto":
            raise refusal(owner, "verbose", 'True, False or "auto"', verbose)
        self._verbose = verbose
        self._total = total
        self._done = 0
        self._started: float | None = None
        self._bar: keras.utils.Progbar | None = None

    def add(self, batches: int) -> None:
        """So many batches more are done."""
        self._done += batches
        # From the first batch's end on: that one was compiled, which says nothing about the others.
        self._started = self._started or time.monotonic()
        waited = time.monotonic() - self._started > _PATIENCE_SECONDS and self._done != self._total
        if self._bar is None and (self._verbose is True or (self._verbose == "auto" and waited)):
            self._bar = keras.utils.Progbar(self._total, unit_name="batch")
        if self._bar is not None:
            self._bar.update(self._done)

    def close(self) -> None:
        """All is done."""
        if self._bar is not None and self._total != self._done:
            self._bar.update(self._done, finalize=True)
