"""Input normalisation against NumPy in float64, whatever the data come in and however they are cut."""

import tempfile
from itertools import pairwise

import keras
import numpy as np
import pytest
from backend_tools import array, compiled, wide_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasreg as kr
from kerasreg.layers.moments import Moments
from kerasreg.layers.streaming_moments import StreamingMoments


def normalization(**arguments):
    return kr.layers.Normalization(**arguments)


def adapted(data, **arguments):
    layer = normalization(**arguments)
    layer.adapt(data)
    return layer


def statistics(layer):
    return array(layer.mean).astype("float64"), array(layer.variance).astype("float64")


def assert_measured(layer, data, axis=0):
    mean, variance = statistics(layer)
    np.testing.assert_allclose(mean.ravel(), np.nanmean(data, axis=axis).ravel(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(variance.ravel(), np.nanvar(data, axis=axis).ravel(), rtol=1e-5)


@pytest.fixture
def data(rng):
    return rng.normal([0.0, 5.0, -100.0], [1.0, 0.1, 20.0], (300, 3))


class Batches(keras.utils.PyDataset):
    def __init__(self, data, size):
        super().__init__()
        self.data, self.size = data, size

    def __len__(self):
        return -(-len(self.data) // self.size)

    def __getitem__(self, index):
        part = self.data[index * self.size : (index + 1) * self.size]
        return part, np.zeros(len(part))


def as_tf_data(data):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(data).batch(64)


def as_labelled_tf_data(data):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((data, np.zeros(len(data)))).batch(64)


FORMS = {
    "array": lambda data: data,
    "tensor": keras.ops.convert_to_tensor,
    "tf.data": as_tf_data,
    "labelled tf.data": as_labelled_tf_data,
    "PyDataset": lambda data: Batches(data, 64),
    "generator": lambda data: (data[i : i + 64] for i in range(0, len(data), 64)),
    "list": lambda data: [data[:1], data[1:200], data[200:]],
}


@pytest.mark.parametrize("form", FORMS)
def test_data_of_every_form_give_the_same_statistics(form, data):
    layer = adapted(FORMS[form](data))
    assert_measured(layer, data)
    y = array(layer(data.astype("float32")))
    np.testing.assert_allclose(y, (data - data.mean(axis=0)) / data.std(axis=0), atol=1e-4)


def through_tf_function(layer, x, **options):
    import tensorflow as tf

    return tf.function(layer, **options)(x) if keras.backend.backend() == "tensorflow" else layer(x)


def through_tf_data(layer, x):
    import tensorflow as tf

    return np.concatenate([y.numpy() for y in tf.data.Dataset.from_tensor_slices(x).batch(300).map(layer)])


def through_a_reload(layer, x):
    model = keras.Sequential([keras.Input((2,)), layer])
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        return keras.models.load_model(f"{folder}/model.keras").layers[0](x)


def through_a_weights_file(layer, x):
    def model(layer):
        return keras.Sequential([keras.Input((2,)), layer])

    other = type(layer).from_config(layer.get_config())
    with tempfile.TemporaryDirectory() as folder:
        model(layer).save_weights(f"{folder}/m.weights.h5")
        model(other).load_weights(f"{folder}/m.weights.h5")
    return other(x)


def through_its_mean_and_variance(layer, x):
    known = normalization(mean=layer.mean[0].tolist(), variance=layer.variance[0].tolist())
    return type(layer).from_config(known.get_config())(x)


WAYS = {
    "as it is": lambda layer, x: layer(x),
    "compiled": lambda layer, x: compiled(layer)(x),
    "by XLA": lambda layer, x: through_tf_function(layer, x, jit_compile=True),
    "predict": lambda layer, x: keras.Sequential([keras.Input((2,)), layer]).predict(x, verbose=0),
    "in tf.data": through_tf_data,
    "after a reload": through_a_reload,
    "with its weights file": through_a_weights_file,
    "with its moments": through_its_mean_and_variance,
    "merged": lambda layer, x: normalization().merge(layer)(x),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_large_mean_costs_no_precision(way, rng):
    x = rng.normal([1e4, -3e5], [1.0, 7.0], (2000, 2)).astype("float32")
    exact = x.astype("float64")
    layer = adapted(x)
    mean, deviation = exact.mean(axis=0), exact.std(axis=0)
    np.testing.assert_allclose(layer.mean[0], mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(layer.variance[0], exact.var(axis=0), rtol=1e-10)
    y = array(WAYS[way](layer, x))
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, (exact - mean) / deviation, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize("way", ["as it is", "in tf.data", "predict"])
def test_short_floats_cost_no_digits_before_the_subtraction(policy, way, rng):
    # Beyond the range of float16, too.
    x = rng.normal([1e4, 1e5], [1.0, 2.0], (600, 2)).astype("float32")
    layer = normalization(dtype=policy)
    layer.adapt(as_tf_data(x))
    y = WAYS[way](layer, x)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    exact = x.astype("float64")
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    tolerance = 2.0**-8 if "bfloat" in policy else 2.0**-10
    np.testing.assert_allclose(
        np.asarray(y, "float32") if way == "in tf.data" else array(keras.ops.cast(y, "float32")),
        expected,
        rtol=tolerance,
        atol=1e-3,
    )


def test_the_way_back_loses_half_a_digit_at_most(rng):
    x = rng.normal(1e4, 1.0, (500, 1)).astype("float32")
    layer = adapted(x)
    np.testing.assert_allclose(array(layer.inverse(layer(x))), x, rtol=0, atol=np.spacing(np.float32(1e4)))
    exact = np.linspace(-3.0, 3.0, 500)[:, None]
    back = array(layer.inverse(exact.astype("float32"))).astype("float64")
    np.testing.assert_allclose(back, exact * layer.variance**0.5 + layer.mean, rtol=0, atol=1e-3)
    assert abs((back - exact * layer.variance**0.5 - layer.mean).mean()) < 1e-4


def test_weights_that_somebody_sets_are_what_counts(data, rng):
    layer = adapted(1e4 + data)
    clone = type(layer).from_config(layer.get_config())
    clone.build((None, 3))
    clone.set_weights(layer.get_weights())
    np.testing.assert_allclose(clone.mean, layer.mean, rtol=1e-7)
    np.testing.assert_allclose(array(clone(data)), array(layer(data)), rtol=1e-3, atol=2e-2)
    layer.set_weights([np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]), np.array(7)])
    np.testing.assert_array_equal(layer.mean, [[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(array(layer(np.array([[3.0, 4.0, 5.0]], "float32"))), 1.0)
    layer.partial_fit(np.full((7, 3), 3.0))
    np.testing.assert_allclose(layer.mean, [[2.0, 2.5, 3.0]])


def test_float64_stays_float64(rng):
    with wide_numbers():
        layer = normalization(dtype="float64")
        x = rng.normal(1e4, 1.0, (1000, 2))
        layer.adapt(x)
        expected = (x - x.mean(axis=0)) / x.std(axis=0)
        np.testing.assert_allclose(array(layer(x)), expected, atol=1e-10)


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=6),
    ways=st.lists(st.sampled_from(["partial_fit", "merge"]), min_size=8, max_size=8),
    offset=st.sampled_from([0.0, 1e4, -1e6]),
    holes=st.booleans(),
    seed=st.integers(0, 100),
)
def test_any_split_gives_what_one_adapt_gives(cuts, ways, offset, holes, seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(offset, rng.uniform(0.5, 2.0, 2), (60, 2))
    if holes:
        data[rng.uniform(size=data.shape) < 0.2] = np.nan
        data[0] = offset
    edges = [0, *sorted(cuts), 60]
    parts = [data[a:b] for a, b in pairwise(edges) if not np.isnan(data[a:b]).all(axis=0).any()]
    data = np.concatenate(parts) if parts else data
    layer = normalization()
    for part, way in zip(parts or [data], ways, strict=False):
        if way == "merge":
            assert layer.merge(adapted(part)) is layer
        else:
            layer.partial_fit(part)
    (mean, variance), (whole_mean, whole_variance) = statistics(layer), statistics(adapted(data))
    np.testing.assert_allclose(mean, whole_mean, rtol=2e-7, atol=1e-9)
    np.testing.assert_allclose(variance, whole_variance, rtol=1e-6)
    np.testing.assert_allclose(variance[0], np.nanvar(data, axis=0), rtol=1e-5)


def test_moments_of_nothing_change_nothing(data):
    moments = Moments.of_columns(data.copy())
    for merged in (moments.merge(Moments.none((3,))), Moments.none((3,)).merge(moments)):
        np.testing.assert_array_equal(merged.mean, moments.mean)
        np.testing.assert_array_equal(merged.squares, moments.squares)
        np.testing.assert_array_equal(merged.count, 300)


def test_missing_values_are_left_out_of_the_statistics_only(data, rng):
    data[rng.uniform(size=data.shape) < 0.3] = np.nan
    layer = adapted(data)
    assert_measured(layer, data)
    y = array(layer(data.astype("float32")))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(data))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 1e4 + 0.1, -7e-9])
@pytest.mark.parametrize("way", ["at once", "in parts"])
def test_a_constant_feature_gets_scale_one(constant, way):
    data = np.full((20_001, 1), constant)
    layer = adapted(data if way == "at once" else [data[:7], data[7:1000], data[1000:]])
    y = array(layer(np.array([[constant], [constant + 2.0]])))
    np.testing.assert_allclose(y.ravel(), [0.0, 2.0], atol=2e-3)
    np.testing.assert_array_equal(layer.variance, 0.0)


def test_a_known_variance_of_zero_gets_scale_one_both_ways():
    layer = normalization(mean=[1.0], variance=[0.0])
    y = layer(np.array([[3.0]], "float32"))
    assert array(y).item() == 2.0
    assert array(layer.inverse(y)).item() == 3.0


def test_inverse_undoes_the_layer(data):
    layer = adapted(data)
    x = data.astype("float32")
    np.testing.assert_allclose(array(layer.inverse(layer(x))), x, rtol=1e-5, atol=1e-5)
    backwards = normalization(mean=data.mean(axis=0), variance=data.var(axis=0), invert=True)
    np.testing.assert_allclose(array(backwards(layer(x))), x, rtol=1e-5, atol=1e-4)


def test_inverse_needs_no_call_before_it():
    layer = normalization(mean=[1.0], variance=[4.0])
    assert array(layer.inverse(np.array([[2.0]], "float32"))).item() == 5.0


def test_known_moments_stay_exact_in_half_precision():
    layer = normalization(mean=[10001.0], variance=[1e6], dtype="mixed_float16")
    y = array(layer(np.array([[12001.0]], "float32")))
    assert y.dtype == "float16"
    assert y.item() == 2.0


def test_adapting_in_half_precision_keeps_the_signal(rng):
    x = rng.normal(1e4, 1.0, (1000, 1)).astype("float32")
    y = array(adapted(x, dtype="mixed_float16")(x))
    expected = (x - x.mean(dtype="float64")) / x.std(dtype="float64")
    np.testing.assert_allclose(y, expected, atol=5e-3)


def test_a_second_adapt_forgets_the_first_and_partial_fit_does_not(data):
    layer = adapted(1000.0 * data)
    layer.adapt(data)
    assert_measured(layer, data)
    layer.partial_fit(3.0 * data)
    assert_measured(layer, np.concatenate([data, 3.0 * data]))


def test_partial_fit_goes_on_after_a_reload(data, tmp_path):
    layer = adapted(data[:100])
    keras.Sequential([keras.Input((3,)), layer]).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[0]
    np.testing.assert_array_equal(array(loaded.mean), array(layer.mean))
    loaded.partial_fit(data[100:])
    np.testing.assert_allclose(array(loaded.mean), array(adapted(data).mean), rtol=1e-6)
    assert_measured(loaded, data)


def test_loading_weights_of_keras_layer_forgets_what_was_measured(data, tmp_path):
    def model(layer):
        return keras.Sequential([keras.Input((3,)), layer])

    theirs = keras.layers.Normalization(name="norm")
    theirs.adapt(data.astype("float32"))
    ours = normalization(name="norm")
    ours.adapt(1000.0 * data)
    model(theirs).save_weights(tmp_path / "theirs.weights.h5")
    model(ours).load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(array(ours.mean), array(theirs.mean), rtol=1e-6)
    ours.partial_fit(data + 1.0)
    assert_measured(ours, data + 1.0)


def test_keras_layer_loads_our_weights(data, tmp_path):
    def model(layer):
        return keras.Sequential([keras.Input((3,)), layer])

    ours, theirs = adapted(data), keras.layers.Normalization()
    model(ours).save_weights(tmp_path / "ours.weights.h5")
    model(theirs).load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(array(theirs.mean), ours.mean, rtol=1e-6)
    np.testing.assert_allclose(array(theirs.variance), ours.variance, rtol=1e-6)


def test_counts_of_data_with_holes_survive_a_reload(data, tmp_path):
    data[:250, 1] = np.nan
    layer = adapted(data[:290])
    keras.Sequential([keras.Input((3,)), layer]).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[0]
    loaded.partial_fit(data[290:])
    assert_measured(loaded, data)


# Wide, narrow, and beyond one buffer, in rows, columns and both.
SHAPES = [
    ((3000, 300), (1,)),
    ((9001, 3), (1,)),
    ((300_001,), ()),
    ((70, 24, 20, 3), (3,)),
    ((70, 3, 24, 20), (1,)),
    ((70, 24, 20, 3), (1, 3)),
    ((3, 400, 300, 3), (3,)),
    ((3, 3, 400, 300), (1,)),
    ((12, 100, 300), (1, 2)),
]


@pytest.mark.parametrize(("shape", "kept"), SHAPES)
@pytest.mark.parametrize("holes", [False, True])
def test_streamed_moments_are_those_of_the_whole(shape, kept, holes, rng):
    data = (rng.normal(1e3, 1.0, shape) + np.arange(shape[-1])).astype("float32")
    if holes:
        data[rng.uniform(size=shape) < 0.1] = np.nan
    stream = StreamingMoments(kept)
    for part in np.array_split(data, 3):
        stream.add(part)
    reduced = tuple(axis for axis in range(data.ndim) if axis not in kept)
    exact = data.astype("float64")
    np.testing.assert_array_equal(stream.moments.count, (~np.isnan(exact)).sum(axis=reduced))
    np.testing.assert_allclose(stream.moments.mean, np.nanmean(exact, axis=reduced), rtol=1e-12)
    np.testing.assert_allclose(stream.moments.variance, np.nanvar(exact, axis=reduced), rtol=1e-9, atol=1e-12)


def test_images_of_several_sizes_have_one_mean_a_channel(rng):
    images = [rng.normal([1.0, 5.0], 1.0, (4, size, size + 1, 2)) for size in (8, 40, 8, 3)]
    assert_measured(adapted(images), np.concatenate([batch.reshape(-1, 2) for batch in images]))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "bfloat16", "float64", "bool"])
def test_numbers_of_every_type_are_measured_from_tf_data(dtype, rng):
    import tensorflow as tf

    x = tf.cast(rng.integers(0, 2, (200, 3)) if dtype == "bool" else rng.integers(0, 200, (200, 3)), dtype)
    exact = np.asarray(x).astype("float64")
    assert_measured(adapted(tf.data.Dataset.from_tensor_slices(x).batch(64)), exact)


def test_single_rows_and_numbers_of_tf_data_are_gathered(data):
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices((data, data))
    layer = adapted(rows)
    assert_measured(layer, data)
    assert array(layer(data)).shape == data.shape


def test_a_generator_is_gone_through_once(data):
    seen = []

    def parts():
        for start in range(0, 300, 50):
            seen.append(start)
            yield data[start : start + 50]

    adapted(parts())
    assert seen == list(range(0, 300, 50))


@pytest.mark.parametrize(
    ("axis", "reduced"),
    [
        (-1, (0, 1, 2)),
        (1, (0, 2, 3)),
        ((1, 3), (0, 2)),
        ((3, 1), (0, 2)),
        ([-1, -2, -3], (0,)),
        (None, (0, 1, 2, 3)),
    ],
)
def test_each_kept_axis_has_statistics_of_its_own(axis, reduced, rng):
    data = rng.normal(rng.normal(0, 5, (1, 4, 3, 2)), 2.0, (50, 4, 3, 2))
    layer = adapted(data, axis=axis)
    assert_measured(layer, data, axis=reduced)
    y = array(layer(data.astype("float32")))
    expected = (data - data.mean(axis=reduced, keepdims=True)) / data.std(axis=reduced, keepdims=True)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    again = type(layer).from_config(layer.get_config())
    again.adapt(data)
    np.testing.assert_array_equal(array(again.mean), array(layer.mean))


def test_scalars_have_one_mean_for_all_of_them(rng):
    data = rng.normal(3.0, 2.0, 20_000)
    assert_measured(adapted(data, axis=None), data)
    import tensorflow as tf

    assert_measured(adapted(tf.data.Dataset.from_tensor_slices(data), axis=None), data)


def test_an_axis_of_rows_is_not_cut_in_parts(rng):
    rows = rng.normal(size=(10_000, 4))
    assert_measured(adapted(rows, axis=0), rows, axis=1)


@pytest.mark.parametrize("source", ["adapted", "known"])
def test_it_works_inside_a_tf_data_pipeline(source, data):
    import tensorflow as tf

    layer = adapted(data) if source == "adapted" else normalization(mean=data.mean(0), variance=data.var(0))
    if not layer.built:
        layer.build((None, 3))
    x = data[:10].astype("float32")
    mapped = tf.data.Dataset.from_tensor_slices(x).batch(4).map(layer)
    y = np.concatenate([batch.numpy() for batch in mapped])
    np.testing.assert_allclose(y, array(layer(x)), atol=1e-5)
    np.testing.assert_allclose(y, (x - data.mean(axis=0)) / data.std(axis=0), atol=1e-3)


def test_a_model_that_is_built_in_fit_normalises(data):
    layer = normalization(mean=data.mean(axis=0), variance=data.var(axis=0))
    model = keras.Sequential([layer, keras.layers.Dense(3, kernel_initializer="identity")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = data.astype("float32")
    model.fit(x, np.zeros_like(x), verbose=0)
    expected = (data - data.mean(axis=0)) / data.std(axis=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-4)


def test_integers_are_normalised_as_numbers():
    pixels = np.arange(256, dtype="uint8").reshape(-1, 1)
    y = array(adapted(pixels)(pixels))
    np.testing.assert_allclose([y.mean(), y.std()], [0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        ([], "at least one row, got none"),
        (iter([]), "at least one row, got none"),
        (np.array([[1.0, np.nan], [2.0, np.nan]]), r"none in feature \[1\]"),
        (np.array([[1.0, np.inf]]), "infinity"),
        (np.array([["a", "b"]]), "dtype <U1"),
        (7, "got 7"),
        ("rows", "got 'rows'"),
        ({"a": np.zeros((2, 3))}, "got {'a'"),
        ([{"a": np.zeros((2, 3))}], "dtype object"),
        ([np.float32(3.0), np.float32(4.0)], "a single number"),
        ([[[1.0, 2.0], [3.0]]], "one dense array"),
        (np.array([[1e30], [-1e30]]), "larger numbers"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"shape \(2, 4\)"),
        ([np.zeros((2, 3)), np.zeros((2, 3, 3))], r"shape \(2, 3, 3\)"),
    ],
)
def test_data_that_cannot_be_measured_are_refused(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        normalization().adapt(data)
    assert "`data` of Normalization.adapt" in str(caught.value)


def breaking_off(data):
    yield data[:10]
    raise RuntimeError("the disk is gone")


BROKEN = {
    "infinity": lambda data: np.array([[1.0, 2.0, np.inf]]),
    "infinity in a later batch": lambda data: [9.0 * data, np.full((1, 3), -np.inf)],
    "another width": lambda data: [9.0 * data, np.zeros((4, 2))],
    "a feature of NaN": lambda data: np.where([True, False, True], data, np.nan),
    "nothing": lambda data: [],
    "a broken generator": breaking_off,
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("method", ["adapt", "partial_fit"])
def test_data_that_fail_leave_the_statistics_as_they_were(broken, method, data):
    if (broken, method) == ("a feature of NaN", "partial_fit"):
        data = data[:0]  # Later data may lack what former ones had, so there has to be another reason.
    layer = adapted(np.arange(12.0).reshape(4, 3))
    before = [layer.mean, layer.variance, *layer.get_weights()]
    with pytest.raises((ValueError, RuntimeError)):
        getattr(layer, method)(BROKEN[broken](data))
    for now, former in zip([layer.mean, layer.variance, *layer.get_weights()], before, strict=True):
        np.testing.assert_array_equal(now, former)
    layer.partial_fit(np.arange(12.0, 24.0).reshape(4, 3))
    assert_measured(layer, np.arange(24.0).reshape(8, 3))


def test_data_that_fail_build_nothing(data):
    layer = normalization()
    with pytest.raises(RuntimeError, match="disk"):
        layer.adapt(breaking_off(data))
    assert not layer.built
    layer.adapt(data[:, :2])
    assert_measured(layer, data[:, :2])


def test_a_later_batch_may_lack_a_feature(data):
    layer = adapted(data[:200])
    rest = np.where([True, False, True], data[200:], np.nan)
    layer.partial_fit(rest)
    assert_measured(layer, np.concatenate([data[:200], rest]))


def test_datasets_that_cannot_be_measured_are_refused(data):
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(data).batch(8)
    ragged = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1.0], [2.0, 3.0]])).batch(2)
    for dataset, message in (
        (rows.repeat(), "endless"),
        (rows.map(lambda x: {"x": x}), "map the dataset to the inputs"),
        (ragged, "RaggedTensorSpec"),
        (tf.data.Dataset.from_tensor_slices([["a"], ["b"]]).batch(2), "dtype object"),
    ):
        with pytest.raises(ValueError, match=message):
            normalization().adapt(dataset)


def test_the_bar_shows_when_it_is_asked_for_and_when_it_takes_long(data, capsys, monkeypatch):
    from kerasreg._core import progress

    adapted(data)
    assert not capsys.readouterr().out
    for form, shown in (
        ("tf.data", "5/5"),
        ("PyDataset", "5/5"),
        ("list", "3/3"),
        ("generator", "5/Unknown"),
    ):
        layer = normalization()
        layer.adapt(FORMS[form](data), verbose=1)
        assert shown in capsys.readouterr().out
        assert_measured(layer, data)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    adapted(data)
    assert "1/1" in capsys.readouterr().out
    normalization().adapt(data, verbose=0)
    assert not capsys.readouterr().out
    with pytest.raises(ValueError, match=r"`verbose`.*got 'loud'"):
        normalization().adapt(data, verbose="loud")


def test_an_axis_outside_the_data_is_refused():
    with pytest.raises(ValueError, match=r"`axis`.*\[-2, 2\).*got \[5\]"):
        normalization(axis=5).adapt(np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("axis", "shape", "message"),
    [((1, -1), (None, 3), "without repetition"), (1, (None, None), "of known size")],
)
def test_axes_that_make_no_features_are_refused(axis, shape, message):
    with pytest.raises(ValueError, match=message):
        normalization(axis=axis).build(shape)


def test_known_moments_that_do_not_fit_the_input_are_refused():
    with pytest.raises(ValueError, match=r"`mean`.*broadcasts to \(3,\).*shape \(2,\)"):
        normalization(mean=[1.0, 2.0], variance=[1.0, 1.0]).build((None, 3))


def test_known_moments_are_neither_measured_nor_merged(data):
    known = normalization(mean=[1.0], variance=[1.0])
    for act in (known.adapt, known.partial_fit, lambda data: known.merge(adapted(data))):
        with pytest.raises(ValueError, match="absent where mean and variance are given"):
            act(data)


def test_what_cannot_be_merged_is_refused(data):
    for other in (normalization(), keras.layers.Normalization(), 3):
        with pytest.raises(ValueError, match=r"`other`.*an adapted kerasreg Normalization"):
            adapted(data).merge(other)
    with pytest.raises(ValueError, match=r"shape \(3,\), got shape \(2,\)"):
        adapted(data).merge(adapted(data[:, :2]))
