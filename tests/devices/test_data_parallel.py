"""Every layer in two JAX processes is what it is in one, noise and all; the example shows the callbacks."""

import json

import keras
import pytest
from child_processes import close, finished, free_port, start

import kerasreg as kr

PROGRAM = "data_parallel_program.py"


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="processes of JAX")
def test_two_processes_train_what_one_trains(tmp_path):
    address = f"localhost:{free_port()}"
    together = [start("jax", PROGRAM, role, tmp_path, address) for role in (0, 1)]
    finished([*together, start("jax", PROGRAM, "single", tmp_path)])
    first, second, single = (
        json.loads((tmp_path / f"{role}.json").read_text()) for role in ("0", "1", "single")
    )
    assert first["layers"] == sorted(kr.layers.__all__)
    assert first == second
    close(first, single, 1e-5)
