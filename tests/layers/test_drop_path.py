"""DropPath: whole rows come or go, each with the paper's probability."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg.layers.drop_path import drop_path

DropPath = kr.layers.DropPath


@pytest.mark.parametrize("shape", [(2000,), (2000, 3), (2000, 2, 3, 4)])
@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_a_row_is_dropped_whole_or_scaled_whole(shape, rate, rng):
    x = rng.uniform(1.0, 2.0, shape).astype("float32")
    factor = (array(DropPath(rate, seed=1)(x, training=True)) / x).reshape(len(x), -1)
    np.testing.assert_allclose(factor.max(axis=1), factor.min(axis=1), rtol=1e-6)
    dropped = factor[:, 0] == 0
    np.testing.assert_allclose(factor[~dropped], 1 / (1 - rate), rtol=1e-6)
    # A binomial share; then E[y] = x, and Var(y) = x^2 p / (1 - p).
    assert abs(dropped.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / len(x))


def test_without_scaling_the_rows_that_stay_are_untouched(rng):
    x = rng.normal(size=(50, 4)).astype("float32")
    y = array(DropPath(0.5, scale_by_keep=False, seed=0, mc=True)(x))
    dropped = (y == 0).all(axis=1)
    assert 10 < dropped.sum() < 40
    np.testing.assert_array_equal(y[~dropped], x[~dropped])


def test_the_numbers_decide(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    u = np.array([[0.0], [0.29], [0.31], [0.99]], "float32")
    y = array(drop_path(keras.ops.convert_to_tensor(x), 0.3, lambda shape: keras.ops.reshape(u, shape)))
    np.testing.assert_array_equal(y[:2], 0.0)
    np.testing.assert_allclose(y[2:], x[2:] / 0.7, rtol=1e-6)


def test_what_is_dropped_may_be_infinite():
    x = np.full((64, 2), np.inf, "float32")
    assert set(array(DropPath(0.5, seed=0, mc=True)(x)).ravel().tolist()) == {0.0, np.inf}


def test_training_drops():
    # The branch starts at the identity: a dropped row leaves 1 of an output of 0 or 2.
    dense = keras.layers.Dense(4, kernel_initializer="identity", use_bias=False)
    drop = DropPath(0.5, seed=0)
    model = keras.Sequential([keras.Input((4,)), dense, drop])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    ones = np.ones((64, 4), "float32")
    assert model.fit(ones, ones, verbose=0).history["loss"][0] == pytest.approx(1.0, abs=1e-6)


def test_rates_that_rise_with_depth():
    assert DropPath.linear_rates(4, 0.2) == pytest.approx([0.05, 0.1, 0.15, 0.2])
    # Huang et al.: survival of block l of L is 1 - l / L (1 - p_L).
    survival = [1 - level / 54 * (1 - 0.5) for level in range(1, 55)]
    assert [1 - rate for rate in DropPath.linear_rates(54, 0.5)] == pytest.approx(survival)
    # timm: linspace(0, rate, depth).
    assert DropPath.linear_rates(12, 0.1, from_zero=True) == pytest.approx(np.linspace(0, 0.1, 12))
    assert DropPath.linear_rates(1, 0.1) == [0.1]
    assert DropPath.linear_rates(1, 0.1, from_zero=True) == [0.0]
    for rate in DropPath.linear_rates(3, 0.0):
        assert DropPath(rate).rate == 0.0


@pytest.mark.parametrize(
    ("bad", "argument", "shown"),
    [((0, 0.1), "depth", "0"), ((2.5, 0.1), "depth", "2.5"), ((3, 1.0), "max_rate", "1.0")],
)
def test_bad_depths_and_rates(bad, argument, shown):
    with pytest.raises(ValueError, match=f"`{argument}` of DropPath.linear_rates must be .* got {shown}"):
        DropPath.linear_rates(*bad)
