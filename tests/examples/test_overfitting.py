"""The example on overfitting runs from end to end, and its figures are what they say."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "overfitting.py"


def test_it_runs_and_says_what_was_learned(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--output", "out"],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The bare net knows" in done.stdout
    assert "Best on new digits" in done.stdout
    data = json.loads((tmp_path / "out" / "overfitting.json").read_text())
    assert {row["cure"] for row in data["rows"]} == {
        "bare",
        "L2",
        "elastic net",
        "dropout",
        "augmentation",
        "all",
    }
    assert (tmp_path / "out" / "overfitting.png").read_bytes().startswith(b"\x89PNG")


def test_the_errors_are_those_of_the_pairs():
    spec = importlib.util.spec_from_file_location("overfitting", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    bare, cured = (0.90, 0.94), (0.91, 0.97)
    runs = [
        {"cure": name, "seed": seed, "train": 1.0, "test": tests[seed]}
        for name, tests in (("bare", bare), ("dropout", cured))
        for seed in (0, 1)
    ]
    rows = example.summarize(runs)
    assert rows[1]["gain"] == pytest.approx(0.02)
    # The deviation of 0.01 and 0.03, over the root of 2.
    assert rows[1]["gain error"] == pytest.approx(0.01)
    assert example.separation(rows[1]) == pytest.approx(2.0)
    assert rows[0]["test error"] == pytest.approx(0.02)
    assert rows[1]["gap"] == pytest.approx(0.06)
    assert math.isnan(example.summarize(runs[::2])[0]["test error"])
