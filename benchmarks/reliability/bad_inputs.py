"""What comes of input that nobody should give: each case of the catalogue, judged without a test's help.

python -m benchmarks.reliability --only bad_inputs
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "tests"


def rows(quick: bool) -> list[dict[str, Any]]:
    """A row for each case; a quick run takes every tenth."""
    for folder in (FOLDER, FOLDER / "reliability"):
        sys.path.insert(0, str(folder))
    import bad_inputs
    from bad_case import judge

    found = []
    # What Keras and NumPy warn of on the way is what was asked for.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in bad_inputs.cases()[:: 10 if quick else 1]:
            outcome, words = judge(case)
            said = {} if outcome in ("clear error", "stated behaviour") else {"said": words}
            found.append({"entry": case.entry, "what": case.what, "outcome": outcome, **said})
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many came to which end: held is what gave a clear error, or what is stated."""
    count = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in _OUTCOMES}
    entries = len({row["entry"] for row in rows})
    ends = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
    return {
        "tried": len(rows),
        "held": count["clear error"] + count["stated behaviour"],
        "of": f"bad inputs to {entries} public names: {ends}",
        "lost": "",
    }


_OUTCOMES = ("clear error", "stated behaviour", "silent", "wrong kind")
