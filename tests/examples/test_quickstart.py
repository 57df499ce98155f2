"""The quickstart runs from end to end, and what it leaves behind can be read."""

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "quickstart.py"


def run(folder, *arguments):
    command = [sys.executable, "-W", "error::DeprecationWarning:kerasreg", str(SCRIPT), "--quick", *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_on_digits(tmp_path):
    output = run(tmp_path, "--log-dir", "log")
    accuracy = float(re.search(r"test accuracy: ([\d.]+)%", output)[1])
    assert accuracy > 50
    for wanted in (
        "healthy",
        "most certain test images",
        "least certain test images",
        "reloaded, it predicts the same",
    ):
        assert wanted in output
    assert "tensorboard.main --logdir log" in output
    lines = (tmp_path / "log" / "activations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 10]
    model = keras.models.load_model(tmp_path / "log" / "model.keras")
    probabilities = model.predict(np.zeros((2, 8, 8, 1)), verbose=0)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)


def test_on_a_folder_of_idx_files(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 450), ("t10k", 80)):
        labels = rng.integers(0, 10, count).astype("uint8")
        # Each class is a bar at a place of its own: learnable in two epochs.
        images = rng.integers(0, 60, (count, 28, 28)).astype("uint8")
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label + 3 : 2 * label + 6] = 250
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + labels.tobytes()
        )
    output = run(tmp_path, "--dataset", "fashion_mnist", "--data-dir", str(tmp_path), "--log-dir", "log")
    assert "of shape (28, 28, 1)" in output
    assert "test accuracy" in output


@pytest.mark.parametrize("arguments", [["--dataset", "no_such_data"]])
def test_an_unknown_dataset_is_said_plainly(tmp_path, arguments):
    command = [sys.executable, str(SCRIPT), "--quick", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no_such_data" in done.stderr.splitlines()[-1]
