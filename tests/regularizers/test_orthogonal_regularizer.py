"""Right angles: Keras' own formula for matrices, every other rank, and what lengths do not matter for."""

import keras
import numpy as np
import pytest
from backend_tools import gradient

import kerasreg as kr


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
def test_a_matrix_costs_what_it_costs_with_keras(shape, mode, rng):
    weights = keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
    theirs = keras.regularizers.OrthogonalRegularizer(0.3, mode)(weights)
    assert float(kr.regularizers.Orthogonal(0.3, mode)(weights)) == pytest.approx(float(theirs), rel=1e-5)


def test_a_kernel_of_any_rank_is_a_matrix_of_units(rng):
    weights = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    units = weights.reshape(-1, 5).T
    unit = units / np.linalg.norm(units, axis=1, keepdims=True)
    expected = 0.3 * np.abs(unit @ unit.T - np.eye(5)).sum() / 20
    assert float(kr.regularizers.Orthogonal(0.3, "columns")(weights)) == pytest.approx(expected, rel=1e-5)


def test_right_angles_cost_nothing_whatever_the_lengths(rng):
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype("float32")[:, :3] * [1.0, 5.0, 0.1]
    assert float(kr.regularizers.Orthogonal(1.0, "columns")(basis)) == pytest.approx(0.0, abs=1e-6)
    equal = np.repeat(basis[:, :1], 3, axis=1)
    assert float(kr.regularizers.Orthogonal(1.0, "columns")(equal)) == pytest.approx(1.0, rel=1e-5)


def test_zero_vectors_and_single_units_are_finite():
    weights = np.array([[1.0, 0.0], [1.0, 0.0]], "float32")
    regularizer = kr.regularizers.Orthogonal(1.0, "columns")
    assert float(regularizer(weights)) == 0.0
    assert np.isfinite(gradient(regularizer, weights)).all()
    assert float(regularizer(np.ones((3, 1), "float32"))) == 0.0
    assert float(regularizer(np.ones(3, "float32"))) == 0.0


def test_its_gradient_turns_two_vectors_apart():
    weights = np.array([[1.0, 1.0], [0.0, 1.0]], "float32")
    stepped = weights - 0.1 * gradient(kr.regularizers.Orthogonal(1.0, "columns"), weights)
    cosine = [abs(w[:, 0] @ w[:, 1]) / np.prod(np.linalg.norm(w, axis=0)) for w in (weights, stepped)]
    assert cosine[1] < cosine[0] - 0.01
