"""The ladder runs from end to end, its pure parts are right, and what we publish is what its runs say."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PUBLISHED = EXAMPLES / "results"
NAMES = ["Baseline", "BN-Baseline", "BN-x5", "BN-x30", "BN-x5-Sigmoid", "Sigmoid without BN"]


@pytest.fixture(scope="module")
def modules():
    """The example's two files, as `python examples/batch_norm_ladder.py` would find them."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import batch_norm_ladder
        import ladder_report

        yield batch_norm_ladder, ladder_report
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def ladder(modules):
    return modules[0]


@pytest.fixture
def report(modules):
    return modules[1]


def results(folder):
    return json.loads((folder / "batch_norm_ladder.json").read_text())


def call(ladder, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["batch_norm_ladder.py", *arguments])
    ladder.main()


def test_the_quick_run(ladder, tmp_path, monkeypatch, capsys):
    call(ladder, monkeypatch, "--quick", "--out", str(tmp_path))
    said = capsys.readouterr().out
    assert "runs to go: 6 of 6, 60 steps each" in said
    assert "says nothing about batch normalisation" in said
    assert "reproduced" not in said.lower()
    for name in NAMES:
        assert re.search(rf"^{re.escape(name)} ", said, flags=re.MULTILINE)
    content = results(tmp_path)
    assert [(r["row"], r["base_rate"], r["seed"]) for r in content["runs"]] == sorted(
        (name, 0.02, 1) for name in NAMES
    )
    assert all(len(r["accuracy"]) == 3 for r in content["runs"])
    (quick,) = content["ladders"]
    assert list(quick["table"]) == NAMES
    assert quick["verdicts"] == []
    assert quick["table"]["BN-x5"]["best"]["median"] > 50
    assert quick["table"]["Sigmoid without BN"]["best"]["median"] < 30
    picture = (tmp_path / "batch_norm_ladder.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000


def test_a_cut_off_command_goes_on_where_it_was(ladder, tmp_path):
    lost = {"BN-x5", "Baseline"}
    kept = [ladder.Run(name, 0.02, 1, (0.125, 0.25, 0.5)) for name in NAMES if name not in lost]
    (tmp_path / "out").mkdir()
    ladder.save(tmp_path / "out" / "batch_norm_ladder.json", ladder.QUICK, kept, ladders=[])
    command = [sys.executable, EXAMPLES / "batch_norm_ladder.py", "--quick", "--jobs", "2", "--out", "out"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "runs to go: 2 of 6" in done.stdout
    runs = results(tmp_path / "out")["runs"]
    assert sorted(r["row"] for r in runs) == sorted(NAMES)
    for entry in runs:
        assert (entry["accuracy"] == [0.125, 0.25, 0.5]) == (entry["row"] not in lost)
    assert next(r for r in runs if r["row"] == "BN-x5")["accuracy"][-1] > 0.5


def test_absent_data_are_said_in_one_sentence(ladder, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as refused:
        call(ladder, monkeypatch, "--data-dir", str(tmp_path), "--out", str(tmp_path / "out"))
    sentence = str(refused.value)
    assert sentence.startswith(f"Fashion-MNIST is not in {tmp_path}: give")
    assert "dataset-fashion-mnist" in sentence
    assert "tfds.load" in sentence
    assert "\n" not in sentence


def test_runs_of_another_setting_are_not_mixed_in(ladder, tmp_path):
    path = tmp_path / "batch_norm_ladder.json"
    one = ladder.Run("Baseline", 0.02, 1, (0.5, 0.75))
    ladder.save(path, ladder.QUICK, [one], ladders=[])
    assert ladder.finished(path, ladder.QUICK) == [one]
    with pytest.raises(SystemExit, match="another setting"):
        ladder.finished(path, ladder.FULL)
    assert ladder.finished(tmp_path / "none.json", ladder.FULL) == []


def test_schedule(ladder):
    rate = ladder.schedule(0.15, 6000)
    for step in (0, 1, 100, 3000, 6000):
        assert float(rate(step)) == pytest.approx(0.15 * math.exp(-4 * step / 6000), rel=1e-5)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_network(ladder, report, batch_norm):
    row = report.Row("any", batch_norm, 1, "sigmoid", 1.0, 1.0, "black")
    images = np.random.default_rng(0).uniform(3, 5, (50, 14, 14, 1)).astype("float32")
    model = ladder.build(images, row)
    assert model(images).shape == (50, 10)
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in kernels] == [16, 16, 16, 32, 32, 32, 64, 64]
    assert [layer.output.shape[1] for layer in kernels] == [14, 14, 14, 7, 7, 7, 4, 4]
    assert all(layer.use_bias != batch_norm for layer in kernels)
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(normalizations) == (8 if batch_norm else 0)
    assert keras.ops.convert_to_numpy(model.layers[0](images)).mean() == pytest.approx(0, abs=1e-5)


def test_images_are_means_of_squares(ladder, monkeypatch):
    import tensorflow as tf

    pixels = np.arange(2 * 28 * 28).reshape(2, 28, 28, 1).astype("uint8")
    monkeypatch.setattr(
        ladder.kr.datasets, "load", lambda *_, **__: tf.data.Dataset.from_tensor_slices((pixels, [3, 4]))
    )
    images, labels = ladder.load("fashion_mnist", "test", "a folder of this test's own")
    assert images.shape == (2, 14, 14, 1)
    for i, y, x in ((0, 0, 0), (1, 5, 13), (0, 13, 2)):
        block = pixels[i, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2, 0]
        assert images[i, y, x, 0] == pytest.approx(block.mean() / 255, rel=1e-6)
    assert labels.tolist() == [3, 4]


def test_steps_to_reach(report):
    assert report.steps_to_reach([0.1, 0.5, 0.4, 0.7], 0.5, every=100) == 200
    assert report.steps_to_reach([0.1, 0.5], 0.1, every=100) == 100
    assert report.steps_to_reach([0.1, 0.5], 0.51, every=100) == math.inf


def runs_of(report, curves):
    return [
        report.Run(name, 0.5, seed, tuple(curve))
        for name, by_seed in curves.items()
        for seed, curve in enumerate(by_seed)
    ]


def test_table(report):
    # Each seed has its own mark to reach, that of its baseline: 0.5, 0.6 and 0.4.
    curves = dict.fromkeys(NAMES, [[0.1, 0.1, 0.1]] * 3)
    curves["Baseline"] = [[0.1, 0.2, 0.5], [0.1, 0.6, 0.3], [0.1, 0.2, 0.4]]
    curves["BN-x5"] = [[0.5, 0.1, 0.9], [0.5, 0.55, 0.6], [0.4, 0.1, 0.1]]
    table = report.tabulate([*runs_of(report, curves), report.Run("Baseline", 9.0, 7, (1.0,))], 0.5, every=10)
    assert list(table) == NAMES
    assert table["Baseline"]["steps"] == {"median": 30, "low": 20, "high": 30}
    assert table["Baseline"]["ratio"] == 1
    assert table["BN-x5"]["steps"] == {"median": 10, "low": 10, "high": 30}
    assert table["BN-x5"]["ratio"] == 3
    assert table["BN-x5"]["best"] == pytest.approx({"median": 60, "low": 40, "high": 90})
    assert table["BN-x30"]["steps"]["median"] == math.inf
    assert table["BN-x30"]["ratio"] == 0


GOOD = {"steps": (6000, 4000, 2000, 3000, math.inf, math.inf), "best": (80, 81, 82, 83, 70, 15)}


def table_of(steps, best):
    columns = zip(NAMES, steps, best, strict=True)
    return {name: {"steps": {"median": s}, "best": {"median": b}} for name, s, b in columns}


def test_verdicts_hold_on_the_border(report):
    assert [holds for holds, _ in report.verdicts(table_of(**GOOD))] == [True] * 6


@pytest.mark.parametrize(
    ("column", "row", "value", "fallen"),
    [
        ("steps", 1, 4001, {0}),
        ("steps", 2, 2700, {1}),
        ("steps", 3, 1900, {2}),
        ("steps", 3, math.inf, {2}),
        ("best", 1, 80, {3}),
        ("best", 2, 80, {3}),
        ("best", 3, 80, {3}),
        ("best", 5, 15.1, {4}),
        ("best", 4, 69.9, {5}),
    ],
)
def test_each_verdict_falls_alone(report, column, row, value, fallen):
    changed = {key: list(values) for key, values in GOOD.items()}
    changed[column][row] = value
    told = report.verdicts(table_of(**changed))
    assert {i for i, (holds, _) in enumerate(told) if not holds} == fallen
    (said,) = (words for i, (_, words) in enumerate(told) if i in fallen)
    assert (report.count(value) if column == "steps" else f"{value:.1f}") in said


def test_report_puts_ours_beside_the_papers(report):
    curves = {name: [[0.1, 0.5 + i / 100]] * 2 for i, name in enumerate(NAMES)}
    table = report.tabulate(runs_of(report, curves), 0.5, every=3000)
    text = report.report({"base_rate": 0.5, "seeds": [0, 1], "table": table, "verdicts": [(False, "so")]})
    lines = text.splitlines()
    assert re.fullmatch(r"BN-x5 +6000 +1.0x +52.0 +2.1e6 +14.8x +73.0", lines[4])
    assert lines[-1] == "NOT REPRODUCED: so"


def test_the_published_figures_are_what_the_runs_say(ladder, report):
    path = PUBLISHED / "batch_norm_ladder.json"
    runs, content = ladder.finished(path, ladder.FULL), json.loads(path.read_text())
    assert len(runs) == len({run[:3] for run in runs}) == 36
    assert all(len(run.accuracy) == 60 for run in runs)
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for published, rate in zip(content["ladders"], ladder.FULL.base_rates, strict=True):
        table = report.tabulate(runs, rate, ladder.FULL.every)
        again = {"base_rate": rate, "seeds": [1, 2, 3], "table": table, "verdicts": report.verdicts(table)}
        assert json.loads(json.dumps(again).replace("Infinity", "null")) == published
        assert f"```text\n{report.report(again)}\n```" in told
