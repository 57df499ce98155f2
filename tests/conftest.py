"""Fixtures that every test shares."""

import os

# Warnings of the C++ runtimes are not Python warnings, and would drown the tests' own output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A test compiles much and runs it once or twice: on JAX, what makes it run fast took most of the time.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import keras
import numpy as np
import pytest

# Scripts for `make types` and `make dist`, no tests of this suite.
collect_ignore = ["smoke", "typing"]


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
