"""to_keras: the same predictions from Keras alone, and a word about each thing that trains otherwise."""

import json
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from backend_tools import array
from nouns import INPUT_SHAPES, make, make_plain, public_classes, scramble

import kerasreg as kr
from kerasreg._core.sublayers import with_sublayers

L, K = keras.layers, kr.layers


def chain(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def data_for(model, rng, rows=3):
    found = [rng.normal(size=(rows, *[n or 5 for n in t.shape[1:]])).astype("float32") for t in model.inputs]
    return found[0] if len(found) == 1 else found


def outputs_of(model, x, training=False):
    return [array(keras.ops.cast(y, "float32")) for y in keras.tree.flatten(model(x, training=training))]


def convert(model, rng, tolerance=1e-6, x=None, **options):
    """Convert; predictions equal, the original as it was, nothing shared, nothing of ours left."""
    x = data_for(model, rng) if x is None else x
    # As after some use, so that a state left behind shows.
    outputs_of(model, x, training=True)
    before = [array(v.value) for v in model.variables]
    new, report = kr.to_keras(model, report=True, **options)
    for old_value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old_value, array(variable.value))
    assert not {id(v) for v in model.variables} & {id(v) for v in new.variables}
    if not options:
        for a, b in zip(outputs_of(model, x), outputs_of(new, x), strict=True):
            assert np.ptp(a) > 0
            np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * np.abs(a).max())
    for layer in with_sublayers(new):
        assert not any(base.__module__.startswith("kerasreg") for base in type(layer).__mro__)
    assert "kerasreg" not in json.dumps(keras.saving.serialize_keras_object(new))
    assert new.name == model.name
    assert type(new) is type(model)
    return new, report


KIND = {
    "BatchNormalization": "BatchNormalization",
    "ConcreteDropout": "Dropout + Dense",
    "DropBlock2D": "Identity",
    "DropPath": "Dropout",
    "Normalization": "Normalization",
    "TemperatureScaling": "Rescaling",
}


@pytest.mark.parametrize("label", public_classes("layers"))
def test_every_layer_has_a_counterpart_that_predicts_the_same(rng, label):
    name = label.partition(".")[2]
    layer = make_plain(label)
    model = chain(INPUT_SHAPES.get(label, (4, 6))[1:], layer)
    scramble(model)
    new, report = convert(model, rng)
    assert report.replaced == {layer.name: KIND.get(name, name)}
    assert new.layers[0].name == layer.name


@pytest.mark.parametrize("label", public_classes("layers"))
def test_options_are_kept_and_those_that_cannot_be_are_told(rng, label):
    layer = make(label)
    if hasattr(layer, "mc"):
        layer.mc = False
    shape = INPUT_SHAPES.get(label, (4, 6))[1:]
    shape = (1,) if label == "layers.Normalization" else shape
    model = chain(shape, layer)
    scramble(model)
    new, report = convert(model, rng)
    there, here = new.layers[0].get_config(), layer.get_config()
    for option in there.keys() & here.keys() - {"momentum", "mean", "variance", "build_config", "axis"}:
        assert json.dumps(there[option]) == json.dumps(here[option]), option
    lossless = ("BatchNorm", "Dropout", "SpatialDropout", "Gaussian", "Alpha", "LSTM", "GRU", "Normalization")
    assert bool(report.differs) != label.partition(".")[2].startswith(lossless)


def test_batch_norm_keeps_its_decay_and_statistics_and_names_what_keras_lacks(rng):
    plain = K.BatchNormalization(update_rate=0.25, epsilon=0.01, center=False, name="plain")
    ours = K.BatchNormalization(averaging="debiased", virtual_batch_size=2, name="ours")
    model = chain((4,), plain, ours)
    new, report = convert(model, rng)
    assert new.layers[0].momentum == 0.75
    assert list(report.differs) == ["ours"]
    assert "averaging='debiased', virtual_batch_size=2" in report.differs["ours"]
    np.testing.assert_array_equal(array(new.layers[1].moving_mean), array(ours.moving_mean))
    # The next step of training is the old layer's.
    x = rng.normal(size=(8, 4)).astype("float32")
    np.testing.assert_allclose(
        array(new.layers[0](x, training=True)), array(plain(x, training=True)), atol=1e-5
    )
    np.testing.assert_allclose(array(new.layers[0].moving_variance), array(plain.moving_variance), rtol=1e-5)


def test_noise_in_training_is_that_of_the_old_model(rng):
    layers = [K.Dropout(0.5, seed=1), K.GaussianDropout(0.5, seed=2), K.AlphaDropout(0.5, seed=3)]
    model = chain((6,), *layers, L.Dense(2))
    new, _ = convert(model, rng)
    x = rng.normal(size=(4, 6)).astype("float32")
    for a, b in zip(outputs_of(model, x, True), outputs_of(new, x, True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_how_a_recurrent_layer_runs_is_told_where_keras_forgets_it(rng):
    slow = K.GRU(3, implementation=1, return_sequences=True, name="slow")
    _, report = convert(chain((4, 2), slow, K.LSTM(3, recurrent_dropout=0.2)), rng)
    assert list(report.differs) == ["slow"]
    assert "implementation=1" in report.differs["slow"]


def test_drop_path_is_dropout_with_one_draw_for_each_row(rng):
    model = chain((3, 4), K.DropPath(0.5, seed=0))
    new, report = convert(model, rng)
    assert not report.differs
    y = array(new(np.ones((400, 3, 4), "float32"), training=True))
    rows = y.reshape(400, -1)
    assert set(np.unique(rows)) == {0.0, 2.0}
    assert (np.ptp(rows, axis=1) == 0).all()
    assert 0.4 < (rows[:, 0] > 0).mean() < 0.6
    _, report = convert(chain((4,), K.DropPath(0.5, scale_by_keep=False, name="path")), rng)
    assert report.replaced == {"path": "Identity"}
    assert "no noise" in report.differs["path"]


def test_concrete_dropout_becomes_dropout_at_its_rate_and_weight_decay(rng):
    dense = L.Dense(3, name="dense", kernel_regularizer=kr.regularizers.L1(0.01))
    layer = K.ConcreteDropout(dense, num_examples=10, length_scale=2.0, loss_scale=3.0, name="head")
    model = chain((5,), layer)
    layer.rate_logit.assign(np.log(0.25 / 0.75))
    new, report = convert(model, rng)
    dropout, _ = new.layers[0].layers
    assert report.replaced == {"head": "Dropout + Dense"}
    assert dropout.rate == pytest.approx(0.25)
    # s l^2 / (2 N (1 - p)), and the entropy no longer has anything to move.
    expected = (
        3 * 4 / (2 * 10 * 0.75) * np.square(array(dense.kernel)).sum() + 0.01 * np.abs(dense.kernel).sum()
    )
    np.testing.assert_allclose(float(sum(new.losses)), expected, rtol=1e-5)
    conv = chain((4, 4, 3), K.ConcreteDropout(L.Conv2D(2, 3), num_examples=10))
    new, _ = convert(conv, rng)
    assert tuple(new.layers[0].layers[0].noise_shape) == (None, 1, 1, None)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_normalization_keeps_the_digits_of_a_large_mean(rng, invert, policy):
    data = rng.normal(1e4 + 1 / 3, 1.0, size=(500, 3))
    data[:, 2] = 7.0
    layer = K.Normalization(invert=invert, dtype=policy)
    layer.adapt(data)
    model = chain((3,), layer)
    x = rng.normal(size=(5, 3)).astype("float32") if invert else data[:5].astype("float32")
    x[:, 2] = [7, 8, 9, 7, 5]
    new, _ = convert(model, rng, x=x, tolerance=1e-3 if "16" in policy else 3e-7)
    assert new(x).dtype == model(x).dtype
    exact = (x.astype("float64") - layer.mean) / np.sqrt(np.where(layer.variance > 0, layer.variance, 1))
    if not invert and policy == "float32":
        np.testing.assert_allclose(array(new(x)), exact, atol=1e-6)
    known = chain((3,), K.Normalization(mean=[0.5, 1e4 + 1 / 3, 0], variance=[4.0, 1.0, 0.0], invert=invert))
    convert(known, rng, tolerance=3e-7)


def test_normalization_goes_on_with_what_it_has_measured(rng):
    layer = K.Normalization(axis=(1,), name="n")
    layer.adapt(np.array([[1.0, 5.0], [3.0, 9.0]]))
    new, report = convert(chain((2,), layer), rng)
    assert not report.differs
    assert array(new.layers[0].adapt_mean).tolist() == [2.0, 7.0]
    new.layers[0].adapt(np.array([[0.0, 0.0], [4.0, 2.0]]))
    np.testing.assert_allclose(array(new(np.array([[4.0, 2.0]], "float32"))), [[1.0, 1.0]])
    tiny = K.Normalization()
    tiny.adapt(np.array([[0.0], [1e-9]]))
    with pytest.raises(ValueError, match="deviation below 1e-07"):
        kr.to_keras(chain((1,), tiny))


EQUAL = {
    "L1": kr.regularizers.L1(0.3),
    "L2": kr.regularizers.L2(0.3),
    "ElasticNet": kr.regularizers.ElasticNet(0.3, beta=0.5),
    "GaussianPrior": kr.regularizers.GaussianPrior(0.3, num_examples=5),
    "LaplacePrior": kr.regularizers.LaplacePrior(0.3, num_examples=5),
    "Orthogonal rows": kr.regularizers.Orthogonal(0.3),
    "Orthogonal columns": kr.regularizers.Orthogonal(0.3, mode="columns"),
}


@pytest.mark.parametrize("name", EQUAL)
def test_penalties_with_an_equal_in_keras(rng, name):
    model = chain((4,), L.Dense(3, kernel_regularizer=EQUAL[name]))
    new, report = convert(model, rng)
    assert not report.differs
    assert float(sum(model.losses)) > 0
    np.testing.assert_allclose(float(sum(new.losses)), float(sum(model.losses)), rtol=1e-5)


NO_EQUAL = {
    "kernel_regularizer": [
        kr.regularizers.GroupLasso(0.1),
        kr.regularizers.StudentTPrior(),
        kr.regularizers.L2(kr.regularizers.Schedule.warmup(0.1, 10)),
        kr.regularizers.Orthogonal(0.1),
    ],
    "kernel_constraint": [kr.constraints.SoftThreshold(0.1), kr.constraints.GroupSoftThreshold(0.1)],
}


def test_penalties_without_one_are_named(rng):
    for argument, parts in NO_EQUAL.items():
        for part in parts:
            # A kernel of rank 3 is no matrix, as Keras' orthogonal penalty wants one.
            new, report = convert(chain((6, 2), L.Conv1D(3, 2, name="conv", **{argument: part})), rng)
            assert list(report.differs) == [f"conv/{argument}"]
            assert type(part).__name__ in report.differs[f"conv/{argument}"]
            assert getattr(new.layers[0], argument) is None
            assert not new.losses
    with pytest.warns(UserWarning, match="conv/kernel_constraint: SoftThreshold is gone"):
        kr.to_keras(
            chain((6, 2), L.Conv1D(3, 2, name="conv", kernel_constraint=kr.constraints.SoftThreshold()))
        )


@pytest.mark.parametrize(
    "constraint", [kr.constraints.MaxNorm(0.5), kr.constraints.UnitNorm(), kr.constraints.UnitNorm([0])]
)
def test_constraints_take_the_axes_of_their_kernel(rng, constraint):
    layers = [
        L.Conv2D(3, 2, kernel_constraint=constraint),
        L.Flatten(),
        L.Dense(2, kernel_constraint=constraint),
    ]
    new, report = convert(chain((3, 3, 2), *layers), rng)
    assert not report.differs
    for old_layer, new_layer in zip((layers[0], layers[2]), (new.layers[0], new.layers[2]), strict=True):
        kernel = rng.normal(size=old_layer.kernel.shape).astype("float32")
        expected = array(constraint(kernel))
        assert np.abs(expected - kernel).max() > 0.01
        np.testing.assert_allclose(array(new_layer.kernel.constraint(kernel)), expected, atol=1e-6)


@pytest.mark.parametrize("fan", ["in", "out", "average"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform", "orthogonal"])
def test_initializers_keep_their_variance(rng, fan, distribution):
    kinds = {
        "dense": ((64,), L.Dense, {"units": 96}),
        "depthwise": ((20, 64), L.DepthwiseConv1D, {"kernel_size": 9, "depth_multiplier": 8}),
        "transpose": ((4, 4, 24), L.Conv2DTranspose, {"filters": 32, "kernel_size": 3, "strides": 2}),
    }
    for kind, (shape, layer_class, options) in kinds.items():
        strides = options.get("strides", 1)
        ours = kr.initializers.Calibrated("relu", fan, kind, distribution, seed=3, strides=strides)
        key = "depthwise_initializer" if kind == "depthwise" else "kernel_initializer"
        new, _ = convert(chain(shape, layer_class(**options, **{key: ours})), rng)
        theirs = getattr(new.layers[0], key)
        shape = tuple(new.layers[0].kernel.shape)
        assert type(theirs).__module__.startswith("keras.")
        np.testing.assert_allclose(array(theirs(shape)).var(), ours.variance(shape), rtol=0.05)


def test_delta_orthogonal_keeps_its_variance(rng):
    ours = kr.initializers.DeltaOrthogonal(2.0, seed=0)
    new, report = convert(chain((5, 32), L.Conv1D(64, 3, kernel_initializer=ours, name="conv")), rng)
    theirs = array(new.layers[0].kernel_initializer((3, 32, 64)))
    np.testing.assert_allclose(
        np.square(theirs).mean(), np.square(array(ours((3, 32, 64)))).mean(), rtol=0.05
    )
    assert "structure" in report.differs["conv/kernel_initializer"]


def test_penalties_of_regularize_go_along(rng):
    inputs = keras.Input((4, 6))
    attention = L.MultiHeadAttention(2, 3, name="attention")
    x = L.TimeDistributed(L.Dense(6, name="inner"), name="each")(attention(inputs, inputs))
    x = L.Dense(2, name="out")(K.BatchNormalization(name="bn")(x))
    model = keras.Model(inputs, x)
    rules = {"*/query/kernel": kr.regularizers.L1(0.1), "*kernel": kr.regularizers.L2(0.2), "bn/gamma": "l2"}
    kr.regularize(model, {**rules, "each/*": kr.regularizers.ElasticNet(0.1)})
    kr.regularize(model, rules)
    new, report = convert(model, rng)
    assert report.differs
    assert all("attention/" in path for path in report.differs)
    kr.regularize(model, {"*kernel": kr.regularizers.L2(0.2), "bn/gamma": "l2"})
    new, report = convert(model, rng)
    assert not report.differs
    assert len(new.losses) == len(model.losses) == 7
    np.testing.assert_allclose(float(sum(new.losses)), float(sum(model.losses)), rtol=1e-5)
    again = keras.Model.from_config(new.get_config())
    assert len(again.losses) == 7


def test_frozen_batch_norms(rng):
    model = chain((4,), L.BatchNormalization(name="a"), K.BatchNormalization(name="b"), L.Dense(2))
    scramble(model)
    kr.freeze_batch_norm(model, affine=False)
    new, report = convert(model, rng)
    assert not report.differs
    kr.freeze_batch_norm(model, False)
    kr.regularize(model, {"*": "l2", "*/gamma": "l1"})
    kr.freeze_batch_norm(model)
    new, report = convert(model, rng)
    assert report.replaced == {"b": "BatchNormalization"}
    assert list(report.differs) == ["a", "b"]
    assert type(new.layers[0]) is L.BatchNormalization
    assert [layer.trainable for layer in new.layers] == [False, False, True]
    x = rng.normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(array(new(x, training=True)), array(new(x, training=False)))


def test_nested_shared_and_wrapped(rng):
    inner = chain((6,), L.Dense(6), K.BatchNormalization(name="bn"), K.DropPath(0.2, name="path"))
    inner.name = "block"
    shared = K.BatchNormalization(name="shared")
    within = chain((6,), L.Dense(6), K.Dropout(0.2, name="deep"), K.TemperatureScaling(2.0, name="cool"))
    within.name = "within"
    inputs, other = keras.Input((5, 6), name="a"), keras.Input((6,), name="b")
    x = L.TimeDistributed(within, name="each")(inputs)
    x = L.Bidirectional(K.LSTM(4, dropout=0.2, return_sequences=True, seed=1, name="lstm"), name="both")(x)
    x = L.RNN(L.LSTMCell(6, kernel_initializer=kr.initializers.Calibrated()), name="rnn")(
        K.GRU(3, return_sequences=True, name="gru")(x)
    )
    y = shared(inner(other)) + shared(x)
    model = keras.Model([inputs, other], {"sum": L.Add(name="sum_of_both")([y, inner(x)])}, name="whole")
    scramble(model)
    new, report = convert(model, rng)
    assert report.replaced == {
        "block/bn": "BatchNormalization",
        "block/path": "Dropout",
        "shared": "BatchNormalization",
        "each/within/deep": "Dropout",
        "each/within/cool": "Rescaling",
        "both/forward_lstm": "LSTM",
        "both/backward_lstm": "LSTM",
        "gru": "GRU",
    }
    assert type(new.get_layer("both").forward_layer) is L.LSTM
    assert type(new.get_layer("both").backward_layer) is L.LSTM
    assert new.get_layer("rnn").cell.kernel_initializer.__class__.__module__.startswith("keras.")
    assert new.get_layer("block").layers[1].name == "bn"
    assert list(new.output) == ["sum"]
    assert len(new.layers) == len(model.layers)


def test_trainable_flags_are_kept(rng):
    dense = L.Dense(2, trainable=False, kernel_regularizer=kr.regularizers.L2())
    inner = chain((4,), K.BatchNormalization(trainable=False), L.Dense(4), K.BatchNormalization())
    model = chain((4,), inner, dense)
    new, _ = convert(model, rng)
    assert [v.trainable for v in new.weights] == [v.trainable for v in model.weights]
    model.trainable = False
    new, _ = convert(model, rng)
    assert not new.trainable_variables
    # One that no config tells of.
    inputs, attention = (
        keras.Input((3, 4)),
        L.MultiHeadAttention(2, 3, kernel_regularizer=kr.regularizers.L2()),
    )
    model = keras.Model(inputs, attention(inputs, inputs))
    attention.query_dense.trainable = False
    new, _ = convert(model, rng)
    assert len(new.trainable_variables) == len(model.trainable_variables) == 6


def test_mc_layers_are_refused_all_at_once_or_switched_off(rng):
    model = chain(
        (6,),
        K.Dropout(0.5, mc=True, name="a"),
        L.Dense(3),
        K.DropPath(0.5, mc=True, name="b"),
        K.Dropout(0, mc=True),
    )
    with pytest.raises(ValueError, match=r"'a' \(Dropout with mc=True\), 'b' \(DropPath.*mc_off=True"):
        kr.to_keras(model)
    new, _ = convert(model, rng, mc_off=True)
    x = rng.normal(size=(4, 6)).astype("float32")
    expected = x @ array(model.layers[1].kernel)
    np.testing.assert_allclose(array(new(x, training=False)), expected, atol=1e-6)
    assert kr.mc_predict(new, x, samples=5).variance.max() > 0


class Twice(K.Dropout):
    def call(self, inputs, training=False):
        return 2 * inputs


class Maker(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = K.Dropout(0.5)

    def call(self, inputs):
        return self.drop(inputs)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.part = chain((4,), K.Dropout(0.5))
        self.part.name = "part"

    def call(self, inputs):
        return self.part(inputs)


def test_what_cannot_be_converted_is_refused():
    with pytest.raises(ValueError, match=r"'twice' \(Twice, built on kerasreg's Dropout\)"):
        kr.to_keras(chain((4,), Twice(0.5, name="twice")))
    with pytest.raises(ValueError, match=r"kerasreg's Dropout at 'maker/.*own Python"):
        kr.to_keras(chain((4,), Maker(name="maker")))
    own = Own()
    own(np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"subclassed Own .*convert its functional parts: part"):
        kr.to_keras(own)
    for model in (Own(), keras.Sequential([L.Dense(2)]), "model"):
        with pytest.raises(ValueError, match=r"must be a built keras\.Model"):
            kr.to_keras(model)
    for option in ("report", "mc_off"):
        with pytest.raises(ValueError, match=f"`{option}` of to_keras must be True or False"):
            kr.to_keras(chain((4,), K.Dropout(0.5)), **{option: 1})


def test_a_users_layer_keeps_its_class_and_gets_parts_of_keras(rng):
    class Holder(keras.layers.Wrapper):
        def call(self, inputs):
            return self.layer(inputs)

    new, report = convert(chain((4,), Holder(K.Dropout(0.5, name="drop"), name="holder")), rng)
    assert report.replaced == {"holder/drop": "Dropout"}
    assert type(new.layers[0]) is Holder


def test_a_model_without_anything_of_ours_is_copied_in_silence(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = chain((4,), L.Dense(3, kernel_regularizer="l2"), L.BatchNormalization())
        model.compile("adam", "mse", metrics=["mae"])
        new = kr.to_keras(model)
    assert new.compiled
    _, report = convert(model, rng)
    assert report.to_dict() == {"replaced": {}, "differs": {}}


def test_compiled_as_it_was_as_far_as_keras_goes(rng):
    x, y = rng.normal(size=(8, 4)).astype("float32"), rng.integers(0, 3, 8)
    model = chain((4,), K.BatchNormalization(), L.Dense(3, "softmax"))
    ece = kr.metrics.ExpectedCalibrationError
    model.compile(keras.optimizers.SGD(0.25), "sparse_categorical_crossentropy", metrics=["accuracy", ece()])
    new, report = convert(model, rng)
    assert float(new.optimizer.learning_rate) == 0.25
    assert list(report.differs) == ["compile/metrics"]
    theirs, ours = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (new, model))
    assert set(theirs) == {"loss", "accuracy"}
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
    model.compile("sgd", kr.losses.MulticlassHinge())
    new, report = convert(model, rng)
    assert not new.compiled
    assert "MulticlassHinge" in report.differs["compile"]
    inputs = keras.Input((4,))
    heads = [L.Dense(3, "softmax", name=name)(K.Dropout(0.1)(inputs)) for name in "ab"]
    model = keras.Model(inputs, heads)
    model.compile("sgd", ["sparse_categorical_crossentropy"] * 2, metrics=[ece(), "accuracy"])
    new, report = convert(model, rng)
    assert "b_accuracy" in new.evaluate(x, [y, y], verbose=0, return_dict=True)


LOAD = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "kerasreg":
            raise ImportError("kerasreg is not here")


sys.meta_path.insert(0, Blocked())
import keras
import numpy as np

model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
np.testing.assert_allclose(model.predict(data["x"], verbose=0), data["expected"], rtol=1e-6, atol=1e-6)
model.compile("sgd", "mse")
np.testing.assert_allclose(model.evaluate(data["x"], data["expected"], verbose=0), data["loss"], rtol=1e-4)
assert np.isfinite(model.fit(data["x"], data["expected"], verbose=0).history["loss"]).all()
assert not any(name.partition(".")[0] == "kerasreg" for name in sys.modules)
print("loaded")
"""


def everything():
    """Every layer of ours behind one input, then every initializer, regularizer and constraint."""
    inputs = keras.Input((6,))
    measured = K.Normalization()
    measured.adapt(np.random.default_rng(1).normal(1e4 + 1 / 3, 1, (99, 6)), verbose=0)
    x = measured(inputs)
    for label in public_classes("layers"):
        shape = INPUT_SHAPES.get(label, (None, 6))[1:]
        x = L.Reshape(shape)(L.Dense(int(np.prod(shape)))(x))
        x = L.LayerNormalization()(L.Flatten()(make_plain(label)(x)))
    x = L.TimeDistributed(K.BatchNormalization())(L.Reshape((5, -1))(L.Dense(20)(x)))
    x = L.Flatten()(L.Bidirectional(K.LSTM(3, dropout=0.1, return_sequences=True))(x))
    for kind, keyword in [("initializers", "kernel_initializer"), ("constraints", "kernel_constraint")]:
        for label in public_classes(kind):
            if "DeltaOrthogonal" not in label:
                x = L.LayerNormalization()(L.Dense(4, **{keyword: make_plain(label)})(x))
    for penalty in EQUAL.values():
        x = L.Dense(4, kernel_regularizer=penalty)(x)
    return keras.Model(inputs, L.Dense(2)(x))


def test_a_converted_model_loads_where_there_is_no_kerasreg(tmp_path, rng):
    model = everything()
    for variable in model.weights:
        if "mean" not in variable.path and keras.backend.is_float_dtype(variable.dtype):
            variable.assign_add(rng.uniform(0, 0.2, variable.shape).astype("float32"))
    new, report = kr.to_keras(model, report=True)
    assert len(report.replaced) > 15
    x = rng.normal(1e4 + 1 / 3, 1, size=(16, 6)).astype("float32")
    expected = model.predict(x, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0
    np.testing.assert_allclose(new.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)
    new.save(tmp_path / "model.keras")
    expected, loss = new.predict(x, verbose=0), float(array(sum(new.losses)))
    np.savez(tmp_path / "data.npz", x=x, expected=expected, loss=loss)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "model.keras", tmp_path / "data.npz"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "loaded" in done.stdout
