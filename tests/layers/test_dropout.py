"""Dropout: its support and moments, and Monte Carlo mode in every place where a layer can stand."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr

ROWS, FEATURES, RATE = 32, 50, 0.3


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("mc", "training"), [(False, True), (True, True), (True, False)])
def test_every_output_is_zero_or_scaled_up_and_the_mean_stays(rate, mc, training, rng):
    x = rng.uniform(1.0, 2.0, (200, 100)).astype("float32")
    y = array(kr.layers.Dropout(rate, seed=1, mc=mc)(x, training=training))
    dropped = y == 0
    np.testing.assert_allclose(y[~dropped], (x / (1 - rate))[~dropped], rtol=1e-6)
    # A binomial share, and a sum of independent two-point variables.
    assert abs(dropped.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size)
    assert abs((y - x).sum()) < 5 * np.sqrt((x**2).sum() * rate / (1 - rate))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_inference_is_the_identity(rate, rng):
    x = rng.normal(size=(20, 30)).astype("float32")
    layer = kr.layers.Dropout(rate)
    np.testing.assert_array_equal(array(layer(x)), x)
    np.testing.assert_array_equal(array(layer(x, training=False)), x)


def test_a_noise_shape_drops_whole_columns():
    y = array(kr.layers.Dropout(0.5, noise_shape=(1, None), seed=0, mc=True)(np.ones((20, 100), "float32")))
    assert set(y.sum(axis=0).tolist()) == {0.0, 40.0}


def test_a_seed_repeats_the_masks_and_none_does_not():
    x = np.ones((10, 20), "float32")
    first, second = (array(kr.layers.Dropout(0.5, seed=5, mc=True)(x)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    first, second = (array(kr.layers.Dropout(0.5, mc=True)(x)) for _ in range(2))
    assert (first != second).any()


def sequential(mc):
    return keras.Sequential([keras.Input((FEATURES,)), kr.layers.Dropout(RATE, mc=mc)])


def functional(mc):
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, kr.layers.Dropout(RATE, mc=mc)(inputs))


def functional_with_training_false(mc):
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, kr.layers.Dropout(RATE, mc=mc)(inputs, training=False))


def nested(mc):
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, sequential(mc)(inputs))


class Subclassed(keras.Model):
    def __init__(self, mc):
        super().__init__()
        self.drop = kr.layers.Dropout(RATE, mc=mc)

    def call(self, x):
        return self.drop(x)


def cloned(mc):
    return keras.models.clone_model(functional(mc))


def frozen(mc):
    model = nested(mc)
    model.trainable = False
    return model


def time_distributed(mc):
    inputs = keras.Input((FEATURES,))
    steps = keras.layers.Reshape((2, FEATURES // 2))(inputs)
    dropped = keras.layers.TimeDistributed(kr.layers.Dropout(RATE, mc=mc))(steps)
    return keras.Model(inputs, keras.layers.Flatten()(dropped))


PLACES = [
    sequential,
    functional,
    functional_with_training_false,
    nested,
    Subclassed,
    cloned,
    frozen,
    time_distributed,
]


@pytest.fixture
def ones():
    return np.ones((ROWS, FEATURES), "float32")


def assert_dropped(y, ones):
    share = (y == 0).mean()
    assert abs(share - RATE) < 5 * np.sqrt(RATE * (1 - RATE) / ones.size)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - RATE), rtol=1e-6)


@pytest.mark.parametrize("place", PLACES)
def test_monte_carlo_dropout_is_stochastic_wherever_it_stands(place, ones):
    model = place(mc=True)
    model.compile(loss="mse")
    predictions = [model.predict(ones, batch_size=8, verbose=0) for _ in range(2)]
    calls = [array(model(ones, training=False)) for _ in range(2)]
    for first, second in (predictions, calls):
        assert_dropped(first, ones)
        assert (first != second).any()
    # Other masks in each batch of one call, too.
    assert (predictions[0][:8] != predictions[0][8:16]).any()
    losses = [model.evaluate(ones, ones, verbose=0) for _ in range(2)]
    assert losses[0] != losses[1]
    assert min(losses) > 0


@pytest.mark.parametrize("place", PLACES)
def test_plain_dropout_is_silent_at_inference_wherever_it_stands(place, ones):
    model = place(mc=False)
    np.testing.assert_array_equal(array(model(ones, training=False)), ones)
    np.testing.assert_array_equal(model.predict(ones, verbose=0), ones)


def test_monte_carlo_dropout_is_stochastic_after_a_reload(ones, tmp_path):
    nested(mc=True).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    first, second = (loaded.predict(ones, verbose=0) for _ in range(2))
    assert_dropped(first, ones)
    assert (first != second).any()


@pytest.mark.parametrize("call", ["predict", "evaluate", "training=False"])
def test_a_batch_norm_beside_it_stays_in_inference_mode(call, rng):
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((FEATURES,)), norm, kr.layers.Dropout(RATE, mc=True)])
    mean, variance = rng.normal(size=FEATURES), rng.uniform(0.5, 2.0, FEATURES)
    norm.set_weights([np.ones(FEATURES), np.zeros(FEATURES), mean, variance])
    model.compile(loss="mse")
    before = [weight.copy() for weight in norm.get_weights()]
    x = rng.normal(3.0, 2.0, (ROWS, FEATURES)).astype("float32")
    if call == "evaluate":
        assert model.evaluate(x, x, verbose=0) > 0
    else:
        y = model.predict(x, verbose=0) if call == "predict" else array(model(x, training=False))
        expected = (x - mean) / np.sqrt(variance + 1e-3) / (1 - RATE)
        np.testing.assert_allclose(y[y != 0], expected[y != 0], rtol=1e-4, atol=1e-5)
        assert (y == 0).any()
    for now, then in zip(norm.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_training_drops_with_and_without_monte_carlo_mode(rng):
    x = np.ones((64, 20), "float32")
    for mc in (False, True):
        dense = keras.layers.Dense(20, kernel_initializer="identity")
        model = keras.Sequential([keras.Input((20,)), kr.layers.Dropout(0.5, seed=0, mc=mc), dense])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        # Each output is off by one: 0 or 2 where 1 is right.
        assert model.fit(x, x, verbose=0).history["loss"][0] == pytest.approx(1.0, abs=1e-6)
