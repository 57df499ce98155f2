"""The sparsity example runs from end to end, and says what it found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras

SCRIPT = Path(__file__).parents[2] / "examples" / "sparsity.py"


def test_it_runs_and_finds_the_useless_inputs(tmp_path):
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
    for wanted in (
        "L1 in the loss",
        "largest difference of any weight",
        "parameters ->",
        "A gradient never ends",
    ):
        assert wanted in done.stdout
    name = f"sparsity-{keras.backend.backend()}"
    data = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for row in data["comparison"]:
        assert row["true inputs kept"] == 5
        by_gradient = row["penalty"] == "L1 in the loss"
        assert (
            (row["useless inputs exactly 0"] == 0)
            if by_gradient
            else (row["useless inputs exactly 0"] >= 190)
        )
    assert data["net"]["largest difference"] < 1e-4
