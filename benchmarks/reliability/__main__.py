"""One table of what was tried and what held.

python -m benchmarks.reliability

Each section is a module of this folder with `rows(quick)`, one row for each thing that was tried, and
`summary(rows)`, which counts them. The rows go to `benchmarks/results/reliability_SECTION.json`, the counts
to `benchmarks/results/reliability.json`.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.report import RESULTS, publish

SECTIONS = ("faults", "bad_inputs", "own_tests", "backends", "soak")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few of each, to see that it runs")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=SECTIONS, help="these sections")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON files")
    args = parser.parse_args()
    counts = []
    for name in args.only:
        section = importlib.import_module(f"benchmarks.reliability.{name}")
        print(f"== {name}", flush=True)
        rows = section.rows(args.quick)
        publish(f"reliability_{name}", rows, args.output, quick=args.quick)
        counts.append({"section": name, **section.summary(rows)})
    columns = list(dict.fromkeys(key for row in counts for key in row))
    table = [{column: row.get(column, "") for column in columns} for row in counts]
    print("== all", flush=True)
    publish("reliability", table, args.output, quick=args.quick)


if __name__ == "__main__":
    main()
