"""freeze_batch_norm: inference mode through fit, whatever surrounds the layer and becomes of the model."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg._core.paths import layer_paths

L = keras.layers


def data(rng, rows=32):
    return (3 + 2 * rng.normal(size=(rows, 3))).astype("float32"), rng.normal(size=(rows, 2)).astype(
        "float32"
    )


def statistics(model):
    layers = batch_norms(model)
    return [array(w.value) for layer in layers for w in (layer.moving_mean, layer.moving_variance)]


def batch_norms(model):
    return [layer for layer in layer_paths(model) if isinstance(layer, L.BatchNormalization)]


def sequential():
    return keras.Sequential(
        [
            keras.Input((3,)),
            L.Dense(4),
            L.BatchNormalization(name="keras_bn"),
            kr.layers.BatchNormalization(update_rate=0.5, name="our_bn"),
            L.Dense(2),
        ]
    )


def nested(training):
    inputs = keras.Input((3,))
    base = keras.Model(inputs, L.BatchNormalization(momentum=0.5)(L.Dense(4)(inputs)), name="base")
    outer = keras.Input((3,))
    return keras.Model(outer, L.Dense(2)(base(outer, training=training)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.bn, self.head = L.BatchNormalization(momentum=0.5), L.Dense(2)

    def call(self, x, training=None):
        return self.head(self.bn(x, training=training))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 3)))
    return model


MODELS = {
    "sequential": sequential,
    "nested, training=False": lambda: nested(False),
    "nested, training=True": lambda: nested(True),
    "subclassed": subclassed,
}


def compiled(model):
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def assert_same(before, after):
    assert len(before) == len(after) > 0
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", MODELS)
def test_fit_leaves_the_statistics_alone_at_once_and_until_it_is_undone(rng, kind):
    model, (x, y) = compiled(MODELS[kind]()), data(rng)
    model.fit(x, y, verbose=0)
    before = statistics(model)
    assert kr.freeze_batch_norm(model) is model
    # Fine-tuning switches the whole model on again; that must not thaw it.
    model.trainable = True
    affine = [array(layer.beta.value) for layer in batch_norms(model)]
    model.fit(x, y, verbose=0)
    assert_same(before, statistics(model))
    for was, layer in zip(affine, batch_norms(model), strict=True):
        assert not np.array_equal(was, array(layer.beta.value))
    assert kr.freeze_batch_norm(model, False) is model
    model.fit(x, y, verbose=0)
    for a, b in zip(before, statistics(model), strict=True):
        assert not np.array_equal(a, b)


@pytest.mark.parametrize("kind", MODELS)
def test_training_gives_what_inference_gives(rng, kind):
    model, (x, y) = MODELS[kind](), data(rng)
    moving = array(model(x, training=False))
    assert not np.allclose(array(model(x, training=True)), moving)
    kr.freeze_batch_norm(model)
    np.testing.assert_array_equal(array(model(x, training=True)), array(model(x, training=False)))
    # The loss that fit tells before its only step is that of inference.
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(x, y, batch_size=len(x), verbose=0)
    outputs = model.predict(x, verbose=0)
    assert history.history["loss"][0] == pytest.approx(np.square(outputs - y).mean(), rel=1e-5)


@pytest.mark.parametrize("kind", ["sequential", "nested, training=True"])
@pytest.mark.parametrize("copy", ["save", "clone"])
def test_a_copy_is_frozen_too(rng, tmp_path, kind, copy):
    model, (x, y) = kr.freeze_batch_norm(compiled(MODELS[kind]())), data(rng)
    for value, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, 0.1 * (value + 1)))
    if copy == "save":
        model.save(tmp_path / "model.keras")
        other = keras.models.load_model(tmp_path / "model.keras")
    else:
        other = compiled(keras.models.clone_model(model))
        other.set_weights(model.get_weights())
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    before = statistics(other)
    other.fit(x, y, verbose=0)
    assert_same(before, statistics(other))
    # It was of what class it was.
    kr.freeze_batch_norm(other, False)
    kr.freeze_batch_norm(model, False)
    assert [type(layer) for layer in batch_norms(other)] == [type(layer) for layer in batch_norms(model)]
    other.fit(x, y, verbose=0)
    assert not np.array_equal(before[0], statistics(other)[0])


def test_weight_files_fit_before_and_after(rng, tmp_path):
    model = sequential()
    x, _ = data(rng)
    model.save_weights(tmp_path / "plain.weights.h5")
    expected = model.predict(x, verbose=0)
    frozen = kr.freeze_batch_norm(sequential())
    frozen.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(frozen.predict(x, verbose=0), expected)
    frozen.save_weights(tmp_path / "frozen.weights.h5")
    plain = sequential()
    plain.load_weights(tmp_path / "frozen.weights.h5")
    np.testing.assert_array_equal(plain.predict(x, verbose=0), expected)


def test_gamma_and_beta_can_be_held_too(rng, tmp_path):
    model, (x, y) = sequential(), data(rng)
    kr.freeze_batch_norm(model, affine=False)
    compiled(model)
    before = [layer.get_weights() for layer in batch_norms(model)]
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    model.fit(x, y, verbose=0)
    for was, layer in zip(before, batch_norms(model), strict=True):
        assert_same(was, layer.get_weights())
    assert len(model.trainable_variables) == 4
    kr.freeze_batch_norm(model)
    assert len(model.trainable_variables) == 8
    kr.freeze_batch_norm(model, affine=False)
    kr.freeze_batch_norm(model, False)
    assert len(model.trainable_variables) == 8


def test_what_was_not_trainable_stays_so():
    model = sequential()
    first, second = batch_norms(model)
    first.trainable = False
    kr.freeze_batch_norm(model, affine=False)
    kr.freeze_batch_norm(model, False)
    assert (first.trainable, second.trainable) == (False, True)


def test_the_optimizer_goes_on_where_it_was(rng):
    model, (x, y) = sequential(), data(rng)
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=8, verbose=0)
    steps = int(array(model.optimizer.iterations.value))
    kr.freeze_batch_norm(model).fit(x, y, batch_size=8, verbose=0)
    assert int(array(model.optimizer.iterations.value)) == 2 * steps


class Own(L.BatchNormalization):
    def __init__(self, note="", **kwargs):
        super().__init__(**kwargs)
        self.note = note

    def get_config(self):
        return {**super().get_config(), "note": self.note}


def test_a_class_of_ones_own_survives(rng, tmp_path):
    model = keras.Sequential([keras.Input((3,)), Own(note="kept", name="own"), L.Dense(2)])
    x, _ = data(rng)
    kr.freeze_batch_norm(model)
    assert kr.freeze_batch_norm(keras.models.clone_model(model), False).get_layer("own").note == "kept"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"Own": Own})
    assert loaded.get_layer("own").note == "kept"
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    kr.freeze_batch_norm(loaded, False)
    assert type(loaded.get_layer("own")) is Own
    config = {**model.get_layer("own").get_config(), "frozen": {"class": "Lost", "affine_held": False}}
    with pytest.raises(ValueError, match="'Lost', which Keras does not know"):
        type(model.get_layer("own")).from_config(config)


@pytest.mark.parametrize(
    ("model", "arguments", "sentence"),
    [
        (lambda: None, {}, "`model` of freeze_batch_norm .* got None"),
        (lambda: keras.Sequential([L.BatchNormalization()]), {}, "unbuilt Sequential .* call it once"),
        (lambda: keras.Sequential([keras.Input((2,)), L.ReLU(name="r")]), {}, r"layers .*r \(ReLU\)"),
        (sequential, {"frozen": "yes"}, "`frozen` of freeze_batch_norm .* got 'yes'"),
        (sequential, {"affine": None}, "`affine` of freeze_batch_norm .* got None"),
    ],
)
def test_bad_arguments(model, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        kr.freeze_batch_norm(model(), **arguments)
