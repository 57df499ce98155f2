"""The example's training goes on where it stood; that it survives a kill, tests/reliability shows."""

import importlib.util
import shutil
from pathlib import Path

import keras

SCRIPT = Path(__file__).parents[2] / "examples" / "resume.py"


def test_a_training_goes_on_and_is_compared(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("resume_example", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder, before = tmp_path / "training", tmp_path / "before"
    # Layers have the names that they have in a process of their own.
    clear = keras.backend.clear_session
    clear()
    example.train(folder, 1, example.OURS)
    shutil.copytree(folder, before)
    # Once more it trains nothing, and one epoch more is another training.
    clear()
    example.train(folder, 1, example.OURS)
    same = example.compare(folder, before)
    assert same["variables"] > 20
    assert same["different"] == 0
    clear()
    example.train(folder, 2, example.OURS)
    assert 0 < example.compare(folder, before)["different"] <= same["variables"]
    assert example.steps_shown(folder) == {0, 1, 10, 11}
    lines = capsys.readouterr().out.split("\n")
    assert [line for line in lines if line.startswith("begin")] == ["begin 0", "begin 10", "begin 10"]
    assert lines.count("step") == 20
