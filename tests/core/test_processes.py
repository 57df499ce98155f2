"""Of several processes one writes; nobody else is asked whether there are any."""

from types import SimpleNamespace

import keras
import pytest

from kerasreg._core.processes import is_first_process


def test_alone_is_first():
    assert is_first_process()
    assert is_first_process(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))


@pytest.mark.parametrize("first", [True, False])
def test_what_the_backend_says(first, monkeypatch):
    model = None
    match keras.backend.backend():
        case "jax":
            monkeypatch.setattr("jax.process_index", lambda: 0 if first else 1)
        case "tensorflow":
            extended = SimpleNamespace(should_save_summary=first)
            model = SimpleNamespace(distribute_strategy=SimpleNamespace(extended=extended))
        case "torch":
            monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
            monkeypatch.setattr("torch.distributed.get_rank", lambda: 0 if first else 1)
    assert is_first_process(model) is first
