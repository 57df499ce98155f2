"""A progress bar for work that may turn out to be long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import keras

from kerasreg._core.arguments import refusal

T = TypeVar("T")

# Whoever waits less than this needs no bar.
_PATIENCE = 2.0


def checked_verbose(owner: str, verbose: object) -> object:
    """The value, if it is `"auto"`, 0 or 1, or a refusal."""
    if isinstance(verbose, (str, int)) and verbose in ("auto", 0, 1):
        return verbose
    raise refusal(owner, "verbose", "'auto', 0 or 1", verbose)


def progress(items: Iterable[T], total: int | None, unit: str, verbose: object = "auto") -> Iterator[T]:
    """The items as they are, behind a bar that tells how many of them are done.

    Args:
        items: What is worked on, one after the other.
        total: How many there are; None where nobody knows, and the bar counts.
        unit: What one of them is called.
        verbose: 0 for no bar, 1 for a bar, `"auto"` for one as soon as two seconds have passed.

    Example:
        >>> list(progress("ab", 2, "letter"))
        ['a', 'b']
    """
    if not verbose:
        yield from items
        return
    bar = keras.utils.Progbar(total, unit_name=unit)
    shown_from = time.monotonic() + (_PATIENCE if verbose == "auto" else 0.0)
    done, shown = 0, False
    for item in items:
        yield item
        done += 1
        if time.monotonic() >= shown_from:
            shown = True
            bar.update(done, finalize=False)
    if shown:
        bar.update(done, finalize=True)
