"""Fixtures that every test shares."""

import os

# Warnings of the C++ runtimes are not Python warnings, and would drown the tests' own output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A test compiles much and runs it once or twice: on JAX, what makes it run fast took most of the time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import keras
import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run; HYPOTHESIS_PROFILE=thorough draws others, and many more.
settings.register_profile("quick", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# Scripts for `make types` and `make dist`, no tests of this suite.
collect_ignore = ["smoke", "typing"]
# Programs of tests that start processes: one parts the processor as soon as it is imported.
collect_ignore_glob = ["*_program.py", "reliability/resumable.py", "reliability/bare.py"]


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
