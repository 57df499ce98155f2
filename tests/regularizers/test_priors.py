"""Priors against SciPy's densities: equal up to one constant, wherever the weights lie."""

import numpy as np
import pytest
from backend_tools import gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import kerasreg as kr

SCALES = st.floats(0.1, 10.0)
COUNTS = st.integers(1, 1000)
WEIGHTS = st.lists(st.floats(-20.0, 20.0, width=32), min_size=4, max_size=4)


def check(prior, density, weights, count):
    weights = np.array(weights, "float32").reshape(2, 2)

    def energy(w):
        return -density.logpdf(w.astype("float64")).sum() / count

    # The constant is what the density says of W = 0.
    expected = energy(weights) - energy(np.zeros_like(weights))
    assert float(prior(weights)) == pytest.approx(expected, rel=2e-5, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(SCALES, COUNTS, WEIGHTS)
def test_the_gaussian_is_scipys(scale, count, weights):
    check(kr.regularizers.GaussianPrior(scale, count), stats.norm(scale=scale), weights, count)


@settings(max_examples=25, deadline=None)
@given(SCALES, COUNTS, WEIGHTS)
def test_the_laplacian_is_scipys(scale, count, weights):
    check(kr.regularizers.LaplacePrior(scale, count), stats.laplace(scale=scale), weights, count)


@settings(max_examples=25, deadline=None)
@given(SCALES, COUNTS, WEIGHTS, st.floats(0.5, 30.0))
def test_students_is_scipys(scale, count, weights, df):
    prior = kr.regularizers.StudentTPrior(scale, count, df=df)
    check(prior, stats.t(df, scale=scale), weights, count)


def test_two_of_them_are_old_friends(rng):
    weights = rng.normal(size=(3, 4)).astype("float32")
    pairs = [
        (kr.regularizers.GaussianPrior(0.5, 20), kr.regularizers.L2(1 / (2 * 0.25 * 20))),
        (kr.regularizers.LaplacePrior(0.5, 20), kr.regularizers.L1(1 / (0.5 * 20))),
    ]
    for prior, norm in pairs:
        assert float(prior(weights)) == pytest.approx(float(norm(weights)), rel=1e-6)


PRIORS = [kr.regularizers.GaussianPrior, kr.regularizers.LaplacePrior, kr.regularizers.StudentTPrior]


@pytest.mark.parametrize("cls", PRIORS)
def test_it_is_flat_at_0_and_finite_in_half_precision(cls):
    np.testing.assert_array_equal(gradient(cls(0.1, 1), np.zeros((3, 3), "float32")), 0.0)
    assert np.isfinite(float(cls(0.01, 1)(np.full((50, 50), 60000.0, "float16"))))


def test_students_lets_large_weights_go():
    pull = np.abs(gradient(kr.regularizers.StudentTPrior(1.0, 1), np.array([1.0, 100.0], "float32")))
    assert pull[1] < pull[0] / 20
