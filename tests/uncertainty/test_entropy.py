"""Entropies against SciPy and against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

import kerasreg as kr

probabilities = arrays("float64", (4, 3, 5), elements=st.floats(1e-6, 1.0)).map(
    lambda a: a / a.sum(-1, keepdims=True)
)


@given(probabilities)
def test_against_scipy_and_the_bounds(p):
    total, data, weights = (
        figure(p)
        for figure in (
            kr.uncertainty.predictive_entropy,
            kr.uncertainty.expected_entropy,
            kr.uncertainty.mutual_information,
        )
    )
    np.testing.assert_allclose(total, stats.entropy(p.mean(0), axis=-1), atol=1e-9)
    np.testing.assert_allclose(data, stats.entropy(p, axis=-1).mean(0), atol=1e-9)
    np.testing.assert_allclose(data + weights, total, atol=1e-9)
    assert (weights >= 0).all()
    assert (total <= np.log(5) + 1e-9).all()


def test_a_zero_probability_has_no_share():
    assert kr.uncertainty.predictive_entropy(np.array([[[1.0, 0.0]]])) == 0.0


@pytest.mark.parametrize(
    "bad", [np.ones((2, 3, 4)), np.ones(3), np.full((2, 2, 2), np.nan), np.zeros((0, 3, 2))]
)
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match=r"`samples` of (mutual_information|predictive_entropy)"):
        kr.uncertainty.mutual_information(bad)
