"""The initialisation example runs from end to end, and its files can be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "initialization.py"


def test_it_runs_and_says_who_learned(tmp_path):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--output", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for wanted in ("zero-kernel in h0", "symmetric-units in h0", "kr.calibrate", "Where it cannot help"):
        assert wanted in done.stdout
    data = json.loads((tmp_path / "out" / "initialization.json").read_text())
    rows = {row["initialisation"]: row for row in data["rows"]}
    assert len(rows) == 8
    assert all(abs(rms - 1) < 1e-3 for rms in rows["calibrate"]["signal"])
    assert rows["zeros"]["signal"] == [0.0] * 6
    assert rows["N(0, 0.01)"]["signal"][-1] < 1e-3
    assert (tmp_path / "out" / "initialization.png").read_bytes().startswith(b"\x89PNG")
