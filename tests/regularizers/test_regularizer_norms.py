"""L1, L2 and elastic net: values by hand, the way they scale, and the loss that `fit` sees."""

import keras
import numpy as np
import pytest
from backend_tools import array, gradient

import kerasreg as kr

W = np.array([[1.0, -2.0, 0.0], [0.5, 3.0, -1.5]], "float32")
ABSOLUTE, SQUARES = 8.0, 1.0 + 4.0 + 0.25 + 9.0 + 2.25

BY_HAND = [
    (kr.regularizers.L1(0.1), 0.1 * ABSOLUTE),
    (kr.regularizers.L2(0.1), 0.1 * SQUARES),
    (kr.regularizers.ElasticNet(0.1, beta=3.0), 0.1 * (3.0 * SQUARES + ABSOLUTE)),
    (kr.regularizers.ElasticNet(0.1, beta=0.0), 0.1 * ABSOLUTE),
    (kr.regularizers.L1(0.0), 0.0),
]
NAMES = [repr(regularizer) for regularizer, _ in BY_HAND]


@pytest.mark.parametrize(("regularizer", "value"), BY_HAND, ids=NAMES)
def test_the_value_by_hand(regularizer, value):
    penalty = regularizer(keras.ops.convert_to_tensor(W))
    assert tuple(penalty.shape) == ()
    assert float(penalty) == pytest.approx(value, rel=1e-6)
    assert float(regularizer(W.reshape(1, 3, 2, 1))) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("factor", [-1.0, 0.5, 10.0])
@pytest.mark.parametrize(("cls", "degree"), [(kr.regularizers.L1, 1), (kr.regularizers.L2, 2)])
def test_it_scales_with_its_degree(cls, degree, factor):
    regularizer = cls(0.3)
    assert float(regularizer(factor * W)) == pytest.approx(
        abs(factor) ** degree * float(regularizer(W)), rel=1e-5
    )


def test_the_elastic_net_lies_between_the_two():
    for strength, beta in [(0.2, 0.5), (1.0, 4.0)]:
        whole = kr.regularizers.ElasticNet(strength, beta)
        parts = float(kr.regularizers.L1(strength)(W)) + float(kr.regularizers.L2(strength * beta)(W))
        assert float(whole(W)) == pytest.approx(parts, rel=1e-6)


def test_its_defaults_are_those_of_keras():
    for ours, theirs in [
        (kr.regularizers.L1(), keras.regularizers.L1()),
        (kr.regularizers.L2(), keras.regularizers.L2()),
    ]:
        assert float(ours(W)) == pytest.approx(float(theirs(keras.ops.convert_to_tensor(W))), rel=1e-6)


@pytest.mark.parametrize(("regularizer", "value"), BY_HAND[:4], ids=NAMES[:4])
def test_its_gradient_is_the_derivative_and_finite_at_zero(regularizer, value):
    l1 = 0.1 if not isinstance(regularizer, kr.regularizers.L2) else 0.0
    l2 = (value - l1 * ABSOLUTE) / SQUARES
    np.testing.assert_allclose(gradient(regularizer, W), l1 * np.sign(W) + 2.0 * l2 * W, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(gradient(regularizer, np.zeros((3, 3), "float32")), 0.0)


@pytest.mark.parametrize("regularizer", [kr.regularizers.L1(1.0), kr.regularizers.L2(1.0)])
def test_half_precision_does_not_overflow(regularizer):
    large = np.full((100, 100), 100.0, "float16")
    expected = 1e6 if isinstance(regularizer, kr.regularizers.L1) else 1e8
    assert float(regularizer(keras.ops.convert_to_tensor(large))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("strength", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.int64(2), 2])
def test_every_kind_of_number_is_a_strength(strength):
    regularizer = kr.regularizers.ElasticNet(strength, beta=strength)
    config = regularizer.get_config()
    assert {type(value) for value in config.values()} == {float}
    assert config["strength"] == float(strength)
    assert np.isfinite(array(regularizer(W)))


def test_repr_is_what_was_typed():
    assert repr(kr.regularizers.ElasticNet(0.1, beta=2)) == "ElasticNet(strength=0.1, beta=2.0)"


@pytest.mark.parametrize("regularizer", [kr.regularizers.L2(0.3), kr.regularizers.ElasticNet(0.2, beta=0.5)])
def test_fit_adds_the_penalty_to_the_loss(regularizer, rng):
    x, y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
    kernel = rng.normal(size=(4, 2)).astype("float32")

    def losses(kernel_regularizer):
        layer = keras.layers.Dense(2, kernel_regularizer=kernel_regularizer)
        model = keras.Sequential([keras.Input((4,)), layer])
        layer.set_weights([kernel, np.zeros(2)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        loss = model.fit(x, y, batch_size=16, verbose=0).history["loss"][0]
        return loss, layer.get_weights()[0]

    (plain, free), (penalised, pulled) = losses(None), losses(regularizer)
    strength, beta = regularizer.strength, getattr(regularizer, "beta", None)
    penalty = strength * np.square(kernel).sum() * (1.0 if beta is None else beta)
    penalty += 0.0 if beta is None else strength * np.abs(kernel).sum()
    assert penalised - plain == pytest.approx(penalty, rel=1e-4)
    # And the step goes down the penalty's slope as well.
    slope = 2.0 * strength * (1.0 if beta is None else beta) * kernel
    slope += 0.0 if beta is None else strength * np.sign(kernel)
    np.testing.assert_allclose(free - pulled, 0.1 * slope, rtol=1e-3, atol=1e-6)
