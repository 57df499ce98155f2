"""shrink: the same outputs from fewer units, and a reason for each zero unit that stays."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr

L = keras.layers


def scramble(model, rng):
    """Weights as after a training, so that no scale is 1 and no shift 0."""
    for variable in model.weights:
        value = rng.normal(size=variable.shape)
        if "variance" in variable.path:
            value = 0.5 + np.abs(value)
        if "kernel" in variable.path:
            value /= np.sqrt(max(np.prod(variable.shape[:-1]), 1))
        if "count" not in variable.path and "batches" not in variable.path:
            variable.assign(value.astype(variable.dtype))
    return model


def silence(layer, *units):
    """Set what a layer's units are given to 0, not their biases."""
    kernel = array(layer.kernel).copy()
    kernel[..., list(units)] = 0.0
    layer.kernel.assign(kernel)


def deafen(layer, *inputs):
    """Set what a layer reads of these features to 0."""
    kernel = array(layer.kernel).copy()
    kernel[..., list(inputs), :] = 0.0
    layer.kernel.assign(kernel)


def check(model, rng, units, left=(), tolerance=1e-5):
    """Shrink; the outputs, the sizes, and what the original still is."""
    before = model.get_weights()
    small, report = kr.shrink(model, report=True)
    x = [rng.normal(size=(3, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    x = x[0] if len(x) == 1 else x
    for a, b in zip(*(keras.tree.flatten(m(x, training=False)) for m in (model, small)), strict=True):
        a, b = array(a), array(b)
        assert np.ptp(a) > 0
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * np.abs(a).max())
    assert report.units == units
    assert set(report.left) == set(left)
    assert report.parameters == (model.count_params(), small.count_params())
    assert (small.count_params() < model.count_params()) == bool(units)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not {id(v) for v in model.variables} & {id(v) for v in small.variables}
    return small, report


def chain(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu", None])
def test_dense_units_go_and_their_constants_stay(activation, rng):
    model = chain((5,), L.Dense(7, activation, name="a"), L.Dense(6, "tanh", name="b"), L.Dense(2, name="c"))
    scramble(model, rng)
    silence(model.get_layer("a"), 0, 3)
    silence(model.get_layer("b"), 5)
    small, report = check(model, rng, {"a": (7, 5), "b": (6, 5)})
    assert [layer.kernel.shape for layer in small.layers] == [(5, 5), (5, 5), (5, 2)]
    assert "a: 7 units -> 5" in str(report)
    assert report.to_dict()["units"] == {"a": (7, 5), "b": (6, 5)}


def test_units_that_nobody_reads_go_and_with_them_what_fed_only_them(rng):
    model = chain((5,), L.Dense(4, "tanh", name="a"), L.Dense(3, "tanh", name="b"), L.Dense(2, name="c"))
    scramble(model, rng)
    deafen(model.get_layer("c"), 1)
    # Unit 2 of a speaks to unit 1 of b alone.
    kernel = array(model.get_layer("b").kernel).copy()
    kernel[2] = [0.0, 5.0, 0.0]
    model.get_layer("b").kernel.assign(kernel)
    check(model, rng, {"a": (4, 3), "b": (3, 2)})


def test_what_becomes_constant_goes_too(rng):
    model = chain((5,), L.Dense(4, "tanh", name="a"), L.Dense(3, "tanh", name="b"), L.Dense(2, name="c"))
    scramble(model, rng)
    silence(model.get_layer("a"), 2)
    # Unit 1 of b hears unit 2 of a alone.
    kernel = array(model.get_layer("b").kernel).copy()
    kernel[[0, 1, 3], 1] = 0.0
    model.get_layer("b").kernel.assign(kernel)
    check(model, rng, {"a": (4, 3), "b": (3, 2)})


def test_a_bias_is_made_where_there_was_none(rng):
    model = chain((5,), L.Dense(4, "sigmoid", name="a"), L.Dense(2, use_bias=False, name="b"))
    silence(scramble(model, rng).get_layer("a"), 0)
    small, _ = check(model, rng, {"a": (4, 3)})
    assert small.get_layer("b").use_bias


BETWEEN = {
    "batch norm": lambda: [L.BatchNormalization(), L.ReLU()],
    "our batch norm": lambda: [kr.layers.BatchNormalization(averaging="debiased"), L.Activation("gelu")],
    "max pooling": lambda: [L.LeakyReLU(), L.MaxPooling2D(2)],
    "average pooling": lambda: [L.ELU(), L.AveragePooling2D(2, padding="same")],
    "dropouts": lambda: [L.Dropout(0.5), kr.layers.SpatialDropout2D(0.3), L.GaussianNoise(0.1)],
    "crop and grow": lambda: [L.Cropping2D(1), L.UpSampling2D(2, interpolation="bilinear")],
}


@pytest.mark.parametrize("tail", ["conv", "flat", "pooled"])
@pytest.mark.parametrize("between", BETWEEN)
def test_filters_go_through_what_stands_between(between, tail, rng):
    tails = {
        "conv": [L.Conv2D(3, 2, name="b"), L.Flatten(), L.Dense(2, name="c")],
        "flat": [L.Flatten(), L.Dense(2, name="b")],
        "pooled": [L.GlobalAveragePooling2D(), L.Dense(2, name="b")],
    }
    model = chain((7, 7, 2), L.Conv2D(6, 3, padding="same", name="a"), *BETWEEN[between](), *tails[tail])
    silence(scramble(model, rng).get_layer("a"), 1, 4)
    check(model, rng, {"a": (6, 4)})


@pytest.mark.parametrize(
    ("make", "shape"), [(L.Conv1D, (9, 2)), (L.Conv3D, (5, 5, 5, 2)), (L.Dense, (4, 3))], ids=str
)
def test_other_ranks(make, shape, rng):
    size = {} if make is L.Dense else {"kernel_size": 2}
    model = chain(shape, make(5, activation="tanh", name="a", **size), make(3, name="b", **size))
    silence(scramble(model, rng).get_layer("a"), 0)
    check(model, rng, {"a": (5, 4)})


def test_a_gamma_of_zero_silences_its_filter(rng):
    norm = L.BatchNormalization(name="norm")
    model = chain((6, 6, 2), L.Conv2D(4, 3, name="a"), norm, L.ReLU(), L.Flatten(), L.Dense(2, name="b"))
    scramble(model, rng)
    norm.gamma.assign(array(norm.gamma) * [1.0, 0.0, 1.0, 0.0])
    small, _ = check(model, rng, {"a": (4, 2)})
    np.testing.assert_array_equal(array(small.get_layer("norm").beta), array(norm.beta)[[0, 2]])


def test_a_convolution_that_pads_takes_zeros_and_no_other_number(rng):
    for activation, units, left in (("relu", {"a": (4, 3)}, ()), ("sigmoid", {}, ("a",))):
        model = chain(
            (5, 5, 2), L.Conv2D(4, 3, activation=activation, name="a"), L.Conv2D(3, 3, padding="same")
        )
        silence(scramble(model, rng).get_layer("a"), 2)
        model.get_layer("a").bias.assign([0.5, 0.5, -1.0, 0.5])
        _, report = check(model, rng, units, left)
        assert not left or "pads" in report.left["a"]


def test_two_readers_have_to_agree(rng):
    x = keras.Input((5,))
    h = L.Dense(4, "tanh", name="a")(x)
    model = keras.Model(x, [L.Dense(2, name="b")(h), L.Dense(3, name="c")(L.Dropout(0.5)(h))])
    scramble(model, rng)
    deafen(model.get_layer("b"), 0, 1)
    deafen(model.get_layer("c"), 1, 2)
    check(model, rng, {"a": (4, 3)})


def left_models():
    x = keras.Input((5,))
    same = L.Dense(4, name="a")
    yield "Add 'sum'", keras.Model(x, L.Dense(2)(L.Add(name="sum")([same(x), L.Dense(4)(x)])))
    yield (
        "Concatenate 'both'",
        keras.Model(x, L.Dense(2)(L.Concatenate(name="both")([L.Dense(4, name="a")(x), x]))),
    )
    yield "leaves the model", keras.Model(x, L.Dense(4, name="a")(x))
    twice = L.Dense(5, name="a")
    yield "several times", keras.Model(x, L.Dense(2)(twice(twice(x))))
    yield "not elementwise", chain((5,), L.Dense(4, "softmax", name="a"), L.Dense(2))
    yield "LayerNormalization", chain((5,), L.Dense(4, name="a"), L.LayerNormalization(), L.Dense(2))
    steps = keras.Input((3, 5))
    inner = L.TimeDistributed(L.Dense(4, name="a"), name="each")
    yield "no graph", keras.Model(steps, L.Dense(2)(inner(steps)))
    yield "EinsumDense", chain((3, 5), L.EinsumDense("abc,cd->abd", (3, 4), name="a"), L.Dense(2))
    yield "groups", chain((6, 4), L.Conv1D(4, 2, name="a"), L.Conv1D(4, 2, groups=2))
    yield "Permute", chain((6, 5), L.Conv1D(4, 2, name="a"), L.Permute((2, 1)), L.Dense(2))


@pytest.mark.parametrize(("reason", "model"), list(left_models()))
def test_what_cannot_shrink_is_named(reason, model, rng):
    scramble(model, rng)
    (layer,) = [each for each in model._flatten_layers() if each.name == "a"]
    silence(layer, 1)
    _, report = check(model, rng, {}, ["each/a" if reason == "no graph" else "a"])
    assert reason in next(iter(report.left.values()))


def test_one_unit_stays_where_all_are_zero(rng):
    model = chain((5,), L.Dense(4, "sigmoid", name="a"), L.Dense(3, "tanh", name="b"), L.Dense(2, name="c"))
    silence(scramble(model, rng).get_layer("a"), *range(4))
    x = rng.normal(size=(3, 5)).astype("float32")
    small, report = kr.shrink(model, report=True)
    np.testing.assert_allclose(array(small(x)), array(model(x)), rtol=1e-5)
    assert report.units["a"] == (4, 1)
    assert report.left == {}


def test_nested_models_and_channels_first_flatten(rng):
    inner = chain((6,), L.Dense(5, "tanh", name="a"), L.Dense(4, name="b"))
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(2, name="c")(inner(x)))
    silence(scramble(model, rng).get_layer(inner.name).get_layer("a"), 1)
    silence(inner.get_layer("b"), 2)
    check(model, rng, {f"{inner.name}/a": (5, 4)}, [f"{inner.name}/b"])


def test_features_that_no_weight_reads_are_told(rng):
    model = chain((5,), L.Dropout(0.1), L.Dense(4, "tanh", name="a"), L.Dense(2, name="b"))
    deafen(scramble(model, rng).get_layer("a"), 0, 3)
    _, report = check(model, rng, {})
    assert list(report.unused_inputs.values()) == [[0, 3]]
    assert "2 features are read by no weight" in str(report)


def test_a_model_without_zeros_stays_and_one_of_integers_of_bfloat16_too(rng):
    check(scramble(chain((5,), L.Dense(4, name="a"), L.Dense(2)), rng), rng, {})
    model = chain((5,), L.Dense(4, "relu", name="a", dtype="bfloat16"), L.Dense(2, dtype="bfloat16"))
    silence(scramble(model, rng).get_layer("a"), 1)
    small = kr.shrink(model)
    assert small.layers[0].kernel.shape == (5, 3)
    assert keras.backend.standardize_dtype(small.layers[1].kernel.dtype) == "bfloat16"


def test_the_small_model_trains_on_and_is_saved(rng, tmp_path):
    constraint = kr.constraints.GroupSoftThreshold(0.5)
    model = chain((5,), L.Dense(16, "relu", kernel_constraint=constraint, name="a"), L.Dense(1))
    model.compile(keras.optimizers.Adam(0.02), "mse")
    x = rng.normal(size=(64, 5)).astype("float32")
    y = x[:, :1]
    model.fit(x, y, epochs=60, verbose=0)
    small, report = kr.shrink(model, report=True)
    before, after = report.units["a"]
    assert before == 16
    assert 0 < after < 16
    np.testing.assert_allclose(small.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    assert small.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-4)
    small.fit(x, y, verbose=0)
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), small.predict(x, verbose=0))


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("model", "'model'"),
        (chain((2,), L.Dense(2)).layers[0], "Dense"),
        (keras.Sequential([L.Dense(2)]), "unbuilt"),
    ],
)
def test_what_is_no_built_graph_is_refused(model, shown):
    with pytest.raises(ValueError, match="`model` of shrink must be a built") as caught:
        kr.shrink(model)
    assert shown in str(caught.value)


def test_a_subclassed_model_is_refused():
    model = Subclassed()
    model.build((None, 2))
    with pytest.raises(ValueError, match="subclassed Subclassed"):
        kr.shrink(model)
    with pytest.raises(ValueError, match="`report` of shrink"):
        kr.shrink(chain((2,), L.Dense(2)), report="yes")
