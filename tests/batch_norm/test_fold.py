"""fold_batch_norm: the same outputs from fewer layers, and a reason for each that stays."""

import keras
import numpy as np
import pytest
from backend_tools import array
from keras_versions import LIST_OF_ONE

import kerasreg as kr
from kerasreg._core.paths import layer_paths

L = keras.layers
BN = L.BatchNormalization


def scramble(model, rng):
    """Weights as after a training, so that no scale is 1 and no shift 0."""
    for variable in model.weights:
        name, shape = variable.path.rpartition("/")[2], variable.shape
        value = rng.normal(size=shape)
        if name == "moving_variance":
            value = 0.2 + rng.gamma(2.0, size=shape)
        if name == "gamma":
            value = np.where(rng.random(shape) < 0.2, 0.0, value + 1.0)
        if "kernel" in name:
            value /= np.sqrt(max(np.prod(shape[:-1]), 1))
        variable.assign(value.astype(variable.dtype))
    return model


def outputs_of(model, x):
    flat = keras.tree.flatten(model(x, training=False))
    return [array(keras.ops.cast(y, "float32")).astype("float64") for y in flat]


def assert_same_outputs(model, folded, x, tolerance=1e-5):
    for a, b in zip(outputs_of(model, x), outputs_of(folded, x), strict=True):
        assert np.ptp(a) > 0
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * np.abs(a).max())


def left_in(model):
    return [path for layer, path in layer_paths(model).items() if isinstance(layer, BN)]


def check(model, rng, folded_into, shape=None, left=(), tolerance=1e-5):
    """Fold a scrambled model; what is equal, what went where, and what the original still is."""
    scramble(model, rng)
    before = model.get_weights()
    folded, report = kr.fold_batch_norm(model, report=True)
    x = keras.tree.map_structure(
        lambda t: rng.normal(size=(3, *t.shape[1:])).astype("float32"),
        model.inputs if shape is None else shape,
    )
    x = x[0] if isinstance(x, list) and len(x) == 1 else x
    assert_same_outputs(model, folded, x, tolerance)
    assert report.folded == folded_into
    assert left_in(folded) == sorted(report.left) == sorted(left)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    ours = {id(v) for v in model.variables}
    assert not any(id(v) in ours for v in folded.variables)
    return folded, report


def chain(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


BEHIND = {
    "Dense": ((5,), lambda: L.Dense(4, name="linear")),
    "Dense without bias": ((2, 5), lambda: L.Dense(4, use_bias=False, name="linear")),
    "Conv1D": ((8, 3), lambda: L.Conv1D(4, 3, padding="causal", name="linear")),
    "Conv2D": ((6, 6, 4), lambda: L.Conv2D(6, 3, 2, padding="same", groups=2, use_bias=False, name="linear")),
    "Conv3D": ((4, 4, 4, 2), lambda: L.Conv3D(3, 2, name="linear")),
    "DepthwiseConv1D": ((8, 3), lambda: L.DepthwiseConv1D(3, depth_multiplier=2, name="linear")),
    "DepthwiseConv2D": ((6, 6, 3), lambda: L.DepthwiseConv2D(3, depth_multiplier=2, name="linear")),
    "SeparableConv1D": ((8, 3), lambda: L.SeparableConv1D(4, 3, depth_multiplier=2, name="linear")),
    "SeparableConv2D": ((6, 6, 3), lambda: L.SeparableConv2D(4, 3, use_bias=False, name="linear")),
    "Conv1DTranspose": ((5, 3), lambda: L.Conv1DTranspose(4, 3, strides=2, name="linear")),
    "Conv2DTranspose": ((4, 4, 3), lambda: L.Conv2DTranspose(4, 3, padding="same", name="linear")),
    "Conv3DTranspose": ((3, 3, 3, 2), lambda: L.Conv3DTranspose(3, 2, use_bias=False, name="linear")),
    "EinsumDense": ((3, 5), lambda: L.EinsumDense("abc,cd->abd", (3, 4), name="linear")),
    "EinsumDense bias": ((3, 5), lambda: L.EinsumDense("abc,cd->abd", (3, 4), bias_axes="bd", name="linear")),
    "EinsumDense heads": (
        (3, 5),
        lambda: L.EinsumDense("abc,cde->abde", (3, 2, 4), bias_axes="d", name="linear"),
    ),
    "EinsumDense dots": ((3, 5), lambda: L.EinsumDense("...x,xy->...y", 4, bias_axes="y", name="linear")),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_behind_every_linear_layer(rng, kind):
    shape, make = BEHIND[kind]
    folded, _ = check(chain(shape, make(), BN(name="bn"), L.ReLU()), rng, {"bn": "linear"})
    assert type(folded) is keras.Sequential
    assert folded.layers[0].name == "linear"


def test_a_bias_along_other_axes_than_the_batch_norm(rng):
    linear = L.EinsumDense("abc,cde->abde", (3, 2, 4), bias_axes="d", name="linear")
    check(chain((3, 5), linear, BN(name="bn", axis=2)), rng, {"bn": "linear"})


BEFORE = {
    "Dense": ((5,), lambda: L.Dense(4, "relu", name="linear")),
    "Conv1D": ((8, 4), lambda: L.Conv1D(4, 3, groups=2, dilation_rate=2, name="linear")),
    "Conv2D": (
        (6, 6, 6),
        lambda: L.Conv2D(6, 3, 2, groups=3, use_bias=False, activation="tanh", name="linear"),
    ),
    "Conv2D 1x1 same": ((5, 5, 3), lambda: L.Conv2D(2, 1, 2, padding="same", name="linear")),
    "DepthwiseConv2D": ((6, 6, 3), lambda: L.DepthwiseConv2D(3, depth_multiplier=2, name="linear")),
    "SeparableConv2D": ((6, 6, 3), lambda: L.SeparableConv2D(4, 3, depth_multiplier=2, name="linear")),
}


@pytest.mark.parametrize("kind", BEFORE)
@pytest.mark.parametrize("batch_norm", [BN, kr.layers.BatchNormalization])
def test_before_a_linear_layer(rng, kind, batch_norm):
    shape, make = BEFORE[kind]
    check(chain(shape, L.ReLU(), batch_norm(name="bn"), make()), rng, {"bn": "linear"})


def test_without_a_shift_zeros_stay_zeros(rng):
    # beta 0 and mean 0: padding and batch norm can change places.
    for linear in (L.Conv2D(3, 3, padding="same"), L.Conv2DTranspose(3, 3)):
        model = scramble(chain((5, 5, 2), BN(name="bn", center=False), linear), rng)
        model.get_layer("bn").moving_mean.assign(np.zeros(2))
        folded = kr.fold_batch_norm(model)
        assert left_in(folded) == []
        assert_same_outputs(model, folded, rng.normal(size=(2, 5, 5, 2)).astype("float32"))


def test_through_flatten_and_pooling_and_into_several_layers(rng):
    x = keras.Input((4, 4, 3))
    h = BN(name="bn")(L.ReLU()(x))
    flat = L.Dense(2, name="flat")(L.Flatten()(h))
    pooled = L.Dense(2, name="pooled")(L.GlobalAveragePooling2D()(h))
    conv = L.Conv2D(2, 2, name="conv")(h)
    folded, report = kr.fold_batch_norm(scramble(keras.Model(x, [flat, pooled, conv]), rng), report=True)
    assert sorted(report.folded["bn"].split(", ")) == ["conv", "flat", "pooled"]
    assert left_in(folded) == []
    check(keras.Model(x, [flat, pooled, conv]), rng, report.folded)


@pytest.mark.parametrize(
    "options", [{"scale": False}, {"center": False}, {"epsilon": 0.5}, {"momentum": 0.1}]
)
def test_options_of_the_batch_norm(rng, options):
    for batch_norm in (BN, kr.layers.BatchNormalization):
        check(chain((4,), L.Dense(3, name="d"), batch_norm(name="bn", **options)), rng, {"bn": "d"})


def test_several_in_a_row_and_frozen_ones(rng):
    model = chain(
        (4,),
        L.Dense(3, name="a"),
        BN(name="b"),
        BN(name="c"),
        L.ReLU(),
        BN(name="d"),
        BN(name="e"),
        L.Dense(2, name="f"),
    )
    kr.freeze_batch_norm(model)
    folded, report = check(model, rng, {"b": "a", "c": "a", "d": "f", "e": "f"})
    assert folded.layers[0].name == "a"
    assert str(report).splitlines()[0] == "4 of 4 batch norms folded"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_half_precision(rng, policy):
    model = chain((6, 6, 3), L.Conv2D(4, 3, dtype=policy, name="conv"), BN(dtype=policy, name="bn"))
    check(model, rng, {"bn": "conv"}, tolerance=5e-3 if "b" not in policy.replace("mixed_", "")[:1] else 4e-2)


def resnet(channels_first=False):
    form = {"data_format": "channels_first"} if channels_first else {}
    axis = 1 if channels_first else -1
    x = keras.Input((3, 8, 8) if channels_first else (8, 8, 3))
    h = L.Conv2D(4, 3, padding="same", name="stem", **form)(x)
    h = L.ReLU()(BN(axis, name="stem_bn")(h))
    for i in range(2):
        y = L.Conv2D(4, 3, padding="same", use_bias=False, name=f"conv{i}", **form)(h)
        y = L.ReLU()(BN(axis, name=f"bn{i}")(y))
        y = BN(axis, name=f"bn{i}b")(L.Conv2D(4, 3, padding="same", name=f"conv{i}b", **form)(y))
        h = L.ReLU()(L.Add()([keras.ops.multiply(y, 0.5), h]))
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D(**form)(h)))


RESNET = {"stem_bn": "stem", "bn0": "conv0", "bn0b": "conv0b", "bn1": "conv1", "bn1b": "conv1b"}


def test_a_residual_network(rng):
    folded, _ = check(resnet(), rng, RESNET)
    assert {layer.name for layer in folded.layers} >= {"stem", "conv1b"}


def test_channels_first(rng):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow convolves channels first on accelerators only")
    check(resnet(channels_first=True), rng, RESNET)


def test_mobilenet(rng):
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, include_top=False)
    scramble(model, rng)
    folded, report = kr.fold_batch_norm(model, report=True)
    assert len(report.folded) == 52
    assert report.left == {}
    assert_same_outputs(model, folded, rng.normal(size=(2, 32, 32, 3)).astype("float32"), 2e-5)


def test_nested_models_keep_their_form(rng):
    inputs = keras.Input((4,))
    base = keras.Model(inputs, BN(name="bn")(L.Dense(3, name="d")(inputs)), name="base")
    block = keras.Sequential([L.Dense(3, name="d"), BN(name="bn"), L.ReLU()], name="block")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    # Called twice: one model in the folded one too.
    h = L.Concatenate()([base(a, training=False), base(b)])
    model = keras.Model({"a": a, "b": b}, {"first": block(h), "second": L.ReLU(name="r")(h)})
    folded, _ = check(model, rng, {"base/bn": "base/d", "block/bn": "block/d"}, {"a": a, "b": b})
    assert [layer.name for layer in folded.layers] == [layer.name for layer in model.layers]
    assert type(folded.get_layer("block")) is keras.Sequential
    assert [type(layer) for layer in folded.get_layer("block").layers] == [L.Dense, L.ReLU]
    assert set(folded.output) == {"first", "second"}


def test_layers_shared_alike_are_folded(rng):
    a, b = keras.Input((4,)), keras.Input((4,))
    dense, bn, head = L.Dense(3, name="dense"), BN(name="bn"), L.Dense(2, name="head")
    after = BN(name="after")
    outputs = [head(after(L.ReLU()(bn(dense(x))))) for x in (a, b)]
    folded, _ = check(keras.Model([a, b], outputs), rng, {"bn": "dense", "after": "head"})
    assert sum(isinstance(layer, L.Dense) for layer in folded.layers) == 2


def shared_dense():
    a, b = keras.Input((4,)), keras.Input((4,))
    dense = L.Dense(3, name="dense")
    return keras.Model([a, b], [BN(name="bn")(dense(a)), dense(b)])


def shared_norm():
    a = keras.Input((4,))
    bn = BN(name="bn")
    return keras.Model(a, [bn(L.Dense(3, name="one")(a)), bn(L.Dense(3, name="two")(a))])


def two_consumers():
    a = keras.Input((4,))
    h = L.Dense(3, name="dense")(a)
    return keras.Model(a, L.Add(name="add")([BN(name="bn")(h), h]))


def an_output_too():
    a = keras.Input((4,))
    h = L.Dense(3, name="dense")(a)
    return keras.Model(a, [BN(name="bn")(h), h])


def in_python():
    return chain((4,), Holder(name="holder"), L.Dense(2))


def called_by_python_too():
    a = keras.Input((4,))
    holder = Holder(name="holder")
    return keras.Model(a, L.Add()([holder(a), holder.bn(L.Dense(4, name="dense")(a))]))


class Holder(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bn = BN(name="bn")

    def build(self, shape):
        self.bn.build(shape)

    def call(self, x):
        return self.bn(x)


class Doubling(BN):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class Squaring(L.Dense):
    def call(self, inputs, training=None):
        return keras.ops.square(super().call(inputs))


def training_call():
    a = keras.Input((4,))
    return keras.Model(a, BN(name="bn")(L.Dense(3, name="dense")(a), training=True))


def forked():
    a = keras.Input((4,))
    h = BN(name="bn")(L.ReLU(name="relu")(a))
    return keras.Model(a, L.Concatenate()([L.Dense(2)(h), L.Activation("tanh", name="act")(h)]))


STAYS = {
    "activation": (
        lambda: chain((4,), L.Dense(3, "relu", name="dense"), BN(name="bn")),
        "dense' has the activation relu; its output leaves the model",
    ),
    "relu": (
        lambda: chain((4,), L.Dense(3), L.ReLU(name="r"), BN(name="bn")),
        "its input comes from ReLU 'r'",
    ),
    "dropout": (
        lambda: chain((4,), L.ReLU(), BN(name="bn"), L.Dropout(0.5, name="drop"), L.Dense(2)),
        "its output goes to Dropout 'drop'",
    ),
    "padding": (
        lambda: chain((4, 4, 2), BN(name="bn"), L.Conv2D(2, 3, padding="same", name="c")),
        "its input is an input of the model; Conv2D 'c' pads",
    ),
    "transposed": (
        lambda: chain((4, 4, 2), BN(name="bn"), L.Conv2DTranspose(2, 3, name="c")),
        "Conv2DTranspose 'c' sums fewer",
    ),
    "axis": (
        lambda: chain((4, 4, 3), L.Conv2D(3, 1, name="c"), BN(1, name="bn")),
        "its axis is 1, the features of Conv2D 'c' are at 3",
    ),
    "einsum axis": (
        lambda: chain((4, 3), L.EinsumDense("abc,cd->abd", (4, 2), name="e"), BN(1, name="bn")),
        "none of the kernel of EinsumDense 'e'",
    ),
    "shared dense": (shared_dense, "Dense 'dense' is called elsewhere too"),
    "shared norm": (shared_norm, "it is shared by several layers"),
    "two consumers": (
        two_consumers,
        "the output of Dense 'dense' is used elsewhere too; its output goes to Add 'add'",
    ),
    "an output too": (an_output_too, "the output of Dense 'dense' leaves the model too"),
    "forked": (forked, "its output goes to Activation 'act'"),
    "training": (training_call, "called with training=True"),
    "own norm": (lambda: chain((4,), L.Dense(3), Doubling(name="bn")), "Doubling has a call of its own"),
    "own dense": (
        lambda: chain((4,), Squaring(3, name="s"), BN(name="bn")),
        "its input comes from Squaring 's'",
    ),
    "types": (
        lambda: chain((4,), L.Dense(3), BN(name="bn", dtype="float16")),
        "its input is float32, its output float16",
    ),
    "regularizer": (
        lambda: chain((4,), L.Dense(3, activity_regularizer="l2", name="dense"), BN(name="bn")),
        "has an activity regularizer",
    ),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_stays_and_why(rng, case):
    make, reason = STAYS[case]
    model = make()
    if case == "training":
        # Out of `predict` it normalises with the batch: nothing to compare.
        _, report = kr.fold_batch_norm(model, report=True)
    else:
        _, report = check(model, rng, {}, left=["bn"], tolerance=2e-3 if case == "types" else 1e-5)
    assert reason in report.left["bn"]
    assert f"bn left: {report.left['bn']}" in str(report)


@pytest.mark.parametrize("make", [in_python, called_by_python_too])
def test_what_python_calls_stays(rng, make):
    model = make()
    folded, report = (
        kr.fold_batch_norm(scramble(model, rng), report=True) if make is in_python else (None, None)
    )
    if make is in_python:
        assert "called inside Holder 'holder'" in report.left["holder/bn"]
        assert_same_outputs(model, folded, rng.normal(size=(3, 4)).astype("float32"))
    else:
        # The copy of the holder cannot share its batch norm with the graph.
        _, report = kr.fold_batch_norm(model, report=True)
        assert list(report.folded) == []


def test_statistics_that_are_no_numbers_stay(rng):
    model = scramble(chain((4,), L.Dense(3), BN(name="bn")), rng)
    model.get_layer("bn").moving_variance.assign([1.0, -2.0, np.nan])
    _, report = kr.fold_batch_norm(model, report=True)
    assert "not finite" in report.left["bn"]


def test_weights_that_would_overflow_stay(rng):
    model = chain((4,), L.Dense(3, dtype="float16", name="d"), BN(name="bn", dtype="float16"))
    scramble(model, rng)
    model.get_layer("bn").beta.assign([6e4] * 3)
    model.get_layer("bn").moving_mean.assign([-6e4] * 3)
    model.get_layer("bn").gamma.assign([5.0] * 3)
    _, report = kr.fold_batch_norm(model, report=True)
    assert "would not be finite in float16" in report.left["bn"]


@pytest.mark.filterwarnings(LIST_OF_ONE)
def test_the_folded_model_is_compiled_saved_and_trained(rng, tmp_path):
    a = keras.Input((4,))
    outputs = [BN(name="one")(L.Dense(3)(a)), BN(name="two")(L.Dense(3)(a))]
    model = scramble(keras.Model(a, outputs, name="whole"), rng)
    model.compile("adam", loss={"one": "mse", "two": "mae"})
    x, y = rng.normal(size=(8, 4)).astype("float32"), [rng.normal(size=(8, 3)).astype("float32")] * 2
    folded = kr.fold_batch_norm(model)
    assert (folded.name, folded.output_names) == ("whole", ["one", "two"])
    np.testing.assert_allclose(folded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-4)
    folded.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same_outputs(model, loaded, x)
    folded.fit(x, y, verbose=0)


def test_what_cannot_be_serialized_leaves_it_uncompiled(rng):
    model = chain((4,), L.Dense(1), BN())
    model.compile("adam", loss=lambda y, p: keras.ops.mean(keras.ops.square(y - p)))
    folded = kr.fold_batch_norm(scramble(model, rng))
    assert not folded.compiled
    assert model.compiled
    assert_same_outputs(model, folded, np.ones((2, 4), "float32") * [[1.0], [2.0]])


class Plain(keras.Model):
    def __init__(self):
        super().__init__()
        self.part = chain((4,), L.Dense(3), BN())
        self.bn = BN()

    def call(self, x):
        return self.bn(self.part(x))


def subclassed():
    model = Plain()
    model(np.zeros((1, 4)))
    return model


class Unknown(L.Layer):
    def __init__(self, size):
        super().__init__()

    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "arguments", "sentence"),
    [
        (lambda: 3, {}, "`model` of fold_batch_norm .* got 3"),
        (lambda: keras.Sequential([BN()]), {}, "unbuilt Sequential"),
        (lambda: chain((4,), L.Dense(3, name="only")), {}, r"layers .*only \(Dense\)"),
        (subclassed, {}, "subclassed Plain .* cannot be rewritten; fold its functional parts: sequential"),
        (lambda: chain((4,), L.Dense(3), BN()), {"report": 1}, "`report` of fold_batch_norm .* got 1"),
        (lambda: chain((4,), Unknown(3), L.Dense(3), BN()), {}, "got Unknown '.*', which cannot"),
    ],
)
def test_bad_arguments(model, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        kr.fold_batch_norm(model(), **arguments)
