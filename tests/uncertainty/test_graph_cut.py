"""What no noise reaches is computed once; with the cut and without it, the samples are the same."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg.uncertainty.sampler import Sampler, Setup

L = keras.layers


class Counting(L.Layer):
    """Doubles its input, and counts how often it is called while a function is compiled."""

    calls = 0

    def call(self, x):
        type(self).calls += 1
        return 2.0 * x


class Remembering(L.Layer):
    """Adds what another layer saw: noise comes in on a way that no tensor shows."""

    def call(self, x):
        return x + self.other.seen


class Seeing(L.Layer):
    def call(self, x):
        self.seen = x
        return x


def inputs(*shape):
    return np.random.default_rng(0).normal(size=(7, *shape)).astype("float32")


def chain():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(4, 3, name="conv"),
            L.BatchNormalization(name="norm"),
            L.SpatialDropout2D(0.3, name="drop"),
            L.Flatten(name="flatten"),
            L.Dense(3, "softmax", name="head"),
        ]
    ), inputs(8, 8, 3)


def side_branch():
    x = keras.Input((6,))
    h = L.Dense(8, "relu", name="trunk")(x)
    noisy = L.GaussianNoise(0.5, name="noise")(h)
    beside = L.Dense(8, name="beside")(L.Dense(4, "tanh", name="deeper")(h))
    return keras.Model(x, L.Dense(2, name="head")(noisy + beside * 2.0)), inputs(6)


def nested():
    a = keras.Input((6,))
    inner = keras.Model(a, L.Dropout(0.4, name="drop")(L.Dense(5, "relu", name="first")(a)), name="inner")
    plain = keras.Sequential([keras.Input((6,)), L.Dense(5, name="dense")], name="plain")
    x = keras.Input((6,))
    return keras.Model(x, L.Dense(2, name="head")(inner(x) - plain(x))), inputs(6)


def shared():
    x = keras.Input((6,))
    dense, drop = L.Dense(6, "tanh", name="dense"), L.Dropout(0.3, name="drop")
    # The same layer before and behind the noise, the same noise layer twice.
    return keras.Model(x, dense(drop(drop(dense(dense(x)))))), inputs(6)


def attention():
    x = keras.Input((5, 8))
    y = L.MultiHeadAttention(2, 4, dropout=0.3, name="attend")(L.Dropout(0.2, name="drop")(x), x)
    return keras.Model(x, L.Dense(2, name="head")(L.LayerNormalization(name="norm")(x + y)[:, 0])), inputs(
        5, 8
    )


def masked():
    x = keras.Input((7,), dtype="int32")
    h = L.SpatialDropout1D(0.4, name="drop")(L.Embedding(10, 6, mask_zero=True, name="embed")(x))
    words = np.where(np.arange(7) < np.arange(1, 8)[:, None], np.arange(1, 8), 0)
    return keras.Model(x, L.Dense(2, name="head")(L.LSTM(4, name="lstm")(h))), words


def dict_in_dict_out():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    left, right = L.Dropout(0.5, name="drop")(L.Dense(5, name="left")(a)), L.Dense(5, name="right")(b)
    outputs = {"sum": L.Add(name="add")([left, right]), "right": L.ReLU(name="relu")(right)}
    return keras.Model({"a": a, "b": b}, outputs), {"a": inputs(4), "b": inputs(3)}


def at_each_time():
    inner = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, name="dense"), L.Dropout(0.3, name="own")], name="inner"
    )
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            L.TimeDistributed(L.Dropout(0.4, name="drop"), name="timed"),
            L.TimeDistributed(inner, name="whole"),
        ]
    ), inputs(5, 3)


def across_rows():
    x = keras.Input((4,))
    h = L.Dropout(0.5, name="drop")(x)
    return keras.Model(x, h - keras.ops.mean(h, axis=0, keepdims=True)), inputs(4)


def half_precision():
    policy = "mixed_bfloat16"
    x = keras.Input((6,))
    h = L.Dropout(0.4, dtype=policy, name="drop")(L.Dense(8, dtype=policy, name="trunk")(x))
    return keras.Model(x, L.Dense(2, dtype=policy, name="head")(h)), inputs(6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.beside, self.unknown = (
            L.Dense(6, name=name) for name in ("first", "second", "beside", "unknown")
        )
        self.drop, self.head = L.Dropout(0.4, name="drop"), L.Dense(2, name="head")

    def call(self, x):
        h = self.first(x) + 1.0
        # An operation that no layer makes, before there is any noise.
        h = self.second(keras.ops.square(h))
        noisy = self.drop(h)
        # The sum with 1 is made by no layer when there is noise: nobody knows that it is clean.
        return self.head(noisy + self.beside(h) + self.unknown(h + 1.0))


def subclassed():
    return Subclassed(), inputs(6)


ZOO = {
    chain: ("conv norm", "drop flatten head"),
    side_branch: ("trunk deeper beside multiply", "noise add head"),
    nested: ("inner/first plain", "inner inner/drop subtract head"),
    shared: ("dense", "drop dense"),
    attention: ("", "drop attend attend/key attend/value attend/query attend/softmax attend/dropout"),
    masked: ("embed", "drop lstm head"),
    dict_in_dict_out: ("left right relu", "drop add"),
    at_each_time: ("", "timed whole whole/inner/own whole/inner/dense"),
    across_rows: ("", "drop mean subtract"),
    half_precision: ("trunk", "drop head"),
    subclassed: ("first second beside", "drop unknown head"),
}


def built(model, x):
    model(x)
    return model


def every_pass(model, x, **setup):
    """The samples, with what is asked of the model."""
    sampler = Sampler.of(model, "test")
    asked = Setup(6, keeps=True, **setup)
    found, _ = sampler.run(asked, x, 3, 0, 7, 0.0)
    assert sampler._borne[asked] == asked
    return [array(y) for y in found]


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_the_cut_is_where_noise_comes_in_and_changes_no_sample(make):
    model, x = make()
    model(x)
    prediction = kr.mc_predict(model, x, samples=6, seed=3)
    prefix, tail = (part.split() for part in ZOO[make])
    names = {name.rstrip("_0123456789") for name in prediction.prefix}
    assert set(prefix) <= names
    assert not set(prefix) & {name.rstrip("_0123456789") for name in prediction.tail} - {"dense"}
    assert set(tail) <= {name.rstrip("_0123456789") for name in prediction.tail}
    assert prediction.method == ("prefix" if prefix else "whole")
    whole = every_pass(model, x, tiles=False, cuts=False)
    rtol = 0.05 if make is half_precision else 1e-4
    for setup in ({}, {"tiles": False}):
        for cut, plain in zip(every_pass(model, x, **setup), whole, strict=True):
            np.testing.assert_allclose(cut, plain, rtol=rtol, atol=rtol / 10)
    for mean, plain in zip(keras.tree.flatten(prediction.mean), whole, strict=True):
        np.testing.assert_allclose(mean, plain.mean(axis=0), rtol=rtol, atol=rtol / 10)
    assert all(y.shape[:2] == (6, 7) for y in whole)


def test_what_no_noise_reaches_is_not_even_called_again():
    Counting.calls = 0
    x = keras.Input((4,))
    model = keras.Model(x, Counting()(L.Dropout(0.5)(Counting()(x))))
    Counting.calls = 0
    data = inputs(4)
    kr.mc_predict(model, data, samples=300)
    # Recorded once each, and the one behind the dropout once more inside the loop.
    assert Counting.calls == 3
    kr.mc_predict(model, data, samples=300)
    assert Counting.calls == 3


def test_noise_that_comes_in_unseen_is_not_cut_off():
    class Unseen(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.see, self.remember = L.Dropout(0.5), Seeing(), Remembering()
            self.remember.other = self.see

        def call(self, x):
            self.see(self.drop(x))
            # Its input is clean; what it gives is not.
            return self.remember(x)

    model = Unseen()
    model(inputs(4))
    prediction = kr.mc_predict(model, inputs(4), samples=30)
    assert (prediction.variance > 0).mean() > 0.9


class Alternating(keras.Model):
    """Calls other layers each time that it is called."""

    def __init__(self):
        super().__init__()
        self.drop, self.left, self.right = L.Dropout(0.5), L.Dense(2), L.Dense(2)
        for layer in (self.left, self.right):
            layer.build((None, 4))
        self.times = 0

    def call(self, x):
        self.times += 1
        return self.drop(self.left(x) if self.times % 2 else self.right(x))


def in_a_scan():
    class Cell(L.Layer):
        state_size, output_size = 4, 4

        def __init__(self):
            super().__init__()
            self.drop, self.dense = L.Dropout(0.5), L.Dense(4)
            self.dense.build((None, 4))

        def call(self, x, states):
            h = self.dense(self.drop(self.dense(x))) + states[0]
            return h, [h]

    return keras.Sequential([keras.Input((5, 4)), L.RNN(Cell())])


def test_a_model_that_cannot_be_cut_is_streamed():
    model = Alternating()
    prediction = kr.mc_predict(built(model, inputs(4)), inputs(4), samples=20, seed=0)
    assert prediction.method == "whole"
    assert (prediction.variance > 0).all()


def test_noise_inside_a_scan():
    """What the cell computes before its noise belongs to the scan, and is no part of any prefix."""
    model, x = in_a_scan(), inputs(5, 4)
    asked = Setup(6, keeps=True)
    cut = array(Sampler.of(model, "test").run(asked, x, 3, 0, 7, 0.0)[0][0])
    np.testing.assert_allclose(cut, every_pass(model, x, tiles=False, cuts=False)[0], rtol=1e-4, atol=1e-5)
    # A user's cell may do anything with its rows.
    assert "rnn/cell" in "".join(kr.mc_predict(model, x, samples=4).tail)
    assert cut.std(axis=0).min() > 0


def test_only_known_operations_share_a_batch():
    """A tile of several passes would mix them in an average over rows."""
    model, x = across_rows()
    alone = every_pass(model, x, tiles=False, cuts=False)[0]
    np.testing.assert_allclose(alone.mean(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(every_pass(model, x)[0].mean(axis=1), 0.0, atol=1e-6)


def test_an_error_of_the_model_is_the_users_to_see():
    class Broken(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop = L.Dropout(0.5)
            self.fails = False

        def call(self, x):
            if self.fails:
                raise ArithmeticError("this model is broken")
            return self.drop(x)

    model = Broken()
    model(inputs(4))
    model.fails = True
    with pytest.raises(ArithmeticError, match="this model is broken"):
        kr.mc_predict(model, inputs(4))


def test_less_is_asked_of_a_model_one_thing_after_the_other():
    from kerasreg.uncertainty.sampler import _less_and_less

    setup = Setup(5)
    assert list(_less_and_less(setup)) == [
        setup,
        replace(setup, tiles=False),
        replace(setup, tiles=False, cuts=False),
    ]
