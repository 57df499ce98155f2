"""The diagnosis example runs from end to end: a fault, the edit that names it, and a training without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "diagnose.py"


def test_it_runs_and_cures(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--cases", "zeros", "rate", "--output", "out"],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for wanted in ("What is wrong:", "What to do:", "Calibrated('relu')", "try 0.0009", "2 of 2 faults"):
        assert wanted in done.stdout
    data = json.loads((tmp_path / "out" / "diagnose.json").read_text())
    assert [case["case"] for case in data["cases"]] == ["zeros", "rate"]
    for case in data["cases"]:
        assert case["edit"]
        assert case["cured"]["findings"] == []
        assert case["cured"]["new_accuracy"] > case["sick"]["new_accuracy"] + 0.2
