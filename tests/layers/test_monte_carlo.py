"""`mc=`, for every layer that has it: noise at inference in every place where a layer can stand."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg._core.noise_source import supply

K, L = kr.layers, keras.layers

# How to make each, with a seed or without, and the shape of a row.
FAMILY = {
    "Dropout": (lambda **a: K.Dropout(0.5, **a), (4, 6)),
    "SpatialDropout1D": (lambda **a: K.SpatialDropout1D(0.5, **a), (4, 6)),
    "SpatialDropout2D": (lambda **a: K.SpatialDropout2D(0.5, **a), (3, 4, 6)),
    "SpatialDropout3D": (lambda **a: K.SpatialDropout3D(0.5, **a), (3, 2, 4, 6)),
    "GaussianDropout": (lambda **a: K.GaussianDropout(0.5, **a), (4, 6)),
    "AlphaDropout": (lambda **a: K.AlphaDropout(0.5, **a), (4, 6)),
    "DropPath": (lambda **a: K.DropPath(0.5, **a), (4, 6)),
    "DropBlock2D": (lambda **a: K.DropBlock2D(0.5, 2, **a), (3, 4, 6)),
    "ConcreteDropout": (
        lambda **a: K.ConcreteDropout(L.Dense(6), num_examples=9, initial_rate=0.5, **a),
        (4, 6),
    ),
    "LSTM": (lambda **a: K.LSTM(6, dropout=0.5, **a), (4, 6)),
    "GRU": (lambda **a: K.GRU(6, recurrent_dropout=0.5, **a), (4, 6)),
}
ROWS = 16


@pytest.fixture(params=FAMILY)
def kind(request):
    return request.param


@pytest.fixture
def rows(kind, rng):
    """Equal rows, so that what differs is noise."""
    return np.repeat(rng.uniform(1.0, 2.0, (1, *FAMILY[kind][1])).astype("float32"), ROWS, axis=0)


def test_every_layer_with_the_argument_is_tried_here():
    assert set(FAMILY) == {
        name for name in K.__all__ if "mc" in getattr(K, name)(**needed(name)).get_config()
    }


def needed(name):
    arguments = {"LSTM": {"units": 1}, "GRU": {"units": 1}}
    arguments |= {name: {} for name in ("BatchNormalization", "Normalization", "TemperatureScaling")}
    arguments["ConcreteDropout"] = {"layer": L.Dense(1), "num_examples": 1}
    return arguments.get(name, {"rate": 0.5})


class Holder(keras.layers.Layer):
    """A user's own layer around one of ours, that hands on no `training`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def build(self, shape):
        self.layer.build(shape)

    def call(self, x):
        return self.layer(x)


class Subclassed(keras.Model):
    """A user's own model with one of ours in it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def everywhere(make, shape):
    """One model with the layer in every place; each place is an output."""
    x = keras.Input(shape)
    places = {
        "functional": make()(x),
        "told to infer": make()(x, training=False),
        "sequential": keras.Sequential([keras.Input(shape), make()])(x),
        "nested": keras.Sequential([keras.Input(shape), keras.Sequential([make()])])(x),
        "held": Holder(make())(x),
        "subclassed": Subclassed(make())(x),
    }
    cloned = keras.models.clone_model(keras.Sequential([keras.Input(shape), make()]))
    places["cloned"] = cloned(x)
    frozen = make()
    frozen.trainable = False
    places["frozen"] = frozen(x)
    steps = L.TimeDistributed(make())(keras.ops.stack([x, x], axis=1))
    places["in each step"] = steps[:, 1]
    return keras.Model(x, places)


def test_it_is_noisy_wherever_it_stands(kind, rows):
    make, shape = FAMILY[kind]
    model = everywhere(lambda: make(mc=True), shape)
    first, second = (model.predict(rows, batch_size=8, verbose=0) for _ in range(2))
    called = model(rows, training=False)
    for place, y in first.items():
        assert (y != second[place]).any(), place
        assert (y != array(called[place])).any(), place
        # Rows of one batch, and batches of one call.
        assert (y[0] != y[1:8]).any(), place
        assert (y[:8] != y[8:]).any(), place


def test_without_the_argument_it_is_silent_at_inference(kind, rows):
    make, shape = FAMILY[kind]
    model = keras.Sequential([keras.Input(shape), make()])
    first, second = (model.predict(rows, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[:1], first[-1:])
    if kind not in ("ConcreteDropout", "LSTM", "GRU"):
        np.testing.assert_array_equal(first, rows)


def test_it_is_noisy_in_evaluate_and_after_a_reload(kind, rows, tmp_path):
    make, shape = FAMILY[kind]
    model = keras.Sequential([keras.Input(shape), make(mc=True), L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    zeros = np.zeros((ROWS, 1))
    model.fit(rows, zeros, verbose=0)
    model.save(tmp_path / "model.keras")
    for one in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert one.evaluate(rows, zeros, verbose=0) != one.evaluate(rows, zeros, verbose=0)


def test_nothing_else_leaves_inference_mode(kind, rows):
    make, shape = FAMILY[kind]
    norm, plain = L.BatchNormalization(), L.Dropout(0.5)
    model = keras.Sequential([keras.Input(shape), norm, plain, make(mc=True)])
    moments = [weight + 0.5 for weight in norm.get_weights()]
    norm.set_weights(moments)
    inputs = []
    model.layers[-1].call = watched(model.layers[-1].call, inputs)
    model(rows, training=False)
    expected = (rows - moments[2]) / np.sqrt(moments[3] + 1e-3) * moments[0] + moments[1]
    np.testing.assert_allclose(inputs[0], expected, rtol=1e-4, atol=1e-5)
    for now, then in zip(norm.get_weights(), moments, strict=True):
        np.testing.assert_array_equal(now, then)


def watched(call, seen):
    def look(x, **kwargs):
        seen.append(array(x))
        return call(x, **kwargs)

    return look


def test_a_seed_repeats_the_noise_two_layers_with_one_seed_draw_alike_and_none_differs(kind, rows):
    make, _ = FAMILY[kind]
    start = make(seed=1)
    start(rows)
    layers = {
        "one": make(seed=5),
        "same": make(seed=5),
        # Far away: on torch, Keras adds seed and count, so that the second draw of 5 is the first of 6.
        "other": make(seed=600),
        "none": make(),
        "again": make(),
    }
    y = {}
    for name, layer in layers.items():
        layer.build(rows.shape)
        for mine, weight in zip(layer.trainable_weights, start.trainable_weights, strict=True):
            mine.assign(weight)
        y[name] = [array(layer(rows, training=True)) for _ in range(3)]
    np.testing.assert_array_equal(y["one"], y["same"])
    names = ("one", "other", "none", "again")
    draws = np.stack([draw for name in names for draw in y[name]])
    # Twelve draws, of which no two are alike.
    assert len(np.unique(draws.reshape(len(draws), -1), axis=0)) == len(draws)


def test_rate_0_is_the_identity_and_draws_nothing(rng):
    x = rng.normal(size=(4, 3, 4, 6)).astype("float32")
    for name in ("Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout", "DropPath", "DropBlock2D"):
        layer = getattr(K, name)(0.0, mc=True)
        np.testing.assert_array_equal(array(layer(x, training=True)), x)
        assert not layer.variables


def test_masks_are_kept(kind, rows):
    make, shape = FAMILY[kind]
    layer = make(mc=True, **({"return_sequences": True} if kind in ("LSTM", "GRU") else {}))
    assert layer.supports_masking
    mask = keras.ops.convert_to_tensor(np.ones((ROWS, shape[0]), bool))
    assert layer.compute_mask(keras.ops.convert_to_tensor(rows), mask) is mask


def test_numbers_can_be_supplied_and_a_layer_silenced(kind, rows):
    make, _ = FAMILY[kind]
    layer = make(mc=True)
    silent = make(mc=False)
    silent.build(rows.shape)
    layer.build(rows.shape)
    for mine, weight in zip(silent.trainable_weights, layer.trainable_weights, strict=True):
        mine.assign(weight)
    with supply(layer, None):
        for training in (True, False):
            np.testing.assert_array_equal(array(layer(rows, training=training)), array(silent(rows)))
    if not hasattr(layer, "noisy"):
        return
    shapes = []

    def halves(shape):
        shapes.append(tuple(shape))
        # What is dropped is a function of the place alone.
        return keras.ops.broadcast_to(keras.ops.linspace(0.0, 0.99, int(shape[-1]), dtype="float32"), shape)

    with supply(silent, halves):
        first, second = (array(silent(rows, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert shapes
    assert all(shape[0] == ROWS for shape in shapes)
    np.testing.assert_array_equal(array(silent.noisy(keras.ops.convert_to_tensor(rows), halves)), first)
    # What was supplied is over.
    assert (array(layer(rows)) != array(layer(rows))).any()
