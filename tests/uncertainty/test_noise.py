"""Noise that belongs to a place: every stochastic layer, sampled by a handler of interception."""

import keras
import numpy as np
import pytest
from backend_tools import array
from scipy import special

import kerasreg as kr
from kerasreg._core.counter_random import Where
from kerasreg._core.interception import intercept
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import get_mask
from kerasreg._core.pure_call import compile_pure
from kerasreg.uncertainty.noise import add_noise, call_with_noise, is_stochastic, strength

K, L = kr.layers, keras.layers
ROWS = 9


def sampled(model, x, sample=0, first_row=0, seed=0):
    """A random pass, as `mc_predict` makes it."""
    index = {layer: i for i, layer in enumerate(layer_paths(model))}

    def handler(layer, proceed, args, kwargs):
        if not is_stochastic(layer):
            return proceed(*args, **kwargs)
        return call_with_noise(layer, proceed, args, kwargs, Where(seed, index[layer], sample, first_row))

    with intercept(handler), keras.StatelessScope():
        return model(x, training=False)


def dense():
    return K.ConcreteDropout(L.Dense(4), num_examples=9, initial_rate=0.5)


# A layer, the shape of a row, and its strength.
KINDS = {
    "Dropout": (lambda: K.Dropout(0.5, mc=True), (6, 5), 0.5),
    "SpatialDropout2D": (lambda: K.SpatialDropout2D(0.5, mc=True), (3, 4, 7), 0.5),
    "GaussianDropout": (lambda: K.GaussianDropout(0.5, mc=True), (6, 5), 0.5),
    "AlphaDropout": (lambda: K.AlphaDropout(0.5, mc=True), (6, 5), 0.5),
    "DropPath": (lambda: K.DropPath(0.5, mc=True), (6, 5), 0.5),
    "DropBlock2D": (lambda: K.DropBlock2D(0.5, 2, mc=True), (6, 5, 2), 0.5),
    "ConcreteDropout": (dense, (6, 5), 0.5),
    "LSTM": (lambda: K.LSTM(4, dropout=0.5, recurrent_dropout=0.2, mc=True), (6, 5), 0.6),
    "GRU": (lambda: K.GRU(4, recurrent_dropout=0.5), (6, 5), 0.5),
    "Keras' LSTM": (lambda: L.LSTM(4, dropout=0.5), (6, 5), 0.5),
    "Keras' GRU": (lambda: L.GRU(4, recurrent_dropout=0.5), (6, 5), 0.5),
    "Keras' SimpleRNN": (lambda: L.SimpleRNN(4, dropout=0.5, recurrent_dropout=0.5), (6, 5), 0.75),
    "Keras' RNN": (lambda: L.RNN(L.GRUCell(4, dropout=0.5)), (6, 5), 0.5),
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(4, dropout=0.5)), (6, 5), None),
    "steps of Dropout": (lambda: L.TimeDistributed(K.Dropout(0.5, mc=True)), (6, 5), 0.5),
    "steps of Keras' Dropout": (lambda: L.TimeDistributed(L.SpatialDropout1D(0.5)), (2, 6, 5), 0.5),
    "steps of GaussianNoise": (lambda: L.TimeDistributed(L.GaussianNoise(0.5)), (6, 5), 0.5),
    "steps of DropPath": (lambda: L.TimeDistributed(K.DropPath(0.5)), (6, 5), 0.5),
    "steps of ConcreteDropout": (lambda: L.TimeDistributed(dense()), (6, 5), 0.5),
    "steps of LSTM": (lambda: L.TimeDistributed(K.LSTM(3, dropout=0.5)), (2, 6, 5), 0.5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_a_function_of_seed_sample_and_row(kind, rng):
    make, shape, expected = KINDS[kind]
    layer = make()
    model = keras.Sequential([keras.Input(shape), layer])
    x = np.repeat(rng.uniform(1.0, 2.0, (1, *shape)).astype("float32"), ROWS, axis=0)
    plain = array(sampled(model, x))
    np.testing.assert_array_equal(array(sampled(model, x)), plain)
    for other in ({"sample": 1}, {"seed": 1}, {"first_row": 100}):
        assert (array(sampled(model, x, **other)) != plain).any(), other
    # The last rows alone are what they were among the others.
    np.testing.assert_allclose(array(sampled(model, x[4:], first_row=4)), plain[4:], rtol=1e-5, atol=1e-6)
    assert len(np.unique(plain.reshape(ROWS, -1).round(5), axis=0)) > (1 if "Path" in kind else ROWS // 2)
    if expected is None:
        return
    assert is_stochastic(layer)
    assert strength(layer) == pytest.approx(expected)


@pytest.mark.parametrize(
    "make", [lambda: K.Dropout(0.5, mc=True), lambda: L.TimeDistributed(K.Dropout(0.5, mc=True))]
)
def test_a_layer_with_mc_drops_once(make):
    model = keras.Sequential([keras.Input((50, 20)), make()])
    y = array(sampled(model, np.ones((20, 50, 20), "float32")))
    assert set(np.unique(y).tolist()) == {0.0, 2.0}
    assert abs((y == 0).mean() - 0.5) < 5 * np.sqrt(0.25 / y.size)


def test_every_step_has_noise_of_its_own_and_a_shared_draw_is_shared():
    ones = np.ones((8, 30, 6), "float32")
    y = array(sampled(keras.Sequential([keras.Input((30, 6)), L.TimeDistributed(L.Dropout(0.5))]), ones))
    assert len(np.unique(y.reshape(-1, 6), axis=0)) > 50
    shared = L.TimeDistributed(L.Dropout(0.5, noise_shape=(1, None)))
    y = array(sampled(keras.Sequential([keras.Input((30, 6)), shared]), ones))
    np.testing.assert_array_equal(y, np.repeat(y[:1], 8, axis=0))
    assert len(np.unique(y[0], axis=0)) > 15
    whole = L.TimeDistributed(L.SpatialDropout1D(0.5))
    y = array(sampled(keras.Sequential([keras.Input((5, 7, 6)), whole]), np.ones((8, 5, 7, 6), "float32")))
    np.testing.assert_array_equal(y, np.repeat(y[:, :, :1], 7, axis=2))
    assert len(np.unique(y[:, :, 0].reshape(-1, 6), axis=0)) > 20


def test_a_recurrent_mask_stays_through_the_sequence():
    passing_on = {"activation": "linear", "kernel_initializer": "identity", "recurrent_initializer": "zeros"}
    layer = L.SimpleRNN(6, dropout=0.5, return_sequences=True, **passing_on)
    y = array(sampled(keras.Sequential([keras.Input((9, 6)), layer]), np.ones((12, 9, 6), "float32")))
    assert set(np.unique(y).tolist()) == {0.0, 2.0}
    np.testing.assert_array_equal(y, np.repeat(y[:, :1], 9, axis=1))


def test_a_mask_of_steps_goes_through():
    words = np.array([[1, 2, 0, 0]] * 3)
    model = keras.Sequential(
        [keras.Input((4,)), L.Embedding(5, 6, mask_zero=True), L.Dropout(0.5), K.DropPath(0.5)]
    )
    y = sampled(model, words)
    np.testing.assert_array_equal(array(get_mask(y)), words != 0)


def test_rates_are_read_anew_and_a_compiled_pass_uses_the_weight_as_it_is():
    layer = K.ConcreteDropout(
        L.Dense(200, kernel_initializer="identity"), num_examples=9, initial_rate=0.2, temperature=0.01
    )
    model = keras.Sequential([keras.Input((200,)), layer])
    run = compile_pure(model, lambda x, sample: sampled_in_scope(model, x, sample))
    x, zero = np.ones((50, 200), "float32"), keras.ops.cast(0, "int32")
    for rate in (0.2, 0.6):
        layer.rate_logit.assign(special.logit(rate))
        assert strength(layer) == pytest.approx(rate)
        dropped = array(run(x, zero)) < 0.5 / (1 - rate)
        assert abs(dropped.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size)


def sampled_in_scope(model, x, sample):
    def handler(layer, proceed, args, kwargs):
        if not is_stochastic(layer):
            return proceed(*args, **kwargs)
        return call_with_noise(layer, proceed, args, kwargs, Where(0, 0, sample, 0))

    with intercept(handler):
        return model(x, training=False)


def test_a_compiled_loop_over_samples_is_the_passes_one_by_one(rng):
    x = rng.normal(size=(4, 6, 5)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((6, 5)),
            L.TimeDistributed(K.Dropout(0.3)),
            L.Bidirectional(K.LSTM(3, dropout=0.3, recurrent_dropout=0.3, return_sequences=True)),
            L.GRU(3, dropout=0.3),
            K.ConcreteDropout(L.Dense(2), num_examples=9, initial_rate=0.3),
            K.DropPath(0.3),
        ]
    )
    model.build((None, 6, 5))

    def total(x, samples):
        def step(sample, summed):
            return sample + 1, summed + sampled_in_scope(model, x, sample)

        start = (keras.ops.cast(0, "int32"), keras.ops.zeros((4, 2)))
        return keras.ops.while_loop(lambda sample, summed: sample < samples, step, start)[1]

    looped = array(compile_pure(model, total)(x, keras.ops.cast(3, "int32")))
    one_by_one = [
        array(sampled_in_scope(model, keras.ops.convert_to_tensor(x), sample)) for sample in range(3)
    ]
    np.testing.assert_allclose(looped, np.sum(one_by_one, axis=0), rtol=1e-4, atol=1e-5)
    assert np.abs(one_by_one[0] - one_by_one[1]).max() > 1e-3


def test_what_is_not_known_is_not_sampled():
    class OwnCell(L.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(inputs, states, training)

    class OwnSteps(L.TimeDistributed):
        def call(self, inputs, training=None, mask=None):
            return inputs

    for layer in (
        L.Dense(2),
        L.RNN(OwnCell(2, dropout=0.5)),
        L.TimeDistributed(L.Dense(2)),
        L.TimeDistributed(L.LSTM(2, dropout=0.5)),
        OwnSteps(L.Dropout(0.5)),
        L.LSTMCell(2, dropout=0.5),
        K.BatchNormalization(),
    ):
        assert not is_stochastic(layer)
    for layer in (K.Dropout(0.0), K.DropPath(0.0), K.LSTM(2), L.GRU(2), L.TimeDistributed(L.Dropout(0.0))):
        assert is_stochastic(layer)
        assert strength(layer) == 0.0


def test_noise_inside_is_not_added_outside():
    with pytest.raises(TypeError, match="LSTM has its noise inside"):
        add_noise(K.LSTM(2, dropout=0.5), keras.ops.ones((2, 3)), Where(0, 0, 0, 0))
