"""Each engine of the example holds its claim, in processes of its own; a claim that fails says so."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "scale_out.py"
ENGINES = {"tensorflow": ["mirrored", "service"], "jax": ["data-parallel"]}
# Of a machine that does much else.
LIMIT = 600


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("scale_out_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("engine", ENGINES.get(keras.backend.backend(), []))
def test_the_claim_holds(engine):
    command = [sys.executable, str(SCRIPT), engine, "--quick", "--patience", "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert done.stdout.splitlines()[-1].startswith("held: ")


def test_a_difference_is_not_hidden(example, capsys):
    one = {"loss": np.array([1.0, 0.5]), "weights": np.ones(3)}
    for name, place in (("loss", 1), ("weights", 2)):
        two = {key: value.copy() for key, value in one.items()}
        assert example.compared(two, one, 1e-3)[1]
        two[name][place] += 0.01
        assert not example.compared(two, one, 1e-3)[1]
    assert not example.compared({**one, "loss": np.ones(1)}, one, 1e-3)[1]
    assert example.told("it held.", False) == 1
    assert capsys.readouterr().out == "DID NOT HOLD: it held.\n"


WHOLE = {"images": 90, "came": 90, "lost": 0, "strange": 0, "twice": 0, "difference": 0.0, "restarts": 0}
WHOLE |= {"longest wait": 0.1, "accuracy": 0.9, "loss": 0.3}
CUT = {**WHOLE, "came": 80, "lost": 10, "restarts": 1}


@pytest.mark.parametrize(
    ("command", "found", "status"),
    [
        ("whole_service", WHOLE, 0),
        ("whole_service", {**WHOLE, "lost": 1}, 1),
        ("whole_service", {**WHOLE, "twice": 1}, 1),
        ("whole_service", {**WHOLE, "difference": 1.0}, 1),
        ("killed_service", CUT, 0),
        ("killed_service", {**CUT, "twice": 1}, 1),
        ("killed_service", {**CUT, "restarts": 0}, 1),
        ("killed_service", {**CUT, "lost": 40}, 1),
        ("killed_service", {**CUT, "strange": 1}, 1),
    ],
)
def test_what_a_service_lost_is_said(example, monkeypatch, capsys, command, found, status):
    monkeypatch.setattr(example, "served", lambda *args, **options: found)
    assert getattr(example, command)(argparse.Namespace(limit=1e-3)) == status
    assert f"{found['lost']} never" in capsys.readouterr().out
