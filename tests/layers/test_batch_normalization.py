"""Batch normalisation against the lecture's equations, written as loops."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr


def lecture(batches, alpha, gamma, beta, epsilon, mu, variance):
    """Outputs of training on the batches one after the other, and the moving averages after them."""
    outputs = []
    mu, variance = mu.copy(), variance.copy()
    for batch in batches:
        y = np.empty_like(batch)
        for j in range(batch.shape[1]):
            mean = sum(batch[:, j]) / len(batch)
            spread = sum((value - mean) ** 2 for value in batch[:, j]) / len(batch)
            y[:, j] = gamma[j] * (batch[:, j] - mean) / np.sqrt(spread + epsilon) + beta[j]
            mu[j] = alpha * mean + (1 - alpha) * mu[j]
            variance[j] = alpha * spread + (1 - alpha) * variance[j]
        outputs.append(y)
    return outputs, mu, variance


def batches(rng, count=5, rows=7, features=3):
    return [rng.normal([0, 3, -5], [1, 2, 0.5], (rows, features)) for _ in range(count)]


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0])
def test_it_computes_the_lectures_equations(alpha, rng):
    data = batches(rng)
    gamma, beta = np.array([0.5, 2.0, -1.0]), np.array([1.0, 0.0, 3.0])
    mu, variance = np.array([0.2, -0.4, 1.0]), np.array([0.5, 1.5, 2.0])
    layer = kr.layers.BatchNormalization(update_rate=alpha, epsilon=1e-2)
    layer.build((None, 3))
    layer.set_weights([gamma, beta, mu, variance])
    expected, mu, variance = lecture(data, alpha, gamma, beta, 1e-2, mu, variance)
    for batch, y in zip(data, expected, strict=True):
        np.testing.assert_allclose(array(layer(batch.astype("float32"), training=True)), y, atol=2e-5)
    np.testing.assert_allclose(array(layer.moving_mean), mu, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-5)

    x = rng.normal(size=(4, 3))
    inference = gamma * (x - mu) / np.sqrt(variance + 1e-2) + beta
    np.testing.assert_allclose(array(layer(x.astype("float32"), training=False)), inference, atol=2e-5)
    np.testing.assert_allclose(array(layer.moving_mean), mu, rtol=1e-5, atol=1e-6)


def test_fit_moves_the_averages_by_the_same_equations(rng):
    data = batches(rng)
    layer = kr.layers.BatchNormalization(update_rate=0.2)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.concatenate(data).astype("float32")
    model.fit(x, np.zeros_like(x), batch_size=7, shuffle=False, verbose=0)
    _, mu, variance = lecture(data, 0.2, np.ones(3), np.zeros(3), 1e-3, np.zeros(3), np.ones(3))
    np.testing.assert_allclose(array(layer.moving_mean), mu, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (8, 3)), (-1, (4, 5, 6, 3)), (1, (4, 3, 6))])
def test_its_defaults_are_those_of_keras(axis, shape, rng):
    ours, theirs = kr.layers.BatchNormalization(axis=axis), keras.layers.BatchNormalization(axis=axis)
    for _ in range(3):
        x = rng.normal(2.0, 3.0, shape).astype("float32")
        # Up to rounding: our mean is refined in the pass that takes the squares.
        np.testing.assert_allclose(
            array(ours(x, training=True)), array(theirs(x, training=True)), rtol=1e-5, atol=1e-6
        )
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    np.testing.assert_allclose(array(ours(x)), array(theirs(x)), rtol=1e-5, atol=1e-6)


def test_it_takes_the_weights_of_keras_layer_and_every_one_of_its_arguments(rng):
    theirs = keras.layers.BatchNormalization()
    theirs.build((None, 4))
    theirs.set_weights([rng.uniform(0.5, 2.0, 4) for _ in range(4)])
    ours = kr.layers.BatchNormalization.from_config(theirs.get_config())
    ours.build((None, 4))
    ours.set_weights(theirs.get_weights())
    x = rng.normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(array(ours(x)), array(theirs(x)))
    assert ours.get_config()["momentum"] == theirs.momentum


def test_a_file_of_keras_weights_loads(rng, tmp_path):
    def model(module):
        return keras.Sequential([keras.Input((4,)), module.layers.BatchNormalization(name="norm")])

    theirs, ours = model(keras), model(kr)
    theirs.set_weights([rng.uniform(0.5, 2.0, 4) for _ in range(4)])
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    x = rng.normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


def test_momentum_is_one_minus_the_update_rate(rng):
    by_rate, by_decay = (
        kr.layers.BatchNormalization(update_rate=0.25),
        kr.layers.BatchNormalization(momentum=0.75),
    )
    x = rng.normal(5.0, 2.0, (9, 3)).astype("float32")
    for layer in (by_rate, by_decay):
        layer(x, training=True)
        assert layer.momentum == 0.75
        assert layer.update_rate == 0.25
    np.testing.assert_array_equal(array(by_rate.moving_mean), array(by_decay.moving_mean))
    np.testing.assert_allclose(array(by_rate.moving_mean), 0.25 * x.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("given", [{"update_rate": 0.25}, {"momentum": 0.7}, {"update_rate": 0.01}, {}])
def test_the_config_says_which_of_the_two_was_given(given):
    config = kr.layers.BatchNormalization(**given).get_config()
    expected = {"update_rate": None, "momentum": None, **(given or {"update_rate": 0.01})}
    assert {name: config[name] for name in expected} == expected


def test_both_at_once_are_an_error_even_where_the_rate_is_the_default():
    with pytest.raises(ValueError, match=r"update_rate=0\.01 and momentum=0\.99"):
        kr.layers.BatchNormalization(update_rate=float("0.01"), momentum=0.99)
    with pytest.raises(ValueError, match="exclude each other"):
        kr.layers.BatchNormalization(update_rate=0.01, momentum=0.99)
