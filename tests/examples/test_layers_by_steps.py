"""The example draws both of its trainings, and says of each what it learned."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "layers_by_steps.py"


def test_a_training_is_drawn_and_summed_up(tmp_path):
    spec = importlib.util.spec_from_file_location("layers_by_steps_example", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    stats, accuracy = example.train(example.RATES["after"], epochs=1, log_dir=tmp_path)
    assert 0 <= accuracy <= 1
    names = [f"hidden_{depth}" for depth in range(1, 11)]
    assert [line.split()[0] for line in stats.summary().splitlines()[3:]] == [*names, "out"]
    assert len(stats.plot().axes) == 6
    assert (tmp_path / "activations.jsonl").stat().st_size
