"""Each feature's numbers on JAX and PyTorch beside those on TensorFlow, and the dtype policies of each layer.

python -m benchmarks.reliability --only backends
python -m benchmarks.reliability.backends          # the table of docs/backends.md, from the committed JSON

Each backend runs in a process of its own, on weights and inputs from NumPy (`backend_features`). A difference
is the largest one of any number of the feature, relative to the largest number of its array or to 1. Beside
it stands the tolerance that is promised, the same for each kind of feature.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BACKENDS = ("tensorflow", "jax", "torch")
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
POLICIES = ("mixed_float16", "mixed_bfloat16", "float64")
ROOT = Path(__file__).parents[2]
PAGE, FIGURES = ROOT / "docs/backends.md", ROOT / "benchmarks/results/reliability_backends.json"
START, END = "<!-- the table: python -m benchmarks.reliability.backends -->", "<!-- end of the table -->"

# What PyTorch is promised for.
ON_TORCH = ("layers.", "initializers.", "regularizers.", "losses.")
# Random draws are other ones on each backend: their moments agree, within the error of so many.
DRAWN = {"draws": 2e-2, "weights": 2e-2, "passes": 6e-2}
# Steps of an optimizer divide by, and add to, what was rounded before.
TRAINED = {"after four steps": 1e-3, "callbacks.": 1e-3}
ROUNDING = 1e-4


def tolerance(feature: str) -> float:
    """The largest difference that is promised for a feature."""
    return next((limit for word, limit in {**DRAWN, **TRAINED}.items() if word in feature), ROUNDING)


def rows(quick: bool) -> list[dict[str, Any]]:
    """A row for each feature and backend; of TensorFlow and JAX and a few features, if `quick`."""
    few = ["layers.DropPath", "regularizers.L1", "losses.MulticlassHinge"] if quick else []
    found = {backend: _computed(backend, few) for backend in (BACKENDS[:2] if quick else BACKENDS)}
    return [
        _row(feature, backend, found[backend].get(feature, {}), reference)
        for feature, reference in found["tensorflow"].items()
        for backend in found
    ]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many features agree on the other backends where they are promised, and how many policies hold.

    TensorFlow agrees with itself, which is not counted; its policies are.
    """
    promised = [row for row in rows if row["holds"] != "not supported"]
    compared = [row for row in promised if row["backend"] != "tensorflow"]
    policies = [row[policy] for row in promised for policy in POLICIES if row[policy]]
    counts = {NAMES[backend]: sum(row["backend"] == backend for row in compared) for backend in BACKENDS[1:]}
    listed = " and ".join(f"{count} on {name}" for name, count in counts.items() if count)
    return {
        "tried": len(compared) + len(policies),
        "held": sum(_agrees(row) for row in compared) + policies.count("yes"),
        "of": f"features compared with TensorFlow's, {listed}, and {len(policies)} dtype policies of layers",
    }


def _agrees(row: dict[str, Any]) -> bool:
    return row["largest difference"] != "" and row["largest difference"] <= row["tolerance"]


def _computed(backend: str, few: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.json"
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.reliability.backend_features", str(path)]
        done = subprocess.run(
            [*command, *(["--only", *few] if few else [])],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        if not path.exists():
            raise RuntimeError(f"no figures on {backend}: {done.stderr[-2000:]}")
        return json.loads(path.read_text())


def _row(feature: str, backend: str, entry: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    promised = backend != "torch" or feature.startswith(ON_TORCH)
    difference = None
    if promised and "numbers" in entry and "numbers" in reference:
        difference = _difference(entry["numbers"], reference["numbers"])
    policies = entry.get("policies", {}) if promised else {}
    held = difference is not None and difference <= tolerance(feature) and all(policies.values())
    return {
        "feature": feature,
        "backend": backend,
        "largest difference": "" if difference is None else float(f"{difference:.2g}"),
        "tolerance": tolerance(feature),
        "holds": ("yes" if held else "no") if promised else "not supported",
        **{policy: {True: "yes", False: "no", None: ""}[policies.get(policy)] for policy in POLICIES},
        "error": entry.get("error", "") if promised else "",
    }


def _difference(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest difference of any number, relative to the largest one of its array or to 1."""
    if [len(part) for part in ours] != [len(part) for part in theirs]:
        return float("inf")
    largest = 0.0
    for a, b in zip(ours, theirs, strict=True):
        scale = max([1.0, *map(abs, b)])
        gaps = [abs(x - y) / scale for x, y in zip(a, b, strict=True)]
        # A NaN compares as nothing does.
        largest = max([largest, *gaps]) if all(gap == gap for gap in gaps) else float("inf")
    return largest


def page_table(rows: list[dict[str, Any]]) -> str:
    """The table of the page: a line for each feature."""
    shown = [name for backend, name in NAMES.items() if backend != "tensorflow"]
    lines = [f"| Feature | tolerance | {' | '.join(shown)} | policies |", f"|{'---|' * (len(shown) + 3)}"]
    for feature in dict.fromkeys(row["feature"] for row in rows):
        of = {row["backend"]: row for row in rows if row["feature"] == feature}
        cells = [_cell(of[backend]) if backend in of else "" for backend in BACKENDS[1:]]
        policies = [p for p in POLICIES if any(row[p] for row in of.values())]
        bad = [p for p in policies if any(row[p] == "no" for row in of.values())]
        said = "all" if policies and not bad else ", ".join(f"not {policy}" for policy in bad)
        lines.append(f"| {feature} | {of['tensorflow']['tolerance']:g} | {' | '.join(cells)} | {said} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    if row["holds"] == "not supported":
        return "not supported"
    if row["largest difference"] == "":
        return "**fails**"
    shown = f"{row['largest difference']:.1e}" if row["largest difference"] else "0"
    return shown if row["holds"] == "yes" else f"**{shown}**"


def main() -> None:
    """Write the committed figures into the page."""
    rows = json.loads(FIGURES.read_text())["rows"]
    before, _, rest = PAGE.read_text().partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{page_table(rows)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
