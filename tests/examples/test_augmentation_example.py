"""The example on augmentation runs from end to end, and its scenes and figures are what they say."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "augmentation.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("augmentation_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    assert "one bilinear warp" in done.stdout
    assert "What was learned" in done.stdout
    found = json.loads((tmp_path / "out" / "augmentation.json").read_text())
    assert [row["pipeline"] for row in found["rows"]] == [
        "none",
        "geometry",
        "geometry and light",
        "with cut-outs too",
    ]
    for name in ("augmentation_draws", "augmentation_targets"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_gains_are_paired_and_named(example):
    runs = [
        {"pipeline": name, "seed": seed, "train": 1.0, "test": tests[seed]}
        for name, tests in {"none": (0.8, 0.9), "geometry": (0.85, 0.97), "light": (0.7, 0.78)}.items()
        for seed in (0, 1)
    ]
    rows = example.summarize(runs)
    assert rows[1]["gain"] == pytest.approx(0.06)
    assert rows[1]["gain error"] == pytest.approx(0.01)
    text = example.lessons(rows, {"name": "digits"}, 100)
    assert "geometry gains +6.00 points (+- 1.00)" in text
    assert "light costs -11.00" in text
    assert "Best: geometry, which spares 40%" in text


def test_the_index_shows_what_is_published(example):
    published = json.loads((SCRIPT.parent / "results" / "augmentation.json").read_text())
    shown = (SCRIPT.parent / "README.md").read_text()
    assert example.table(published["rows"]) in shown
    assert published["learned"][-1] in shown


def test_a_single_run_is_given_no_spread_and_no_verdict(example):
    runs = [{"pipeline": name, "seed": 1, "train": 1.0, "test": 0.8} for name in ("none", "geometry")]
    rows = example.summarize(runs)
    assert "nan" not in example.table(rows) + example.lessons(rows, {"name": "digits"}, 100)
    assert "geometry had, in a single run, +0.00 points" in example.lessons(rows, {"name": "digits"}, 100)


def test_a_scene_is_consistent(example):
    images = np.zeros((10, 8, 8, 1), "uint8")
    images[:, 1:6, 2:7] = 255
    data = {"train": (images, np.arange(10))}
    scene = example.scene(data, 0)
    boxes = scene["bounding_boxes"]["boxes"]
    for number, (left, top, right, bottom) in enumerate(boxes.astype(int), 1):
        inside = scene["segmentation_masks"][top:bottom, left:right, 0]
        assert np.all(inside == number)
        assert (right - left, bottom - top) == (5, 5)
        corners = scene["keypoints"][4 * (number - 1) : 4 * number, :2]
        assert {tuple(point) for point in corners} == {
            (left, top),
            (right, top),
            (right, bottom),
            (left, bottom),
        }
