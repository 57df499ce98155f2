"""Noise that layers make inside their own calls: recurrent layers, attention, users' layers."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg._core.private import global_seed_generator
from kerasreg.uncertainty.sampler import Sampler

K, L, ops = kr.layers, keras.layers, keras.ops
R = keras.random


class Drawing(L.Layer):
    """A user's dropout, with a batch norm, as Keras' guide for layers with a seed generator has it."""

    def __init__(self, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.generator = R.SeedGenerator(1)
        self.norm = L.BatchNormalization()

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=None):
        x = self.norm(x, training=training)
        return R.dropout(x, self.rate, seed=self.generator) if training else x


class AlwaysOn(L.Dropout):
    """The layer that people write to have Monte Carlo dropout."""

    def call(self, x):
        return super().call(x, training=True)


class Reparametrised(L.Layer):
    """A variational autoencoder's."""

    def __init__(self):
        super().__init__()
        self.generator = R.SeedGenerator(1)

    def call(self, x):
        return x + 0.5 * R.normal((ops.shape(x)[0], x.shape[1]), seed=self.generator)


class DroppedWeights(L.Layer):
    """One draw for all rows (Wan et al., 2013)."""

    def __init__(self):
        super().__init__()
        self.generator = R.SeedGenerator(1)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), initializer="ones")

    def call(self, x, training=False):
        kernel = ops.convert_to_tensor(self.kernel)
        return x @ (R.dropout(kernel, 0.5, seed=self.generator) if training else kernel)


class OwnCell(L.LSTMCell):
    def call(self, inputs, states, training=False):
        return super().call(inputs, states, training=training)


class OwnModel(keras.Model):
    """Draws in its own call, between layers."""

    def __init__(self):
        super().__init__()
        self.generator, self.norm = R.SeedGenerator(0), L.BatchNormalization()
        self.first, self.last = L.Dense(5, name="first"), L.Dense(3, name="last")

    def call(self, x, training=None):
        x = self.norm(self.first(x))
        if training:
            x = R.dropout(x, 0.5, seed=self.generator)
        return self.last(x)


def stack(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers]), shape


def attending(attention):
    x = keras.Input((4, 5))
    return keras.Model(x, attention([x, x])), (4, 5)


def heads():
    x = keras.Input((4, 5))
    return keras.Model(x, L.MultiHeadAttention(2, 3, dropout=0.5)(x, x)), (4, 5)


ZOO = {
    "LSTM": lambda: stack((5, 3), L.LSTM(4, dropout=0.5, recurrent_dropout=0.3)),
    "GRU": lambda: stack((5, 3), L.GRU(4, recurrent_dropout=0.5)),
    "LSTM with mc": lambda: stack((5, 3), K.LSTM(4, dropout=0.5, mc=True)),
    "Bidirectional": lambda: stack((5, 3), L.Bidirectional(L.GRU(4, dropout=0.5))),
    "ConvLSTM1D": lambda: stack((3, 5, 2), L.ConvLSTM1D(2, 3, dropout=0.5, recurrent_dropout=0.2)),
    "two cells": lambda: stack((5, 3), L.RNN([L.LSTMCell(4, dropout=0.5), L.GRUCell(4, dropout=0.2)])),
    "own cell": lambda: stack((5, 3), L.RNN(OwnCell(4, recurrent_dropout=0.5))),
    "ConcreteDropout": lambda: stack((5,), K.ConcreteDropout(L.Dense(3), num_examples=9, initial_rate=0.5)),
    "steps of LSTM": lambda: stack((2, 5, 3), L.TimeDistributed(L.LSTM(4, dropout=0.5))),
    "steps of a user's": lambda: stack((4, 5), L.TimeDistributed(Drawing())),
    "Attention": lambda: attending(L.Attention(dropout=0.5)),
    "AdditiveAttention": lambda: attending(L.AdditiveAttention(dropout=0.5)),
    "MultiHeadAttention": heads,
    "a user's": lambda: stack((5,), Drawing(), L.Dense(2)),
    "always on": lambda: stack((5,), L.Dense(6), AlwaysOn(0.5), L.Dense(2)),
    "reparametrised": lambda: stack((5,), Reparametrised()),
    "Lambda": lambda: stack((5,), L.Lambda(lambda x: x * R.uniform(ops.shape(x)), output_shape=(5,))),
    "a user's model": lambda: (OwnModel(), (5,)),
}
TRAINED = ("LSTM", "ConvLSTM1D", "two cells", "own cell", "MultiHeadAttention", "a user's", "a user's model")


@pytest.mark.parametrize("kind", ZOO)
def test_every_sample_and_row_has_its_own_noise_whatever_the_batch_size(kind, rng):
    model, shape = ZOO[kind]()
    row = rng.normal(size=(1, *shape)).astype("float32")
    x = np.repeat(row, 9, axis=0)
    model(x)
    before = [array(v) for v in model.variables]
    whole = kr.mc_predict(model, x, samples=6, seed=1, return_samples=True)
    parts = kr.mc_predict(model, x, samples=6, seed=1, return_samples=True, batch_size=4)
    np.testing.assert_allclose(parts.samples, whole.samples, rtol=1e-5, atol=1e-6)
    passes = whole.samples.reshape(6, 9, -1).round(4)
    assert len(np.unique(passes.reshape(54, -1), axis=0)) > 5
    assert all(len(np.unique(part, axis=0)) > 1 for part in (*passes, *passes.transpose(1, 0, 2)))
    assert all(np.array_equal(array(v), old) for v, old in zip(model.variables, before, strict=True))


@pytest.mark.parametrize("kind", TRAINED)
def test_noise_has_the_moments_of_keras_training_mode(kind, rng):
    model, shape = ZOO[kind]()
    x = np.repeat(rng.normal(size=(1, *shape)).astype("float32"), 3000, axis=0)
    model(x[:2])
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            # The one layer that does something else in training mode.
            layer.trainable = False
    ours = kr.mc_predict(model, x, samples=2, batch_size=3000, seed=0, return_samples=True).samples
    ours = ours.reshape(6000, -1).astype("float64")
    theirs = np.concatenate([array(model(x, training=True)) for _ in range(2)]).reshape(6000, -1)
    spread = theirs.std(axis=0)
    error = spread * np.sqrt(2 / 6000)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error + 1e-6).all()
    np.testing.assert_allclose(ours.std(axis=0), spread, rtol=0.1, atol=1e-6)
    correlation = [np.corrcoef(part.T + rng.normal(0, 1e-6, part.T.shape)) for part in (ours, theirs)]
    np.testing.assert_allclose(*correlation, atol=0.1)


def recurrence(**rates):
    arguments = {"activation": "linear", "kernel_initializer": "identity", "return_sequences": True}
    return stack((3, 6), L.SimpleRNN(6, recurrent_initializer="identity", **arguments, **rates))[0]


def test_a_mask_stays_through_a_sequence():
    """h_t = m_x + m_h h_(t-1) from ones: 1, 3, 7 where the state is kept, 1, 1, 1 where it is dropped."""
    samples = kr.mc_predict(
        recurrence(recurrent_dropout=0.5), np.ones((20, 3, 6)), samples=8, seed=0, return_samples=True
    ).samples
    ways = np.unique(samples.swapaxes(2, 3).reshape(-1, 3), axis=0)
    np.testing.assert_array_equal(ways, [[1, 1, 1], [1, 3, 7]])
    samples = kr.mc_predict(
        recurrence(dropout=0.5), np.ones((20, 3, 6)), samples=8, seed=0, return_samples=True
    ).samples
    ways = np.unique(samples.swapaxes(2, 3).reshape(-1, 3), axis=0)
    np.testing.assert_array_equal(ways, [[0, 0, 0], [2, 4, 6]])
    assert abs((samples[:, :, 0] == 0).mean() - 0.5) < 5 * np.sqrt(0.25 / (8 * 20 * 6))


def test_a_sequence_made_of_other_rows_has_noise_of_its_own():
    class EverySecond(keras.Model):
        def __init__(self):
            super().__init__()
            self.run, self.draw = L.LSTM(6, dropout=0.5), Drawing(0.5)

        def call(self, x):
            y = self.draw(self.run(x[::2]))
            return ops.reshape(ops.stack([y, y], axis=1), (-1, 6))[: ops.shape(x)[0]]

    model, x = EverySecond(), np.ones((7, 5, 3))
    model(x)
    samples = kr.mc_predict(model, x, samples=20, seed=0, return_samples=True).samples[:, ::2]
    assert len(np.unique(samples.reshape(80, 6).round(5), axis=0)) > 60


def test_windows_in_the_place_of_rows_keep_their_rows_noise():
    class Windows(keras.Model):
        def __init__(self):
            super().__init__()
            self.draw = AlwaysOn(0.5)

        def call(self, x):
            return ops.reshape(self.draw(ops.reshape(x, (-1, 2, 50))), (-1, 6, 50))

    model, ones = Windows(), np.ones((9, 6, 50), "float32")
    model(ones)
    samples = kr.mc_predict(model, ones, samples=4, seed=0, return_samples=True).samples
    assert len(np.unique(samples.reshape(-1, 100), axis=0)) == 4 * 9 * 3
    for size in (1, 2):
        parts = kr.mc_predict(model, ones, samples=4, seed=0, batch_size=size, return_samples=True).samples
        np.testing.assert_array_equal(parts, samples)


def test_attention_drops_weights():
    """Equal scores over four values that are unit vectors: each output is a weight, 0 or 2 / 4."""
    q, v = keras.Input((4, 3)), keras.Input((4, 4))
    model = keras.Model([q, v], L.Attention(dropout=0.5)([q, v, q]))
    data = [np.zeros((30, 4, 3)), np.repeat(np.eye(4)[None], 30, axis=0)]
    samples = kr.mc_predict(model, data, samples=20, seed=0, return_samples=True).samples
    assert set(np.unique(samples)) == {0.0, 0.5}
    assert abs((samples == 0).mean() - 0.5) < 5 * np.sqrt(0.25 / samples.size)


def test_a_recurrent_layer_without_dropout_is_computed_once():
    first = L.LSTM(4, return_sequences=True, name="plain")
    model, _ = stack((5, 3), first, L.GRU(4, dropout=0.5, name="noisy"), L.Dense(2, name="head"))
    prediction = kr.mc_predict(model, np.ones((3, 5, 3)), samples=4, seed=0)
    assert "plain" in prediction.prefix
    assert {"noisy", "head"} <= set(prediction.tail)
    assert prediction.method == "prefix"


def test_what_a_users_layer_holds_stays_in_inference_mode(rng):
    class Holding(L.Layer):
        """Hands `training` on in every way."""

        def __init__(self):
            super().__init__()
            self.generator = R.SeedGenerator(1)
            shift = {"moving_mean_initializer": keras.initializers.Constant(2.0), "epsilon": 1e-12}
            self.norms = [L.BatchNormalization(**shift) for _ in range(3)]
            self.inner = keras.Sequential([self.norms[2]])

        def build(self, shape):
            for norm in self.norms:
                norm.build(shape)

        def call(self, x, training=None):
            x = self.norms[0](x, training=training)
            x = self.norms[1](x)
            x = self.inner(x)
            return x + 1e-3 * R.normal(ops.shape(x), seed=self.generator) if training else x

    model, _ = stack((4,), Holding())
    x = rng.normal(size=(40, 4)).astype("float32")
    prediction = kr.mc_predict(model, x, samples=4, seed=0)
    np.testing.assert_allclose(prediction.mean, x - 6.0, atol=1e-2)
    assert (prediction.variance > 0).all()


def test_a_layer_that_always_normalises_by_the_batch_goes_on_to_do_so(rng):
    class ByTheBatch(L.Layer):
        def __init__(self):
            super().__init__()
            self.norm = L.BatchNormalization()

        def build(self, shape):
            self.norm.build(shape)

        def call(self, x):
            return self.norm(x, training=True)

    model, _ = stack((4,), L.GaussianNoise(1e-3), ByTheBatch())
    mean = kr.mc_predict(model, rng.normal(5.0, 3.0, size=(50, 4)), samples=4, batch_size=50).mean
    np.testing.assert_allclose(mean.mean(axis=0), 0.0, atol=1e-2)
    np.testing.assert_allclose(mean.std(axis=0), 1.0, atol=1e-2)


def test_keras_global_generator_goes_on_where_it_was():
    model, _ = stack((5,), L.Lambda(lambda x: x * R.uniform(ops.shape(x)), output_shape=(5,)))
    R.normal((4,))
    state = global_seed_generator(make=False).state
    before = array(state)
    kr.mc_predict(model, np.ones((2, 5)), samples=3)
    np.testing.assert_array_equal(array(state), before)
    assert global_seed_generator(make=False).state is state


@pytest.mark.parametrize("rows", [4, 7])
def test_one_draw_of_weights_for_all_rows(rows):
    """Also where the batch has as many rows as the kernel."""
    model, _ = stack((4,), DroppedWeights())
    samples = kr.mc_predict(model, np.ones((9, 4)), samples=8, seed=0, return_samples=True).samples
    assert (samples == samples[:, :1]).all()
    assert len(np.unique(samples[:, 0], axis=0)) > 5
    parts = kr.mc_predict(model, np.ones((9, 4)), samples=8, seed=0, return_samples=True, batch_size=rows)
    np.testing.assert_array_equal(parts.samples, samples)


def test_a_users_augmentation_does_not_fire(rng):
    class Flip(L.RandomFlip):
        def call(self, data, training=True):
            return super().call(data, training=training)

    x = rng.normal(size=(20, 4, 4, 1)).astype("float32")
    model, _ = stack((4, 4, 1), Flip(seed=0), AlwaysOn(1e-6), L.GaussianNoise(1e-3))
    np.testing.assert_allclose(kr.mc_predict(model, x, samples=4, seed=0).mean, x, atol=1e-2)


def test_pairs_mirror_what_is_drawn_inside():
    """At p = 1/2 one pass of a pair drops what the other keeps, and a linear layer's pairs have one mean."""
    model, _ = stack((5,), AlwaysOn(0.5), L.Dense(2))
    pairs = kr.mc_predict(model, np.ones((3, 5)), samples=10, seed=0, antithetic=True)
    assert pairs.standard_error.max() < 1e-6 < pairs.variance.min()


def test_half_precision_gives_finite_moments_in_single(rng):
    half = {"dtype": "mixed_float16"}
    x = keras.Input((4, 5))
    h = L.GRU(6, dropout=0.5, return_sequences=True, **half)(x)
    h = L.MultiHeadAttention(2, 3, dropout=0.5, **half)(h, h)
    model = keras.Model(x, L.Dense(2, **half)(Drawing(0.5, **half)(h)[:, 0]))
    prediction = kr.mc_predict(model, rng.normal(size=(5, 4, 5)), samples=10, seed=0)
    assert prediction.mean.dtype == prediction.variance.dtype == np.float32
    assert np.isfinite(prediction.variance).all()
    assert (prediction.variance > 0).all()


def test_changed_rates_are_noticed_and_learned_ones_need_no_new_sampler():
    x = np.ones((300, 3, 6), "float32")
    model = recurrence(dropout=0.5)
    kr.mc_predict(model, x, samples=2)
    model.layers[0].cell.dropout = 0.1
    zeros = kr.mc_predict(model, x, samples=2, seed=0, return_samples=True).samples == 0
    assert zeros.mean() == pytest.approx(0.1, abs=0.03)

    own = Drawing(0.5)
    model, _ = stack((6,), own)
    kr.mc_predict(model, x[:, 0], samples=2)
    own.rate = 0.1
    zeros = kr.mc_predict(model, x[:, 0], samples=2, seed=0, return_samples=True).samples == 0
    assert zeros.mean() == pytest.approx(0.1, abs=0.03)

    wide = L.Dense(6, kernel_initializer="identity")
    learned = K.ConcreteDropout(wide, num_examples=9, initial_rate=0.5, temperature=1e-3)
    model, _ = stack((6,), learned)
    kr.mc_predict(model, x[:, 0], samples=2)
    kept = Sampler.of(model, "test")
    learned.rate_logit.assign(np.log(0.1 / 0.9))
    zeros = kr.mc_predict(model, x[:, 0], samples=2, seed=0, return_samples=True).samples == 0
    assert zeros.mean() == pytest.approx(0.1, abs=0.03)
    assert Sampler.of(model, "test") is kept


def failing(noise):
    class Failing(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.generator = R.SeedGenerator(1)

        def call(self, x, training=None):
            return noise(self, x) if training else x

    return stack((4,), L.Dropout(0.5), Failing(name="strange"))[0]


def looped(layer, x):
    def step(i, x):
        return i + 1, x + R.normal(ops.shape(x), seed=layer.generator)

    return ops.while_loop(lambda i, x: i < 3, step, (ops.cast(0, "int32"), x))[1]


def broken(layer, x):
    raise ArithmeticError("out of order")


def loose_cell():
    class Loop(L.Layer):
        def __init__(self):
            super().__init__()
            self.cell = L.LSTMCell(4, dropout=0.5, name="strange")

        def build(self, shape):
            self.cell.build((shape[0], shape[2]))

        def call(self, x, training=None):
            h = states = self.cell.get_initial_state(ops.shape(x)[0])
            for step in range(x.shape[1]):
                h, states = self.cell(x[:, step], states, training=training)
            return h

    return stack((4, 3), L.Dropout(0.5), Loop())[0]


REFUSED = {
    "gamma": (
        lambda: failing(lambda layer, x: x * R.gamma((4,), 1.0, seed=layer.generator)),
        r"draws from keras\.random\.gamma \(strange\); draw in the layer's own call",
    ),
    "loop": (lambda: failing(looped), r"inside a loop or branch of its own \(strange\); draw in the layer's"),
    "broken": (lambda: failing(broken), r"fails \(strange\); mend the layer's training mode"),
    "loose cell": (
        loose_cell,
        r"outside of a .*RNN \(loop.*/strange\); put the cell into a keras",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_noise_that_cannot_be_placed_is_an_error_that_names_the_layer(kind):
    make, words = REFUSED[kind]
    model = make()
    x = np.ones((3, *model.input_shape[1:]), "float32")
    allowed = "Argument `model` of mc_predict must be a model whose noise can be told by seed, sample and row"
    with pytest.raises(ValueError, match=f"^{allowed}, got a .*{words}") as caught:
        kr.mc_predict(model, x, samples=4)
    assert kind != "broken" or "out of order" in str(caught.value.__cause__)
    # Nothing of it is left behind.
    assert np.isfinite(array(model(x))).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own generators")
def test_tensorflows_own_draws_are_refused():
    import tensorflow as tf

    class Native(L.Layer):
        def call(self, x, training=None):
            return tf.nn.dropout(x, 0.5) if training else x

    for layer in (Native(name="strange"), L.Lambda(lambda x: x + tf.random.normal([4]), name="strange")):
        with pytest.raises(ValueError, match=r"TensorFlow's own generators .*strange"):
            kr.mc_predict(stack((4,), L.Dropout(0.5), layer)[0], np.ones((3, 4)), samples=4)


def test_a_layer_that_draws_nothing_is_called_at_inference():
    class Idle(L.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.generator = R.SeedGenerator(1)

        def call(self, x, training=None):
            return 100.0 * x if training else x

    model, _ = stack((4,), L.GaussianNoise(1e-3), Idle(name="idle"))
    np.testing.assert_allclose(kr.mc_predict(model, np.ones((3, 4)), samples=4).mean, 1.0, atol=1e-2)
    with pytest.raises(ValueError, match=r"layers found: idle \(unknown rate\)"):
        kr.mc_predict(stack((4,), Idle(name="idle"))[0], np.ones((3, 4)))


def test_an_error_leaves_no_mask_in_a_cell():
    class Failing(L.GRUCell):
        fails = False

        def call(self, inputs, states, training=False):
            if self.fails:
                raise ArithmeticError("out of order")
            return super().call(inputs, states, training=training)

    cell = Failing(4, dropout=0.5)
    model, _ = stack((5, 3), L.RNN(cell), L.Dense(2))
    cell.fails = True
    with pytest.raises(ArithmeticError):
        kr.mc_predict(model, np.ones((3, 5, 3)), samples=4)
    cell.fails = False
    # A mask of three rows, or of a trace that is over, would not fit.
    assert array(model(np.ones((8, 5, 3)), training=True)).shape == (8, 2)
