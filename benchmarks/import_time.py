"""What `import kerasreg` adds to `import keras`: fresh processes, medians.

python -m benchmarks.import_time
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.report import claim, folder, options, publish

# In one process, so that the second import is timed by itself: between two processes, the time that keras
# takes varies by more than kerasreg takes at all.
PROGRAM = """
import time
start = time.perf_counter()
import keras
between = time.perf_counter()
import kerasreg
print(between - start, time.perf_counter() - between)
"""
GOAL_MS = 50.0


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the import adds, in milliseconds."""
    peer = f"import keras: {rows[0]['median ms']:.0f} ms"
    return [claim("import kerasreg, after keras", rows[1]["median ms"], "ms", peer, at_most=GOAL_MS)]


def once(environment: dict[str, str]) -> list[float]:
    """Milliseconds of both imports, in a fresh process."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [1000 * float(seconds) for seconds in done.stdout.split()[-2:]]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="fresh processes")
    args = parser.parse_args()
    rounds = 1 if args.quick else args.rounds
    with tempfile.TemporaryDirectory() as byte_code:
        # A user's second import reads byte code, also where the shell that asks here forbids writing it.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": byte_code}
        times = [once(environment) for _ in range(rounds + 1)]
    # The first one fills the disk cache and writes the byte code.
    keras_ms, added_ms = (statistics.median(column) for column in zip(*times[1:], strict=True))
    rows = [
        {"case": "import keras", "median ms": keras_ms, "ratio": 1.0},
        {"case": f"then import kerasreg (goal: at most {GOAL_MS:g} ms)", "median ms": added_ms}
        | {"ratio": added_ms / keras_ms},
    ]
    publish("import_time", rows, folder(args), claims(rows), rounds=rounds, goal_ms=GOAL_MS)


if __name__ == "__main__":
    main()
