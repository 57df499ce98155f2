"""A worker of a tf.data service that dies in mid-epoch costs what the service says, and no more."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import keras
import pytest

PATH = Path(__file__).parents[1] / "reliability" / "device_faults.py"
# The others take minutes, most of it in waiting: `python tests/reliability/device_faults.py`.
FAST = ("tf.data service: a worker is killed in mid-epoch and started again",)


@pytest.fixture(scope="module")
def faults():
    spec = spec_from_file_location("device_faults", PATH)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a service of TensorFlow's")
@pytest.mark.parametrize("name", FAST)
def test_nothing_is_lost_beyond_the_promise(faults, name, tmp_path):
    faults.FAULTS[name](tmp_path)


def test_each_fault_says_what_it_does(faults):
    assert all(fault.__doc__ for fault in faults.FAULTS.values())
    assert len(set(faults.FAULTS.values())) == len(faults.FAULTS)
