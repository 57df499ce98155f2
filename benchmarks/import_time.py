"""What `import kerasreg` costs beside `import keras`: fresh processes, in turn, medians.

python -m benchmarks.import_time
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from benchmarks.report import publish

# Inside the process, so that the interpreter's own start does not count.
CLOCK = "import time; start = time.perf_counter(); {imports}; print(time.perf_counter() - start)"
CASES = {"import keras": "import keras", "import keras, kerasreg": "import keras, kerasreg"}
GOAL_MS = 50.0


def seconds(imports: str) -> float:
    program = CLOCK.format(imports=imports)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="processes of each kind")
    rounds = parser.parse_args().rounds
    for imports in CASES.values():
        seconds(imports)  # fills the disk cache and writes the byte code
    times = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, imports in CASES.items():
            times[name].append(seconds(imports))
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    bare, with_ours = medians.values()
    # Paired rounds: what the machine does meanwhile meets both of a pair.
    added = 1000 * statistics.median(b - a for a, b in zip(*times.values(), strict=True))
    rows = [
        {"case": "import keras", "median ms": bare, "ratio": 1.0},
        {"case": "import keras, kerasreg", "median ms": with_ours, "ratio": with_ours / bare},
        {"case": f"added (goal: at most {GOAL_MS:g})", "median ms": added, "ratio": added / bare},
    ]
    publish("import_time", rows, rounds=rounds, goal_ms=GOAL_MS)


if __name__ == "__main__":
    main()
