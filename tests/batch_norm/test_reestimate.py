"""reestimate: statistics pooled exactly, from the pass it says, and nothing else of the model touched."""

import gc
import weakref

import keras
import numpy as np
import pytest
from backend_tools import array
from keras_versions import HAS_RENORM, LIST_OF_ONE

import kerasreg as kr
from kerasreg._core import progress

L = keras.layers
BATCH_NORMS = [L.BatchNormalization, kr.layers.BatchNormalization]


def moments(values):
    values = np.asarray(values, "float64").reshape(-1, np.shape(values)[-1])
    return values.mean(axis=0), values.var(axis=0)


def statistics(layer):
    return array(layer.moving_mean.value), array(layer.moving_variance.value)


def state(model, without=()):
    skipped = {id(v) for layer in without for v in (layer.moving_mean, layer.moving_variance)}
    variables = [*model.variables, *model.metrics_variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    return [array(v.value) for v in variables if id(v) not in skipped]


def assert_same(before, after):
    assert len(before) == len(after) > 0
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def two_layers(batch_norm=L.BatchNormalization, **options):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            L.Dense(4, name="first"),
            batch_norm(name="bn1", **options),
            L.ReLU(),
            L.Dense(2, name="second"),
            batch_norm(name="bn2", **options),
        ]
    )
    model.get_layer("bn1").gamma.assign([1.0, 2.0, -1.0, 0.5])
    model.get_layer("bn1").beta.assign([0.1, -0.2, 0.3, 0.0])
    return model


def oracle(model, batches):
    """What reaches the two batch norms, in float64, each batch normalised with itself."""
    k1, b1 = (w.astype("float64") for w in model.get_layer("first").get_weights())
    k2, b2 = (w.astype("float64") for w in model.get_layer("second").get_weights())
    bn1 = model.get_layer("bn1")
    gamma, beta = array(bn1.gamma.value), array(bn1.beta.value)
    first = [x @ k1 + b1 for x in batches]
    normal = [gamma * (h - h.mean(0)) / np.sqrt(h.var(0) + bn1.epsilon) + beta for h in first]
    second = [np.maximum(h, 0.0) @ k2 + b2 for h in normal]
    return np.concatenate(first), np.concatenate(second)


def halves(x, size):
    return [x[i : i + size] for i in range(0, len(x), size)]


@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_the_statistics_are_those_of_all_values_together(rng, batch_norm):
    model = two_layers(batch_norm)
    # Batches that differ, and a last one of one row: an average over batches would be wrong.
    x = (rng.normal(size=(41, 3)) + np.arange(41)[:, None] / 4).astype("float32")
    kr.reestimate(model, x, batch_size=8)
    for name, values in zip(("bn1", "bn2"), oracle(model, halves(x, 8)), strict=True):
        mean, variance = statistics(model.get_layer(name))
        np.testing.assert_allclose(mean, moments(values)[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance, moments(values)[1], rtol=1e-5)


def test_a_mean_far_from_zero_costs_no_digits(rng):
    model = keras.Sequential([keras.Input((2,)), L.BatchNormalization(name="bn")])
    x = (1e4 + rng.normal(size=(20_000, 2))).astype("float32")
    kr.reestimate(model, x, batch_size=7000)
    mean, variance = statistics(model.get_layer("bn"))
    np.testing.assert_allclose(variance, moments(x)[1], rtol=1e-4)
    np.testing.assert_allclose(mean, moments(x)[0], atol=2e-3)


def test_images_count_every_position_and_channels_may_come_first(rng):
    x = rng.normal(size=(5, 2, 3, 4)).astype("float32")
    for axis, moved in ((-1, x), (1, np.moveaxis(x, 1, -1))):
        model = keras.Sequential([keras.Input(x.shape[1:]), L.BatchNormalization(axis=axis)])
        report = kr.reestimate(model, x, batch_size=2)
        for found, wanted in zip(statistics(model.layers[0]), moments(moved), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        assert report.rows[0]["values"] == x.size // x.shape[axis]


@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_masked_positions_do_not_count(rng, batch_norm):
    words = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 1, 1, 2], [0, 0, 0, 0]])
    model = keras.Sequential([keras.Input((4,)), L.Embedding(4, 3, mask_zero=True), batch_norm(name="bn")])
    report = kr.reestimate(model, words, batch_size=3)
    values = array(model.layers[0].embeddings.value)[words[words > 0]]
    for found, wanted in zip(statistics(model.get_layer("bn")), moments(values), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    assert report.rows[0]["values"] == 7


def test_a_mask_without_the_feature_axis_counts_positions_too(rng):
    x, mask = rng.normal(size=(4, 3, 5)).astype("float32"), rng.random((4, 5)) < 0.6
    inputs = [keras.Input((3, 5)), keras.Input((5,), dtype="bool")]
    layer = kr.layers.BatchNormalization(axis=1)
    model = keras.Model(inputs, layer(inputs[0], mask=inputs[1]))
    kr.reestimate(model, [x, mask], batch_size=2)
    for found, wanted in zip(statistics(layer), moments(np.moveaxis(x, 1, -1)[mask]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_shared_layer_pools_its_calls(rng):
    a, b = keras.Input((2,)), keras.Input((2,))
    shared = L.BatchNormalization()
    model = keras.Model([a, b], [shared(a), shared(b)])
    x = rng.normal(size=(6, 2)).astype("float32"), (3 + rng.normal(size=(6, 2))).astype("float32")
    kr.reestimate(model, list(x), batch_size=4)
    for found, wanted in zip(statistics(shared), moments(np.concatenate(x)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_noise_dropout_and_augmentation_are_off(rng):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            L.RandomTranslation(0.5, 0.5, fill_mode="constant"),
            L.GaussianNoise(0.9),
            L.Dropout(0.9),
            L.BatchNormalization(name="bn"),
        ]
    )
    x = rng.normal(size=(7, 4, 4, 2)).astype("float32")
    kr.reestimate(model, x, batch_size=4)
    for found, wanted in zip(statistics(model.get_layer("bn")), moments(x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_nothing_else_changes(rng):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            kr.layers.Dropout(0.5, seed=1, mc=True),
            L.Dense(4),
            L.BatchNormalization(name="bn"),
            L.Dropout(0.5, seed=2),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    x, y = rng.normal(size=(32, 3)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")
    model.fit(x, y, verbose=0)
    bn = model.get_layer("bn")
    before, moved = state(model, [bn]), statistics(bn)
    kr.reestimate(model, (x, y))
    assert_same(before, state(model, [bn]))
    assert not np.array_equal(statistics(bn)[0], moved[0])
    assert model.predict(x, verbose=0).shape == (32, 1)
    model.fit(x, y, verbose=0)


def test_averaged_weights_get_statistics_of_their_own(rng):
    model = two_layers()
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8), "mse")
    x, y = (3 + rng.normal(size=(64, 3))).astype("float32"), rng.normal(size=(64, 2)).astype("float32")
    # After the last epoch the weights are the averages, the statistics those of what was trained.
    model.fit(x, y, epochs=3, batch_size=16, verbose=0)
    kr.reestimate(model, x, batch_size=64)
    outputs = model.predict(x, verbose=0)
    np.testing.assert_allclose(outputs.mean(axis=0), array(model.get_layer("bn2").beta.value), atol=1e-4)


class Pairs(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    @property
    def num_batches(self):
        return -(-len(self.x) // 4)

    def __getitem__(self, i):
        return self.x[4 * i : 4 * i + 4], np.zeros(len(self.x[4 * i : 4 * i + 4]))


def data_of_every_kind(x):
    import tensorflow as tf

    y = np.zeros(len(x))
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    return {
        "array": x,
        "float64": x.astype("float64"),
        "nested lists": x.tolist(),
        "pair": (x, y),
        "triple": (x, y, y),
        "tensor": keras.ops.convert_to_tensor(x),
        "dataset": tf.data.Dataset.from_tensor_slices(x).batch(4),
        "dataset of pairs": dataset.batch(4),
        "unknown length": dataset.batch(4).filter(lambda x, y: True),
        "PyDataset": Pairs(x),
        "generator": ((x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4)),
    }


def test_data_of_every_kind_that_fit_takes(rng):
    x = rng.normal(size=(10, 3)).astype("float32")
    wanted = None
    for kind, data in data_of_every_kind(x).items():
        keras.utils.set_random_seed(0)
        model = two_layers()
        assert kr.reestimate(model, data, batch_size=4).batches == 3, kind
        found = [*statistics(model.get_layer("bn1")), *statistics(model.get_layer("bn2"))]
        wanted = wanted or found
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=kind)


def test_inputs_by_name(rng):
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((2,), name="b")}
    layer = L.BatchNormalization()
    model = keras.Model(inputs, layer(L.Add()([inputs["a"], inputs["b"]])))
    x = {name: rng.normal(size=(6, 2)).astype("float32") for name in inputs}
    kr.reestimate(model, (x, np.zeros(6)), batch_size=4)
    np.testing.assert_allclose(statistics(layer)[0], moments(x["a"] + x["b"])[0], rtol=1e-5, atol=1e-6)


def test_steps_limit_the_batches_and_end_what_has_no_end(rng):
    import tensorflow as tf

    x = rng.normal(size=(8, 3)).astype("float32")
    endless = tf.data.Dataset.from_tensor_slices(x).batch(2).repeat()
    model = two_layers()
    before = state(model)
    with pytest.raises(ValueError, match=r"`steps` of reestimate .* never end, got None"):
        kr.reestimate(model, endless)
    assert_same(before, state(model))
    assert kr.reestimate(model, endless, steps=3).batches == 3
    np.testing.assert_allclose(
        statistics(model.get_layer("bn1"))[0],
        moments(x[:6] @ model.get_layer("first").get_weights()[0])[0],
        rtol=1e-5,
        atol=1e-6,
    )
    assert kr.reestimate(model, x, steps=99, batch_size=4).batches == 2


class Block(L.Layer):
    """A layer whose Python calls a batch norm; counts how often that Python runs."""

    def __init__(self):
        super().__init__()
        self.bn = kr.layers.BatchNormalization(name="inner")
        self.runs = 0

    def build(self, shape):
        self.bn.build(shape)

    def call(self, x, training=None):
        self.runs += 1
        return self.bn(x, training=training)


class Subclassed(keras.Model):
    def __init__(self, unused=False):
        super().__init__()
        self.block, self.head, self.bn = Block(), L.Dense(2), L.BatchNormalization(name="outer")
        if unused:
            self.unused = L.BatchNormalization(name="unused")
            self.unused.build((None, 2))

    def call(self, x):
        return self.bn(self.head(self.block(x)))


def test_subclassed_and_nested_models(rng):
    model = Subclassed()
    x = (2 + rng.normal(size=(10, 3))).astype("float32")
    model(x)
    outer = keras.Sequential([keras.Input((3,)), model])
    report = kr.reestimate(outer, x)
    np.testing.assert_allclose(statistics(model.block.bn)[1], moments(x)[1], rtol=1e-5)
    assert [row["layer"].rpartition("/")[2] for row in report.rows] == ["inner", "outer"]
    assert len({row["layer"] for row in report.rows}) == 2


def test_each_shape_is_compiled_once(rng):
    model = Subclassed()
    model(np.zeros((1, 3)))
    before = model.block.runs
    kr.reestimate(model, rng.normal(size=(85, 3)).astype("float32"), batch_size=8)
    # Eleven batches of two shapes.
    assert 1 <= model.block.runs - before <= 3
    before = model.block.runs
    kr.reestimate(model, rng.normal(size=(16, 3)).astype("float32"), batch_size=8)
    assert model.block.runs == before
    # What is kept must know a layer that has been frozen since.
    model.bn.trainable = False
    outer = statistics(model.bn)
    kr.reestimate(model, rng.normal(size=(16, 3)).astype("float32"), batch_size=8)
    np.testing.assert_array_equal(statistics(model.bn)[0], outer[0])


def test_what_is_kept_does_not_keep_the_model():
    model = two_layers()
    kr.reestimate(model, np.ones((4, 3)))
    dead = weakref.ref(model)
    del model
    gc.collect()
    assert dead() is None


def test_a_layer_that_is_not_reached_is_named(rng):
    model = Subclassed(unused=True)
    x = rng.normal(size=(4, 3)).astype("float32")
    model(x)
    before = state(model)
    with pytest.raises(ValueError, match=r"reestimate .* could be seen for unused"):
        kr.reestimate(model, x)
    assert_same(before, state(model))


class Looping(keras.Model):
    def __init__(self):
        super().__init__()
        self.bn = L.BatchNormalization(name="in_a_loop")
        self.bn.build((None, 3))

    def call(self, x):
        return keras.ops.map(self.bn, x)


def test_a_layer_inside_a_loop_is_named_too():
    model = Looping()
    model(np.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match=r"outside of loops, got .* in_a_loop"):
        kr.reestimate(model, np.zeros((2, 4, 3), "float32"))


def interrupted(x, error):
    yield x
    yield x
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk")])
def test_an_interrupted_pass_changes_nothing(rng, error):
    model = two_layers()
    before = state(model)
    with pytest.raises(type(error)):
        kr.reestimate(model, interrupted(rng.normal(size=(4, 3)), error))
    assert_same(before, state(model))


def test_an_interrupted_assignment_is_undone(rng, monkeypatch):
    model = two_layers()
    before = state(model)
    last = model.get_layer("bn2").moving_mean
    whole, failed = type(last).assign, []

    def failing(variable, value):
        if variable is last and not failed:
            failed.append(True)
            raise KeyboardInterrupt
        return whole(variable, value)

    monkeypatch.setattr(type(last), "assign", failing)
    with pytest.raises(KeyboardInterrupt):
        kr.reestimate(model, 5 + rng.normal(size=(4, 3)))
    assert failed
    assert_same(before, state(model))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_is_an_error(rng, bad):
    model = two_layers()
    x = rng.normal(size=(12, 3))
    x[9, 1] = bad
    before = state(model)
    with pytest.raises(ValueError, match="got NaN or infinity at the input of 'bn1' in batch 3"):
        kr.reestimate(model, x, batch_size=4)
    assert_same(before, state(model))


def test_what_the_variable_cannot_hold_is_an_error(rng):
    model = keras.Sequential([keras.Input((2,)), L.BatchNormalization(dtype="float16")])
    before = state(model)
    with pytest.raises(ValueError, match=r"moving_variance can hold in float16"):
        kr.reestimate(model, rng.normal(size=(50, 2)) * 3000)
    assert_same(before, state(model))


@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_half_precision_measures_in_single(rng, batch_norm):
    model = keras.Sequential([keras.Input((2,)), batch_norm(dtype="mixed_float16")])
    x = (300 + rng.normal(size=(5000, 2))).astype("float32")
    kr.reestimate(model, x, batch_size=2048)
    for found, wanted in zip(statistics(model.layers[0]), moments(x.astype("float16")), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.filterwarnings(LIST_OF_ONE)
def test_frozen_layers_keep_what_they_have_and_normalise_with_it(rng):
    model = two_layers()
    x = (2 + rng.normal(size=(16, 3))).astype("float32")
    model.get_layer("bn1").trainable = False
    before = statistics(model.get_layer("bn1"))
    report = kr.reestimate(model, x, batch_size=8)
    assert report.frozen == ("bn1",)
    assert "frozen, as it was: bn1" in str(report)
    np.testing.assert_array_equal(statistics(model.get_layer("bn1"))[0], before[0])
    inner = keras.Model(model.inputs, model.get_layer("second").output)
    wanted = moments(inner.predict(x, verbose=0))
    for found, want in zip(statistics(model.get_layer("bn2")), wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    kr.freeze_batch_norm(model)
    with pytest.raises(ValueError, match="got only frozen ones, bn1, bn2"):
        kr.reestimate(model, x)


@pytest.mark.parametrize("averaging", ["cumulative", "debiased"])
def test_an_average_over_batches_goes_on_from_here(rng, averaging):
    layer = kr.layers.BatchNormalization(averaging=averaging, update_rate=0.1)
    model = keras.Sequential([keras.Input((2,)), layer])
    x = (5 + rng.normal(size=(40, 2))).astype("float32")
    kr.reestimate(model, x, batch_size=4)
    mean = moments(x)[0]
    np.testing.assert_allclose(statistics(layer)[0], mean, rtol=1e-5)
    layer(np.zeros((4, 2), "float32"), training=True)
    # The eleventh batch, of mean 0.
    rate = 1 / 11 if averaging == "cumulative" else 0.1 / (1 - 0.9**11)
    np.testing.assert_allclose(statistics(layer)[0], (1 - rate) * mean, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"virtual_batch_size": 2}, {"normalize_with": "moving"}, {"synchronized": True}]
)
def test_options_of_training_do_not_change_what_is_measured(rng, options):
    x = (1 + rng.normal(size=(12, 3))).astype("float32")
    found = []
    for given in ({}, options):
        keras.utils.set_random_seed(0)
        model = two_layers(kr.layers.BatchNormalization, **given)
        kr.reestimate(model, x, batch_size=8)
        found.append([*statistics(model.get_layer("bn1")), *statistics(model.get_layer("bn2"))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.skipif(not HAS_RENORM, reason="Keras has no renorm before 3.14")
def test_renormalisation_starts_from_the_same_statistics(rng):
    model = two_layers(renorm=True)
    x = (1 + rng.normal(size=(12, 3))).astype("float32")
    kr.reestimate(model, x, batch_size=8)
    layer = model.get_layer("bn2")
    values = oracle(model, halves(x, 8))[1]
    mean, variance = moments(values)
    np.testing.assert_allclose(array(layer.moving_variance.value), variance, rtol=1e-4)
    np.testing.assert_allclose(array(layer.renorm_mean.value), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(layer.renorm_stddev.value), np.sqrt(variance + layer.epsilon), rtol=1e-4)


class Doubling(L.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def test_a_batch_norm_of_ones_own_computes_what_it_computes(rng):
    model = keras.Sequential([keras.Input((3,)), Doubling(), L.BatchNormalization(name="next")])
    x = (4 + rng.normal(size=(50, 3))).astype("float32")
    before = state(model, model.layers)
    kr.reestimate(model, x, batch_size=50)
    np.testing.assert_allclose(statistics(model.layers[0])[1], moments(x)[1], rtol=1e-5)
    mean, variance = statistics(model.get_layer("next"))
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(variance, 4, rtol=5e-3)
    assert_same(before, state(model, model.layers))


def test_the_report_tells_how_far_the_statistics_moved():
    model = keras.Sequential([keras.Input((2,)), L.BatchNormalization(name="bn", epsilon=1e-12)])
    # Means 0 and 3 instead of 0, variances 1 and 9 instead of 1.
    x = np.array([[-1.0, 0.0], [1.0, 6.0]])
    report = kr.reestimate(model, x)
    row = {"layer": "bn", "values": 2, "mean_shift": 0.5**0.5, "variance_ratio": 3.0}
    assert report.to_dict()["rows"][0] == pytest.approx(row)
    assert (report.batches, report.frozen) == (1, ())
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "values", "mean", "shift", "variance"]
    assert lines[1].split() == ["bn", "2", "0.707", "sd", "x", "3"]
    assert lines[2] == "1 batch"
    assert kr.reestimate(model, x).rows[0]["mean_shift"] == pytest.approx(0.0, abs=1e-6)


def test_a_bar_for_those_who_wait(rng, capsys, monkeypatch):
    model = two_layers()
    x = rng.normal(size=(8, 3))
    monkeypatch.setattr(progress, "PATIENCE", 1e9)
    kr.reestimate(model, x, batch_size=4)
    kr.reestimate(model, x, batch_size=4, verbose=False)
    assert capsys.readouterr().out == ""
    kr.reestimate(model, x, batch_size=4, verbose=True)
    assert "2/2" in capsys.readouterr().out
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    kr.reestimate(model, x, batch_size=4)
    assert "2/2" in capsys.readouterr().out


def plain():
    return keras.Sequential([keras.Input((3,)), L.Dense(2, name="only")])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": "resnet"}, r"`model` of reestimate .* built keras.Model, got 'resnet'"),
        ({"model": lambda: keras.Sequential([L.BatchNormalization()])}, "unbuilt Sequential .* call it once"),
        ({"model": plain}, r"BatchNormalization, got the layers .*only \(Dense\)"),
        ({"steps": 0}, "`steps` of reestimate .* at least 1, got 0"),
        ({"batch_size": 2.5}, "`batch_size` of reestimate .* got 2.5"),
        ({"verbose": "loud"}, "`verbose` of reestimate .* got 'loud'"),
        ({"data": np.zeros((0, 3))}, "`data` of reestimate .* at least 1, got shapes"),
        ({"data": iter(())}, "`data` of reestimate .* at least one row, got none"),
        ({"data": 3.0}, "`data` of reestimate .* got"),
        ({"data": object()}, "`data` of reestimate .* a dataset or an iterable"),
        ({"data": [np.zeros((3, 3)), np.zeros((2, 3))]}, "same number of rows"),
    ],
)
def test_bad_arguments(arguments, sentence):
    model = arguments.pop("model", two_layers)
    arguments = {"data": np.zeros((4, 3)), **arguments}
    with pytest.raises(ValueError, match=sentence):
        kr.reestimate(model() if callable(model) else model, **arguments)
