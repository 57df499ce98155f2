"""The group lasso: NumPy's norms, every rank, whole groups, and no NaN where a group is 0."""

import numpy as np
import pytest
from backend_tools import gradient

import kerasreg as kr


@pytest.mark.parametrize(
    ("shape", "axis", "over"),
    [
        ((5, 3), 0, 0),
        ((5, 3), 1, 1),
        ((5, 3), None, 0),
        ((2, 3, 4, 5), None, (0, 1, 2)),
        ((2, 3, 4, 5), (0, 1), (0, 1)),
        ((2, 3, 4), -1, -1),
    ],
)
def test_it_is_the_sum_of_numpys_norms(shape, axis, over, rng):
    weights = rng.normal(size=shape).astype("float32")
    expected = 0.3 * np.sqrt(np.square(weights).sum(axis=over)).sum()
    assert float(kr.regularizers.GroupLasso(0.3, axis)(weights)) == pytest.approx(expected, rel=1e-5)


def test_a_vector_has_groups_of_one_weight():
    assert float(kr.regularizers.GroupLasso(1.0)(np.array([3.0, -4.0], "float32"))) == pytest.approx(7.0)


def test_its_gradient_is_the_direction_of_each_group_and_0_at_0(rng):
    weights = rng.normal(size=(4, 3)).astype("float32")
    weights[:, 1] = 0.0
    norms = np.linalg.norm(weights, axis=0)
    expected = 0.3 * weights / np.where(norms > 0, norms, 1.0)
    np.testing.assert_allclose(
        gradient(kr.regularizers.GroupLasso(0.3), weights), expected, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_neither_tiny_nor_huge_weights_are_lost(size):
    weights = np.array([[3.0], [4.0]], "float32") * np.float32(size)
    assert float(kr.regularizers.GroupLasso(1.0)(weights)) == pytest.approx(5.0 * size, rel=1e-5)
    np.testing.assert_allclose(gradient(kr.regularizers.GroupLasso(1.0), weights), [[0.6], [0.8]], rtol=1e-5)


def test_half_precision_does_not_overflow():
    large = np.full((100, 2), 6000.0, "float16")
    assert float(kr.regularizers.GroupLasso(1.0)(large)) == pytest.approx(120000.0, rel=1e-5)


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (0, -2)])
def test_axes_that_do_not_fit_are_refused(axis):
    with pytest.raises(ValueError, match=r"`axis` of GroupLasso must be .*\(2, 3\)"):
        kr.regularizers.GroupLasso(1.0, axis)(np.ones((2, 3), "float32"))
