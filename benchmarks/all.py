"""Every benchmark, one after another, each in a process of its own; then one table of what they claim.

python -m benchmarks.all                          all of them in full, into benchmarks/results: hours
python -m benchmarks.all --quick                  smallest sizes, into a temporary folder: minutes
python -m benchmarks.all --committed              the table of what is published; nothing is run
python -m benchmarks.all --committed --markdown   the same as the README shows it

The goals are those of the full sizes: whether a quick run reaches them says nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import RESULTS, claimed, folder, markdown, options, table

FOLDER = Path(__file__).parent
LAST_LINES = 15


def modules() -> list[str]:
    """Every command of this folder but this one: files and packages that can be run by `python -m`."""
    files = [path.stem for path in FOLDER.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()]
    packages = [path.parent.name for path in FOLDER.glob("*/__main__.py")]
    return sorted({*files, *packages} - {Path(__file__).stem})


def run(module: str, quick: bool, output: Path, logs: Path) -> int:
    """One benchmark, what it prints kept in a file; its exit status."""
    command = [sys.executable, "-u", "-m", f"benchmarks.{module}", "--output", str(output)]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    with (logs / f"{module}.log").open("w") as log:
        return subprocess.run(
            [*command, *(["--quick"] if quick else [])],
            cwd=FOLDER.parent,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


def main() -> None:
    parser = options(__doc__)
    names = modules()
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="these alone")
    parser.add_argument("--committed", action="store_true", help="run nothing, show what is published")
    parser.add_argument("--markdown", action="store_true", help="in short, as the README has it")
    arguments = parser.parse_args()
    failed = []
    where = RESULTS
    if not arguments.committed:
        where = folder(arguments).resolve()
        logs = Path(tempfile.mkdtemp(prefix="kerasreg-benchmarks-logs-"))
        for number, name in enumerate(arguments.only, 1):
            print(f"[{number}/{len(arguments.only)}] {name} ...", end=" ", flush=True)
            start = time.perf_counter()
            status = run(name, arguments.quick, where, logs)
            print(f"{time.perf_counter() - start:.0f} s" + (f", FAILED ({status})" if status else ""))
            if status:
                failed.append(name)
                lines = (logs / f"{name}.log").read_text(errors="replace").splitlines()
                print(*(f"    {line}" for line in lines[-LAST_LINES:]), sep="\n")
        print(f"results in {where}, what each printed in {logs}\n")
    rows = claimed(where, details=not arguments.markdown)
    if rows:
        print((markdown if arguments.markdown else table)(rows))
    missed = [row["what"] for row in rows if row["reached"] == "no"]
    if not arguments.markdown:
        judged = sum(row["reached"] != "-" for row in rows)
        print(f"\n{judged - len(missed)} of {judged} goals reached", end="")
        print(f"; not: {'; '.join(missed)}" if missed else "")
        if arguments.quick and not arguments.committed:
            print("A quick run shows that the benchmarks run; the goals are those of the full sizes.")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
