"""Beta, gamma and Dirichlet numbers against SciPy: their quantiles, their moments, and under XLA."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from kerasreg.augment.distributions import beta_quantile, dirichlet, gamma_quantile
from kerasreg.augment.draws import lane_words, uniforms

# Multiples of 2**-24, the two ends among them.
PLACES = np.unique(
    np.r_[0, 1, 2 ** np.arange(1, 24), 2**24 - 2 ** np.arange(24), np.arange(0, 2**24, 99_991)]
)
UNIFORM = np.float32(PLACES * 2.0**-24)
MIDDLES = (PLACES + 0.5) * 2.0**-24


def drawn(count, columns):
    lanes = lane_words(["draw"], [columns])
    return uniforms(3, lanes, tf.constant(0, tf.int64), tf.range(count, dtype=tf.int64))


def assert_close(ours, exact, smallest_parameter):
    np.testing.assert_allclose(ours, exact, rtol=2e-3, atol=1e-30)
    seen = (exact > 1e-20) & (exact < 1 - 1e-3)
    np.testing.assert_allclose(ours[seen], exact[seen], rtol=3e-4 if smallest_parameter >= 0.1 else 2e-3)
    assert np.all(np.diff(ours) >= 0)


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1), (0.2, 0.2), (0.4, 0.4), (8, 8), (2, 0.5), (0.1, 3), (1e3, 1e3), (0.01, 0.01)]
)
def test_beta_is_scipys_quantile_in_both_tails(a, b):
    ours = beta_quantile(UNIFORM, a, b).numpy()
    # SciPy's own inverse is for the halves where it has digits.
    exact = np.where(
        MIDDLES < 0.5, special.betaincinv(a, b, MIDDLES), 1 - special.betaincinv(b, a, 1 - MIDDLES)
    )
    assert_close(ours, exact, min(a, b))
    assert 0 <= ours[0] <= ours[-1] <= 1


@pytest.mark.parametrize("shape", [0.01, 0.2, 1, 2.5, 40, 1e4])
def test_gamma_is_scipys_quantile(shape):
    ours = gamma_quantile(UNIFORM, shape).numpy()
    exact = np.where(
        MIDDLES < 0.5, special.gammaincinv(shape, MIDDLES), special.gammainccinv(shape, 1 - MIDDLES)
    )
    assert_close(ours, exact, shape)


@settings(max_examples=10, deadline=None)
@given(a=st.floats(0.05, 50), b=st.floats(0.05, 50))
def test_the_share_below_a_quantile_is_the_uniform_number(a, b):
    quantile = beta_quantile(UNIFORM, a, b).numpy().astype(float)
    share = special.betainc(a, b, quantile)
    inside = (quantile > 1e-30) & (quantile < 0.99)
    np.testing.assert_allclose(share[inside], MIDDLES[inside], atol=2e-4)


def test_numbers_follow_their_distributions():
    uniform = drawn(20_000, 3)
    assert stats.kstest(beta_quantile(uniform[:, 0], 0.3, 0.7), stats.beta(0.3, 0.7).cdf).pvalue > 1e-3
    assert stats.kstest(gamma_quantile(uniform[:, 1], 1.7), stats.gamma(1.7).cdf).pvalue > 1e-3


@pytest.mark.parametrize("concentration", [0.2, 1.0, 5.0])
def test_dirichlet_weights_have_its_moments(concentration):
    weights = dirichlet(drawn(20_000, 3), concentration).numpy().astype(float)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    exact = stats.dirichlet([concentration] * 3)
    np.testing.assert_allclose(weights.mean(0), exact.mean(), atol=0.01)
    np.testing.assert_allclose(np.cov(weights.T), exact.cov(), atol=0.01)
    # One weight of three is a beta number.
    one = stats.beta(concentration, 2 * concentration)
    assert stats.kstest(weights[:, 1], one.cdf).pvalue > 1e-3


def test_a_tiny_concentration_picks_one_weight_and_never_divides_by_zero():
    weights = dirichlet(drawn(500, 4), 1e-3).numpy()
    assert np.all(np.isfinite(weights))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert (weights.max(-1) > 0.99).mean() > 0.95


def test_xla_compiles_them_inside_a_function():
    function = tf.function(lambda u: (beta_quantile(u, 0.6, 0.9), gamma_quantile(u, 3.3)), jit_compile=True)
    for compiled, plain in zip(
        function(tf.constant(UNIFORM)),
        (beta_quantile(UNIFORM, 0.6, 0.9), gamma_quantile(UNIFORM, 3.3)),
        strict=True,
    ):
        np.testing.assert_allclose(compiled, plain, rtol=2e-4, atol=1e-30)
