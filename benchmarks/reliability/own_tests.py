"""Keras' own test files, run from its wheel with our classes in place: which, how many, and what is left out.

python -m benchmarks.reliability --only own_tests

One process for layers, one for regularizers, one for initializers, on the backend of `KERAS_BACKEND`. The
swap and the reasons are those of the suite, in `tests/keras_own.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

_TESTS = str(Path(__file__).parents[2] / "tests")


def rows(quick: bool) -> list[dict[str, Any]]:
    """A row for each file; of the regularizers only, if `quick`."""
    sys.path.insert(0, _TESTS)
    try:
        import keras_own
    finally:
        sys.path.remove(_TESTS)
    found = []
    for name in ["regularizers"] if quick else keras_own.PARTS:
        part = keras_own.PARTS[name]
        with tempfile.TemporaryDirectory() as folder:
            _, cases = keras_own.run(part, folder)
        for file, classes in part.files.items():
            outcomes = [outcome for where, _, outcome in cases if where == file]
            left_out = keras_own.left_out_of(part, file)
            found.append(
                {
                    "file": f"keras/src/{file.replace('.', '/')}.py",
                    "class": ", ".join(classes),
                    "run": len(outcomes) - outcomes.count("skipped"),
                    "passed": outcomes.count("passed"),
                    "skipped by Keras": outcomes.count("skipped"),
                    "left out": "; ".join(f"{test}: {why}" for test, why in left_out.items()),
                }
            )
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many files, how many of their tests were run, and how many passed."""
    return {
        "tried": sum(row["run"] for row in rows),
        "held": sum(row["passed"] for row in rows),
        "of": f"tests of Keras, in {len(rows)} files",
    }
