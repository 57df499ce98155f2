"""Fixtures that every test shares."""

import os

# Warnings of the C++ runtimes are not Python warnings, and would drown the tests' own output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run():
    keras.utils.set_random_seed(0)


# Folders whose tests compile many small programs, each run once.
_SELDOM_RUN = {"diagnostics", "initialization", "initializers", "regularizers"}


@pytest.fixture(autouse=True)
def _compile_quickly(request):
    """On JAX, where compiling what runs once takes most of the time, leave out what makes it run fast."""
    if keras.backend.backend() != "jax" or request.path.parent.name not in _SELDOM_RUN:
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
