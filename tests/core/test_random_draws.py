"""Draws from `keras.random`, handed to whoever asks for them, and made of uniform numbers."""

import threading

import keras
import numpy as np
import pytest
from backend_tools import array
from scipy import stats

from kerasreg._core import random_draws
from kerasreg._core.private import backend_random
from kerasreg._core.random_draws import NAMES, from_uniform, intercept_draws

R = keras.random
GRID = (np.arange(20_000) + 0.5).astype("float32") / 20_000


def on_a_grid(shape):
    """Numbers that lie evenly in [0, 1), instead of random ones."""
    assert np.prod(shape) == len(GRID)
    return keras.ops.reshape(GRID, shape)


def replaced(name, original, arguments):
    return from_uniform(name, arguments, on_a_grid)


DISTRIBUTIONS = {
    "uniform": (lambda: R.uniform((20_000,), -1.0, 3.0), stats.uniform(-1, 4)),
    "normal": (lambda: R.normal((100, 200), 2.0, 0.5), stats.norm(2, 0.5)),
    "truncated_normal": (lambda: R.truncated_normal((20_000,), 1.0, 3.0), stats.truncnorm(-2, 2, 1, 3)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_from_uniform_numbers_has_its_quantiles(name):
    draw, distribution = DISTRIBUTIONS[name]
    with intercept_draws(replaced):
        found = array(draw())
    np.testing.assert_allclose(found.ravel(), distribution.ppf(GRID), rtol=1e-3, atol=2e-3)


def test_whole_numbers_come_equally_often():
    with intercept_draws(replaced):
        whole = array(R.randint((20_000,), -2, 3))
    np.testing.assert_array_equal(np.bincount(whole + 2), [4000] * 5)


def test_dropout_keeps_its_shape_and_its_type():
    x = keras.ops.cast(np.ones((200, 4, 25)), "float16")
    with intercept_draws(replaced):
        every = R.dropout(x, 0.25)
    assert keras.backend.standardize_dtype(every.dtype) == "float16"
    values, counts = np.unique(array(every), return_counts=True)
    np.testing.assert_allclose(values, [0, 1 / 0.75], rtol=1e-3)
    np.testing.assert_array_equal(counts, [5000, 15_000])

    def of_100(shape):
        assert tuple(shape) == (4, 1, 25)
        return keras.ops.reshape((np.arange(100) + 0.5).astype("float32") / 100, shape)

    with intercept_draws(lambda name, original, arguments: from_uniform(name, arguments, of_100)):
        shared = array(R.dropout(np.ones((4, 6, 25), "float32"), 0.25, noise_shape=(None, 1, None)))
    np.testing.assert_array_equal(shared, np.repeat(shared[:, :1], 6, axis=1))
    assert (shared == 0).sum() == 25 * 6


def test_classes_come_as_often_as_their_probabilities(rng):
    numbers = rng.uniform(size=(2, 5000, 3)).astype("float32")
    probabilities = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
    with intercept_draws(lambda name, original, arguments: from_uniform(name, arguments, lambda s: numbers)):
        drawn = array(R.categorical(np.log(probabilities).astype("float32"), 5000))
    shares = np.stack([np.bincount(row, minlength=3) / 5000 for row in drawn])
    np.testing.assert_allclose(shares, probabilities, atol=0.03)


@pytest.mark.parametrize("name", ["beta", "binomial", "gamma", "shuffle"])
def test_other_distributions_are_refused(name):
    with pytest.raises(KeyError):
        from_uniform(name, {}, on_a_grid)


def test_only_this_thread_and_only_inside():
    originals = {name: getattr(backend_random(), name) for name in NAMES}
    seen, elsewhere = [], []

    def handler(name, original, arguments):
        seen.append(name)
        return original(**arguments)

    with intercept_draws(handler):
        thread = threading.Thread(target=lambda: elsewhere.append(array(R.normal((2,), seed=1))))
        thread.start()
        thread.join()
        assert seen == []
        inner = []
        with intercept_draws(lambda name, original, arguments: inner.append(name)):
            R.uniform((2,), seed=1)
        np.testing.assert_array_equal(array(R.normal((2,), seed=1)), elsewhere[0])
    assert (seen, inner) == (["normal"], ["uniform"])
    with pytest.raises(ArithmeticError), intercept_draws(handler):
        raise ArithmeticError
    assert {name: getattr(backend_random(), name) for name in NAMES} == originals
    assert random_draws._users == 0
