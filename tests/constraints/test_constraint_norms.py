"""Norm constraints against a loop over units."""

import keras
import numpy as np
import pytest
from backend_tools import array, wide_numbers

import kerasreg as kr

SHAPES = [(6, 5), (3, 3, 4, 5), (2, 3, 5), (5,)]


def by_unit(weights, change):
    """`change` applied to the incoming weights of each unit of the last axis."""
    result = weights.copy()
    for unit in range(weights.shape[-1]):
        result[..., unit] = change(weights[..., unit])
    return result


def kernel(rng, shape):
    # Units of very different norms, the first of them 0.
    return (rng.normal(size=shape) * np.linspace(0.0, 2.0, shape[-1])).astype("float32")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_max_norm_scales_down_what_is_too_long_and_leaves_the_rest(shape, bound, rng):
    w = kernel(rng, shape)
    found = array(kr.constraints.MaxNorm(bound)(w))
    expected = by_unit(w, lambda unit: unit * min(1.0, bound / max(np.sqrt((unit**2).sum()), 1e-30)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    norms = np.sqrt(np.square(w).sum(axis=tuple(range(w.ndim - 1))))
    np.testing.assert_array_equal(found[..., norms <= bound], w[..., norms <= bound])


@pytest.mark.parametrize("shape", SHAPES)
def test_unit_norm_scales_every_unit_but_those_that_are_zero(shape, rng):
    w = kernel(rng, shape)
    found = array(kr.constraints.UnitNorm()(w))
    expected = by_unit(w, lambda unit: unit / (np.sqrt((unit**2).sum()) or 1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    norms = np.sqrt(np.square(found).sum(axis=tuple(range(w.ndim - 1))))
    np.testing.assert_allclose(norms, [0.0, 1.0, 1.0, 1.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("constraint", [kr.constraints.MaxNorm(0.5), kr.constraints.UnitNorm()])
def test_doing_it_twice_is_doing_it_once(constraint, rng):
    once = array(constraint(kernel(rng, (4, 5))))
    np.testing.assert_allclose(array(constraint(once)), once, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, np.int64(0), [0], (0,), -2])
def test_an_axis_of_ones_own(axis, rng):
    w = rng.normal(size=(3, 4)).astype("float32")
    expected = w / np.sqrt(np.square(w).sum(axis=0, keepdims=True))
    np.testing.assert_allclose(array(kr.constraints.UnitNorm(axis)(w)), expected, rtol=1e-6)
    np.testing.assert_allclose(
        array(kr.constraints.UnitNorm([0, 1])(w)), w / np.sqrt(np.square(w).sum()), rtol=1e-6
    )


@pytest.mark.parametrize("cls", [kr.constraints.MaxNorm, kr.constraints.UnitNorm])
def test_an_axis_that_the_weights_do_not_have_is_refused(cls):
    with pytest.raises(ValueError, match=rf"`axis` of {cls.__name__}.*\[-2, 2\).*\(3, 4\), got \[2\]"):
        cls(axis=2)(np.ones((3, 4), "float32"))


def test_half_precision_neither_overflows_nor_vanishes():
    large, small = np.full((4, 1), 300.0, "float16"), np.full((4, 1), 1e-4, "float16")
    for weights in (large, small):
        found = kr.constraints.UnitNorm()(weights)
        assert keras.backend.standardize_dtype(found.dtype) == "float16"
        np.testing.assert_allclose(array(found), 0.5, rtol=1e-3)
    np.testing.assert_allclose(array(kr.constraints.MaxNorm(2.0)(large)), 1.0, rtol=1e-3)


def test_double_precision_stays():
    with wide_numbers():
        found = array(kr.constraints.UnitNorm()(keras.ops.convert_to_tensor(np.array([[1.0], [2.0]]))))
        np.testing.assert_allclose(found.ravel(), np.array([1.0, 2.0]) / np.sqrt(5.0), rtol=1e-14)


@pytest.mark.parametrize("layer", ["dense", "conv"])
def test_fit_keeps_every_units_norm_below_the_bound(layer, rng):
    constraint = kr.constraints.MaxNorm(0.1)
    made = {
        "dense": keras.layers.Dense(4, kernel_constraint=constraint),
        "conv": keras.layers.Conv2D(4, 3, kernel_constraint=constraint),
    }[layer]
    shape = {"dense": (6,), "conv": (5, 5, 2)}[layer]
    model = keras.Sequential([keras.Input(shape), made])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = rng.normal(size=(8, *shape)).astype("float32")
    y = np.full((8, *model.output_shape[1:]), 100.0, "float32")
    model.fit(x, y, verbose=0)
    weights = array(made.kernel)
    norms = np.sqrt(np.square(weights).sum(axis=tuple(range(weights.ndim - 1))))
    np.testing.assert_allclose(norms, 0.1, rtol=1e-5)
