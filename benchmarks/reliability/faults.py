"""Every fault of the tests' catalogues, committed for real, and whether anything was lost."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2] / "tests"
# Modules with a dict FAULTS: a fault in words, and what commits it in an empty folder.
CATALOGUES = ("faults", "device_faults")
# In a hurry, those that take no process of their own and no seconds.
QUICK = 6


def commit(words: str, fault: Callable[[Path], None]) -> dict[str, Any]:
    """Commit a fault; a row that tells what became of it."""
    start, lost, survived = time.perf_counter(), "", "yes"
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(quiet),
    ):
        warnings.simplefilter("ignore")
        try:
            fault(Path(folder))
        except Exception as error:
            # A machine that does not let a fault be committed has not survived it.
            not_here = type(error).__name__ == "NotHere"
            survived, lost = ("not tried" if not_here else "no"), f"{error}".splitlines()[0][:200]
    seconds = time.perf_counter() - start
    print(f"{survived:9} {words} ({seconds:.0f} s) {lost}".rstrip(), flush=True)
    return {"fault": words, "survived": survived, "seconds": round(seconds, 1), "lost": lost}


def rows(quick: bool) -> list[dict[str, Any]]:
    """Every fault, or in a hurry a few.

    Args:
        quick: Whether the first few that need no process of their own will do.
    """
    sys.path[:0] = [str(TESTS / "reliability"), str(TESTS)]
    found = {}
    for name in CATALOGUES:
        if find_spec(name) is None:
            continue
        catalogue = import_module(name)
        slow = getattr(catalogue, "IN_A_PROCESS_OF_ITS_OWN", set()) if quick else set()
        slow = slow | (getattr(catalogue, "OF_SECONDS", set()) if quick else set())
        found |= {words: fault for words, fault in catalogue.FAULTS.items() if words not in slow}
    return [commit(words, fault) for words, fault in list(found.items())[: QUICK if quick else None]]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many faults were committed, how many cost nothing, and which cost something."""
    tried = [row for row in rows if row["survived"] != "not tried"]
    return {
        "tried": len(tried),
        "held": sum(row["survived"] == "yes" for row in tried),
        "of": "faults, committed for real",
        "lost": "; ".join(row["fault"] for row in tried if row["survived"] == "no"),
    }
