"""One table of what was tried and what held.

python -m benchmarks.reliability

Each section is a module of this folder with `rows(quick)`, one row for each thing that was tried, and
`summary(rows)`, which counts them: how many were `tried`, how many `held`, `of` what, and what was `lost`.
The rows go to `benchmarks/results/reliability_SECTION.json`, the counts to
`benchmarks/results/reliability.json`; with `--only` the other sections are counted as they lie there.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from benchmarks.report import claim, folder, options, publish

COLUMNS = ("section", "tried", "held", "of", "lost")
SECTIONS = ("faults", "bad_inputs", "own_tests", "backends", "soak")


def claims(counts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The share that held, of each section; the README has a part of its own for them."""
    return [
        claim(
            f"reliability, {row['section'].replace('_', ' ')}",
            100 * row["held"] / row["tried"],
            "% held",
            f"{row['tried']} {row['of']}",
            at_least=100,
            detail=True,
        )
        for row in counts
        if row["tried"]
    ]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", choices=SECTIONS, nargs="*", default=SECTIONS, help="run these sections")
    args = parser.parse_args()
    counts = []
    for name in SECTIONS:
        published = folder(args) / f"reliability_{name}.json"
        if name not in args.only and not published.exists():
            continue
        section = importlib.import_module(f"benchmarks.reliability.{name}")
        if name in args.only:
            print(f"== {name}", flush=True)
            rows = section.rows(args.quick)
            publish(f"reliability_{name}", rows, folder(args), quick=args.quick)
        else:
            rows = json.loads(published.read_text())["rows"]
        counts.append({"section": name, **section.summary(rows)})
    table = [{column: row.get(column, "") for column in COLUMNS} for row in counts]
    print("== all", flush=True)
    publish("reliability", table, folder(args), claims(counts), quick=args.quick)


if __name__ == "__main__":
    main()
