"""mc_predict: right moments, the same samples whatever the batching, and a model left untouched."""

import gc
import os
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest

import kerasreg as kr
from kerasreg._core.pure_call import compile_pure
from kerasreg.uncertainty import sampler

L = keras.layers


def linear_head(rate=0.4, units=3):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((20,)), L.Dropout(rate), L.Dense(units, name="head")])


def classifier():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(8, 3, activation="relu"),
            L.SpatialDropout2D(0.3),
            L.BatchNormalization(),
            L.Flatten(),
            L.Dense(16, "relu"),
            kr.layers.Dropout(0.5),
            L.Dense(4, "softmax"),
        ]
    )


def functional():
    x = keras.Input((20,))
    inner = keras.Sequential([L.Dense(8, "relu"), L.Dropout(0.3)], name="inner")
    h = inner(x)
    return keras.Model(x, L.Dense(3)(L.Concatenate()([h, L.GaussianNoise(0.2)(x)])))


def classifier_on_features():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((20,)), L.Dropout(0.3), L.Dense(3, "softmax")])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.drop, self.head = L.Dense(64, "relu"), L.Dropout(0.5), L.Dense(3)

    def call(self, x, training=None):
        # Shared: each call has its own noise.
        return self.head(self.drop(self.drop(self.hidden(x))))


def built(make):
    model = make()
    model(np.zeros((1, 20)))
    return model


def state(model):
    return [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(v)) for v in model.variables]


@pytest.fixture
def x(rng):
    return rng.normal(size=(13, 20)).astype("float32")


@pytest.fixture
def images(rng):
    return rng.normal(size=(13, 6, 6, 2)).astype("float32")


def test_moments_of_a_linear_head_are_the_closed_form(x):
    rate, samples = 0.4, 20_000
    model = linear_head(rate)
    kernel, bias = model.get_layer("head").get_weights()
    prediction = kr.mc_predict(model, x, samples=samples, seed=1)
    mean = x @ kernel + bias
    variance = (x**2) @ (kernel**2) * rate / (1 - rate)
    # Five standard errors; the variance's own, for a sum of many bounded terms, is about sqrt(2 / T) of it.
    assert np.abs(prediction.mean - mean).max() < 5 * np.sqrt(variance.max() / samples)
    np.testing.assert_allclose(prediction.variance, variance, rtol=5 * np.sqrt(2 / samples))
    np.testing.assert_array_equal(prediction.std, np.sqrt(prediction.variance))
    assert (prediction.samples_used == samples).all()


@pytest.mark.parametrize("make", [linear_head, functional, Subclassed])
def test_the_same_seed_gives_the_same_samples_whatever_the_batch_size(make, x):
    model = built(make)
    whole = kr.mc_predict(model, x, samples=12, seed=5, batch_size=32, return_samples=True)
    parts = kr.mc_predict(model, x, samples=12, seed=5, batch_size=4, return_samples=True)
    assert whole.samples.shape == (12, 13, 3)
    np.testing.assert_allclose(parts.samples, whole.samples, rtol=1e-5, atol=1e-6)
    other = kr.mc_predict(model, x, samples=12, seed=6, return_samples=True)
    assert np.abs(other.samples - whole.samples).max() > 1e-2
    unseeded = [kr.mc_predict(model, x, samples=2).mean for _ in range(2)]
    assert np.abs(unseeded[0] - unseeded[1]).max() > 1e-3


def test_every_sample_every_row_and_every_layer_has_noise_of_its_own():
    model = built(Subclassed)
    row = np.random.default_rng(1).normal(size=(1, 20)).astype("float32")
    samples = kr.mc_predict(model, np.repeat(row, 6, 0), samples=8, seed=0, return_samples=True).samples
    assert len(np.unique(samples.reshape(-1, 3).round(5), axis=0)) == 48


def test_streamed_moments_are_those_of_the_samples(images):
    model = classifier()
    streamed = kr.mc_predict(model, images, samples=30, seed=2)
    kept = kr.mc_predict(model, images, samples=30, seed=2, return_samples=True)
    samples = kept.samples.astype("float64")
    np.testing.assert_allclose(streamed.mean, samples.mean(0), rtol=1e-5)
    np.testing.assert_allclose(streamed.variance, samples.var(0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(streamed.entropy, kr.uncertainty.predictive_entropy(samples), rtol=1e-4)
    np.testing.assert_allclose(streamed.expected_entropy, kr.uncertainty.expected_entropy(samples), rtol=1e-4)
    np.testing.assert_allclose(
        streamed.mutual_information, kr.uncertainty.mutual_information(samples), atol=1e-5
    )
    assert (streamed.mutual_information >= 0).all()


def test_nothing_of_the_model_changes_and_only_noise_is_random(images):
    model = classifier()
    before, plain = state(model), model.predict(images, verbose=0)
    kr.mc_predict(model, images, samples=5)
    assert all(np.array_equal(a, b) for a, b in zip(state(model), before, strict=True))
    np.testing.assert_array_equal(model.predict(images, verbose=0), plain)


def test_batch_norm_stays_in_inference_mode_and_augmentation_stays_off(rng):
    shift = L.BatchNormalization(moving_mean_initializer=keras.initializers.Constant(2.0), epsilon=1e-12)
    model = keras.Sequential([keras.Input((4,)), shift, L.GaussianNoise(1e-3)])
    rows = rng.normal(size=(50, 4)).astype("float32")
    np.testing.assert_allclose(kr.mc_predict(model, rows, samples=4).mean, rows - 2.0, atol=1e-2)
    flipping = keras.Sequential([keras.Input((4, 4, 1)), L.RandomFlip(seed=0), L.GaussianNoise(1e-3)])
    images = rng.normal(size=(20, 4, 4, 1)).astype("float32")
    np.testing.assert_allclose(kr.mc_predict(flipping, images, samples=4).mean, images, atol=1e-2)


@pytest.mark.parametrize(
    ("layer", "shared_axes"),
    [
        (L.SpatialDropout1D(0.5), (1,)),
        (L.SpatialDropout2D(0.5), (1, 2)),
        (L.SpatialDropout2D(0.5, data_format="channels_first"), (2, 3)),
        (L.SpatialDropout3D(0.5), (1, 2, 3)),
        (L.Dropout(0.5, noise_shape=(None, 1, 5)), (1,)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_one_draw_for_a_whole_feature_map(layer, shared_axes):
    rank = {"SpatialDropout2D": 4, "SpatialDropout3D": 5}.get(type(layer).__name__, 3)
    ones = np.ones((6, *(3, 4, 2)[: rank - 2], 5), "float32")
    model = keras.Sequential([keras.Input(ones.shape[1:]), layer])
    samples = kr.mc_predict(model, ones, samples=16, seed=0, return_samples=True).samples
    assert set(np.unique(samples)) == {0.0, 2.0}
    axes = tuple(axis + 1 for axis in shared_axes)
    assert (samples.min(axes) == samples.max(axes)).all()
    assert abs(samples.mean() - 1.0) < 0.2


@pytest.mark.parametrize("layer", [L.GaussianDropout(0.5), L.AlphaDropout(0.2), L.GaussianNoise(0.5)])
def test_other_noise_has_keras_moments(layer):
    # The moments that the layer's own training pass has, on inputs of mean 0 and variance 1.
    data = np.random.default_rng(0).normal(size=(400, 50)).astype("float32")
    model = keras.Sequential([keras.Input((50,)), layer])
    ours = kr.mc_predict(model, data, samples=40, seed=0, return_samples=True).samples
    keras_own = np.stack([keras.ops.convert_to_numpy(layer(data, training=True)) for _ in range(40)])
    assert abs(ours.mean() - keras_own.mean()) < 0.01
    assert ours.var() == pytest.approx(keras_own.var(), rel=0.02)
    assert ours.var(axis=0).mean() == pytest.approx(keras_own.var(axis=0).mean(), rel=0.03)


THREADED = """
import sys
if sys.argv[1] == "tensorflow":
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(3)
from test_mc_predict import of_many_numbers, np
np.save(sys.argv[2], of_many_numbers())
"""


def of_many_numbers():
    """More than one thread takes on."""
    model = keras.Sequential([keras.Input((512,)), L.Dropout(0.5), L.GaussianDropout(0.1)])
    return kr.mc_predict(model, np.ones((300, 512)), 4, 300, seed=1, return_samples=True).samples


def test_the_same_seed_gives_the_same_samples_whatever_the_number_of_threads(tmp_path):
    alone = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    here, backend = os.path.dirname(__file__), keras.backend.backend()
    path = os.pathsep.join([here, *sys.path])
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path, "XLA_FLAGS": alone}
    command = [sys.executable, "-c", THREADED, backend, str(tmp_path / "threaded.npy")]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "threaded.npy"), of_many_numbers())


def test_one_compiled_call_for_each_batch(x, monkeypatch):
    calls = []

    def counted(model, function):
        compiled = compile_pure(model, function)
        return lambda *args: calls.append(args) or compiled(*args)

    monkeypatch.setattr(sampler, "compile_pure", counted)
    kr.mc_predict(linear_head(), x, samples=300, batch_size=4)
    assert len(calls) == 4


def test_tolerance_stops_row_by_row(x):
    model, rows = linear_head(), x.copy()
    rows[:6] *= 0.05
    stopped = kr.mc_predict(model, rows, samples=20_000, seed=0, tolerance=0.02)
    assert stopped.samples_used[:6].max() < stopped.samples_used[6:].min()
    error = np.sqrt(stopped.variance / stopped.samples_used[:, None])
    assert 0.01 < error.max() < 0.02
    full = kr.mc_predict(model, rows, samples=int(stopped.samples_used[0]), seed=0)
    np.testing.assert_allclose(stopped.mean[0], full.mean[0], rtol=1e-5)


def test_inputs_of_every_form(x):
    model = linear_head()
    expected = kr.mc_predict(model, x, samples=6, seed=0).mean

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return x[i * 5 : (i + 1) * 5], np.zeros(5)

    for form in (x.tolist(), x.astype("float64"), Batches()):
        np.testing.assert_allclose(
            kr.mc_predict(model, form, samples=6, seed=0).mean, expected, rtol=1e-5, atol=1e-6
        )
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(13))).batch(5)
    np.testing.assert_allclose(
        kr.mc_predict(model, dataset, samples=6, seed=0).mean, expected, rtol=1e-5, atol=1e-6
    )


def test_a_model_of_two_inputs(x):
    a, b = keras.Input((20,), name="a"), keras.Input((20,), name="b")
    model = keras.Model({"a": a, "b": b}, L.Dense(2)(L.Dropout(0.5)(L.Add()([a, b]))))
    assert kr.mc_predict(model, {"a": x, "b": x}, samples=4).mean.shape == (13, 2)
    with pytest.raises(ValueError, match=r"same number of rows.*\(13, 20\).*\(5, 20\)"):
        kr.mc_predict(model, {"a": x, "b": x[:5]}, samples=4)


def test_mixed_precision_gives_float32_moments(x):
    keras.utils.set_random_seed(0)
    half = keras.Sequential(
        [keras.Input((20,)), L.Dropout(0.5, dtype="mixed_float16"), L.Dense(2, dtype="mixed_float16")]
    )
    prediction = kr.mc_predict(half, x, samples=10, seed=0)
    assert prediction.mean.dtype == prediction.variance.dtype == np.float32
    assert np.isfinite(prediction.variance).all()


def test_masks_go_with_the_rows():
    """An average over time without the padding, with noise too weak to matter: what `predict` says."""
    x = keras.Input((5,), dtype="int32")
    embedded = L.Embedding(9, 6, mask_zero=True)(x)
    noisy = L.GaussianNoise(1e-4)(embedded)
    # A mask of its own, one from behind the noise, and one of both.
    both = L.Add()([embedded, noisy])
    model = keras.Model(x, L.Concatenate()([L.GlobalAveragePooling1D()(h) for h in (noisy, both)]))
    words = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0], [7, 8, 1, 2, 3]])
    plain = model.predict(words, verbose=0)
    np.testing.assert_allclose(kr.mc_predict(model, words, samples=8, seed=0).mean, plain, atol=1e-3)


def test_trained_after_the_first_prediction(x):
    model = linear_head()
    first = kr.mc_predict(model, x, samples=4, seed=0).mean
    model.compile("sgd", "mse")
    model.fit(x, np.ones((13, 3)), verbose=0)
    assert np.abs(kr.mc_predict(model, x, samples=4, seed=0).mean - first).max() > 1e-3


def test_a_changed_rate_is_noticed(x):
    model = linear_head(0.5)
    before = kr.mc_predict(model, x, samples=400, seed=0).variance.mean()
    model.layers[0].rate = 0.1
    # The variance goes with p / (1 - p).
    assert kr.mc_predict(model, x, samples=400, seed=0).variance.mean() == pytest.approx(before / 9, rel=0.2)


def test_a_kept_sampler_does_not_keep_the_model(x):
    model = linear_head()
    kr.mc_predict(model, x, samples=2)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_mirrored_halves_average_to_the_mean_of_a_linear_model(x):
    """At p = 1/2, a unit that one pass drops is kept by the next: each pair's average is the exact mean."""
    model = linear_head(0.5)
    kernel, bias = model.get_layer("head").get_weights()
    pairs = kr.mc_predict(model, x, samples=40, seed=0, antithetic=True)
    np.testing.assert_allclose(pairs.mean, x @ kernel + bias, rtol=1e-4, atol=1e-5)
    assert (
        pairs.standard_error.max() < 1e-5 < kr.mc_predict(model, x, samples=40, seed=0).standard_error.min()
    )
    # The passes themselves disagree as much as ever.
    variance = (x**2) @ (kernel**2)
    assert pairs.variance.mean() == pytest.approx(variance.mean(), rel=0.25)
    kept = kr.mc_predict(model, x, samples=40, seed=0, antithetic=True, return_samples=True)
    np.testing.assert_allclose(
        kept.samples[0::2] + kept.samples[1::2], [2 * pairs.mean] * 20, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(kept.variance, pairs.variance, rtol=1e-4)
    np.testing.assert_allclose(kept.standard_error, pairs.standard_error, atol=1e-5)
    stopped = kr.mc_predict(model, x, samples=4000, seed=0, antithetic=True, tolerance=0.01)
    assert (stopped.samples_used == 8).all()


@pytest.mark.parametrize("antithetic", [False, True])
def test_the_standard_error_is_how_far_means_are_apart(antithetic, images):
    model = classifier()
    repeated = [
        kr.mc_predict(model, images, samples=12, seed=seed, antithetic=antithetic) for seed in range(60)
    ]
    apart = np.std([p.mean for p in repeated], axis=0)
    claimed = np.sqrt(np.mean([p.standard_error**2 for p in repeated], axis=0))
    assert np.sqrt((claimed**2).mean() / (apart**2).mean()) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize(("make", "passes"), [(Subclassed, 10), (classifier_on_features, 46)])
def test_moments_and_errors_are_those_of_the_passes(make, passes, antithetic, x):
    """One pass at a time; and several, that do not come out even."""
    model = built(make)
    streamed = kr.mc_predict(model, x, samples=passes, seed=0, antithetic=antithetic)
    samples = kr.mc_predict(
        model, x, samples=passes, seed=0, antithetic=antithetic, return_samples=True
    ).samples
    np.testing.assert_allclose(streamed.mean, samples.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(streamed.variance, samples.var(axis=0), rtol=1e-3, atol=1e-6)
    units = samples.reshape(-1, 2, 13, 3).mean(axis=1) if antithetic else samples
    error = units.std(axis=0, ddof=1) / len(units) ** 0.5
    np.testing.assert_allclose(streamed.standard_error, error, rtol=1e-3, atol=1e-6)


def test_exact_last_layer_without_noise_before_it(x):
    rate = 0.4
    model = linear_head(rate)
    kernel, bias = model.get_layer("head").get_weights()
    exact = kr.mc_predict(model, x, exact_last_layer=True)
    np.testing.assert_allclose(exact.mean, x @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(exact.variance, (x**2) @ (kernel**2) * rate / (1 - rate), rtol=1e-5)
    assert exact.method == "exact"
    assert (exact.samples_used == 0).all()
    assert not exact.standard_error.any()


@pytest.mark.parametrize("noise", [L.Dropout(0.3), L.GaussianDropout(0.3), L.GaussianNoise(0.7)])
def test_exact_last_layer_behind_other_noise_is_the_law_of_total_variance(noise, x):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((20,)), L.Dropout(0.2), L.Dense(16, "tanh"), noise, L.Dense(2)])
    sampled = kr.mc_predict(model, x, samples=6000, seed=0)
    exact = kr.mc_predict(model, x, samples=400, seed=1, exact_last_layer=True)
    assert (exact.samples_used == 400).all()
    error = np.hypot(exact.standard_error, sampled.standard_error)
    assert (np.abs(exact.mean - sampled.mean) < 5 * error).all()
    np.testing.assert_allclose(exact.variance, sampled.variance, rtol=0.2)
    assert exact.variance.mean() == pytest.approx(sampled.variance.mean(), rel=0.03)
    # What is integrated need not be sampled: the same passes tell the mean more closely.
    plain = kr.mc_predict(model, x, samples=400, seed=1)
    assert (exact.standard_error < plain.standard_error).all()


@pytest.mark.parametrize(
    "head",
    [
        [L.Dropout(0.5), L.Dense(3, "softmax")],
        [L.Dropout(0.5, noise_shape=(None, 1)), L.Dense(3)],
        [L.AlphaDropout(0.5), L.Dense(3)],
        [L.Dropout(0.5), L.Dense(3), L.ReLU()],
    ],
    ids=["softmax", "shared", "alpha", "behind"],
)
def test_a_last_layer_without_closed_form_is_sampled(head, x):
    model = keras.Sequential([keras.Input((20,)), *head])
    plain, asked = (kr.mc_predict(model, x, samples=6, seed=0, exact_last_layer=e) for e in (False, True))
    np.testing.assert_array_equal(plain.variance, asked.variance)
    assert (asked.samples_used == 6).all()


def test_one_exact_output_and_one_sampled_one(x):
    a = keras.Input((20,))
    h = L.Dropout(0.4)(a)
    model = keras.Model(a, {"linear": L.Dense(2, name="linear")(h), "classes": L.Dense(3, "softmax")(h)})
    kernel = model.get_layer("linear").get_weights()[0]
    prediction = kr.mc_predict(model, x, samples=30, seed=0, exact_last_layer=True)
    np.testing.assert_allclose(prediction["linear"].variance, (x**2) @ (kernel**2) * 0.4 / 0.6, rtol=1e-4)
    assert (prediction.samples_used == 30).all()
    assert (prediction["classes"].mutual_information > 0).all()
    assert prediction.mutual_information["linear"] is None


def test_several_outputs_in_the_structure_of_the_model(x):
    a = keras.Input((20,))
    h = L.Dense(5)(a)
    model = keras.Model(a, [L.Dense(2)(L.Dropout(0.5)(h)), h])
    prediction = kr.mc_predict(model, x, samples=20, seed=0)
    assert [mean.shape for mean in prediction.mean] == [(13, 2), (13, 5)]
    assert (prediction[0].std > 0).all()
    # No noise reaches the second output, and no rounding either.
    assert not prediction.variance[1].any()
    assert len(prediction) == len(prediction[1]) == 13
    kept = kr.mc_predict(model, x, samples=20, seed=0, return_samples=True)
    assert [y.shape for y in kept.samples] == [(20, 13, 2), (20, 13, 5)]
    np.testing.assert_allclose(kept[0].mean, prediction[0].mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(KeyError, match="one output"):
        kr.mc_predict(linear_head(), x, samples=2)["a"]


@pytest.mark.parametrize(("make", "batch_size"), [(classifier_on_features, 1), (Subclassed, 5)])
def test_rows_stop_where_they_stop_whatever_the_batch_size(make, batch_size, x):
    model = built(make)
    x = x * np.linspace(0.05, 1.0, 13)[:, None].astype("float32")
    whole = kr.mc_predict(model, x, samples=200, seed=0, tolerance=0.02)
    parts = kr.mc_predict(model, x, samples=200, seed=0, tolerance=0.02, batch_size=batch_size)
    assert len(np.unique(whole.samples_used)) > 1
    assert (whole.samples_used % 8 == 0).all()
    np.testing.assert_array_equal(parts.samples_used, whole.samples_used)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-4, atol=1e-6)


def test_a_layer_that_goes_on_by_itself_is_sampled_once_and_its_seed_stays(x):
    rate = 0.4
    model = keras.Sequential([keras.Input((20,)), kr.layers.Dropout(rate, seed=3, mc=True), L.Dense(3)])
    kernel = model.layers[-1].get_weights()[0]
    before = state(model)
    variance = kr.mc_predict(model, x, samples=4000, seed=1).variance
    np.testing.assert_allclose(variance, (x**2) @ (kernel**2) * rate / (1 - rate), rtol=0.15)
    assert len(before) == 3
    assert all(np.array_equal(a, b) for a, b in zip(state(model), before, strict=True))


@pytest.mark.parametrize(
    "noise", [L.Dropout(0.5, noise_shape=(1, None)), L.Dropout(0.5, noise_shape=(1, 20))], ids=str
)
def test_a_draw_that_all_rows_share(noise):
    model, ones = keras.Sequential([keras.Input((20,)), noise]), np.ones((9, 20))
    samples = kr.mc_predict(model, ones, samples=12, seed=0, return_samples=True).samples
    assert (samples == samples[:, :1]).all()
    assert len(np.unique(samples[:, 0], axis=0)) == 12
    parts = kr.mc_predict(model, ones, samples=12, seed=0, batch_size=2, return_samples=True).samples
    np.testing.assert_array_equal(parts, samples)


def test_windows_in_the_place_of_rows_keep_their_rows_noise():
    class Windows(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop = L.Dropout(0.5)

        def call(self, x):
            windows = keras.ops.reshape(x, (-1, 2, 50))
            return keras.ops.reshape(self.drop(windows), (-1, 6, 50))

    model, ones = Windows(), np.ones((9, 6, 50), "float32")
    model(ones)
    samples = kr.mc_predict(model, ones, samples=4, seed=0, return_samples=True).samples
    parts = kr.mc_predict(model, ones, samples=4, seed=0, batch_size=2, return_samples=True).samples
    np.testing.assert_array_equal(parts, samples)
    assert len(np.unique(samples.reshape(-1, 100), axis=0)) == 4 * 9 * 3


def test_each_time_step_has_noise_of_its_own():
    model = keras.Sequential([keras.Input((3, 40)), L.TimeDistributed(L.Dropout(0.5))])
    samples = kr.mc_predict(model, np.ones((4, 3, 40)), samples=5, seed=0, return_samples=True).samples
    assert set(np.unique(samples)) == {0.0, 2.0}
    assert len(np.unique(samples.reshape(-1, 40), axis=0)) == 5 * 4 * 3
    parts = kr.mc_predict(model, np.ones((4, 3, 40)), samples=5, seed=0, batch_size=1, return_samples=True)
    np.testing.assert_array_equal(parts.samples, samples)


@pytest.mark.parametrize("seed", [2**31, 2**32 + 7, 2**70])
def test_any_whole_number_is_a_seed(seed, x):
    expected = kr.mc_predict(linear_head(), x, samples=4, seed=seed % 2**31).mean
    np.testing.assert_array_equal(kr.mc_predict(linear_head(), x, samples=4, seed=seed).mean, expected)


def test_arrays_in_other_types_and_ranks_are_what_the_model_takes():
    a, b, c = keras.Input((3,)), keras.Input((1,)), keras.Input((2,))
    noisy = L.Dense(4)(L.Dense(4)(L.Dropout(0.5)(a)))
    # These come when there is noise already, so what the model makes of them would count as noisy.
    late = [L.Dense(4, name="column")(b), L.Dense(4, name="whole")(c)]
    model = keras.Model([a, b, c], L.Concatenate()([noisy, *late]))
    whole = np.arange(18.0).reshape(6, 3)
    prediction = kr.mc_predict(model, [whole, whole[:, 0], whole[:, :2].astype("int64")], samples=4, seed=0)
    floats = [part.astype("float32") for part in (whole, whole[:, :1], whole[:, :2])]
    np.testing.assert_array_equal(prediction.mean, kr.mc_predict(model, floats, samples=4, seed=0).mean)
    assert prediction.prefix == ("column", "whole")


def test_a_bar_where_it_is_asked_for_and_none_where_all_is_quick(x, capsys):
    for verbose, shown in (("auto", False), (False, False), (True, True)):
        kr.mc_predict(linear_head(), x, samples=2, batch_size=4, verbose=verbose)
        assert ("4/4" in capsys.readouterr().out) is shown
    with pytest.raises(ValueError, match="`verbose` of mc_predict"):
        kr.mc_predict(linear_head(), x, verbose=2)


def test_a_layer_put_in_later_is_noticed(x):
    model = linear_head(0.5)
    assert len(kr.mc_predict(model, x, samples=4).tail) == 2
    model.add(L.GaussianNoise(0.1, name="late"))
    model(x)
    assert "late" in kr.mc_predict(model, x, samples=4).tail


def own_noise():
    class Own(L.Dropout):
        def call(self, inputs, training=None):
            return inputs

    return keras.Sequential([keras.Input((20,)), Own(0.5, name="own")])


def unreached():
    class Idle(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.head = L.Dropout(0.5, name="idle"), L.Dense(2)

        def call(self, x):
            return self.head(x)

    return built(Idle)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: keras.Sequential([keras.Input((20,)), L.Dense(2)]), "none"),
        (
            lambda: keras.Sequential([keras.Input((20,)), L.Dropout(0.0, name="off"), L.Dense(2)]),
            "off (rate 0)",
        ),
        (unreached, "idle (rate 0.5)"),
        (own_noise, "own (rate 0.5)"),
        (
            lambda: keras.Sequential(
                [keras.Input((20,)), L.Dropout(0.5, name="cut"), L.Dense(2, kernel_initializer="zeros")]
            ),
            "cut (rate 0.5)",
        ),
    ],
)
def test_nothing_stochastic_is_an_error_that_names_what_there_is(make, names, x):
    with pytest.raises(ValueError, match="`model` of mc_predict must be") as caught:
        kr.mc_predict(make(), x, samples=4)
    assert f"stochastic layers found: {names}" in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"samples": 1},
        {"batch_size": 0},
        {"seed": -1},
        {"seed": 0.5},
        {"tolerance": 0.0},
        {"return_samples": 1},
        {"antithetic": 1},
        {"exact_last_layer": "yes"},
    ],
)
def test_bad_arguments(bad, x):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"`{name}` of mc_predict") as caught:
        kr.mc_predict(linear_head(), x, **bad)
    assert repr(value) in str(caught.value)


def test_bad_models_and_data(x):
    with pytest.raises(ValueError, match=r"a built keras\.Model"):
        kr.mc_predict(keras.Sequential([L.Dropout(0.5)]), x)
    with pytest.raises(ValueError, match=r"got shapes \[\(0, 20\)\]"):
        kr.mc_predict(linear_head(), x[:0])
    with pytest.raises(ValueError, match="rows would differ"):
        kr.mc_predict(linear_head(), x, tolerance=0.1, return_samples=True)
    with pytest.raises(ValueError, match="False where exact_last_layer is given"):
        kr.mc_predict(linear_head(), x, exact_last_layer=True, return_samples=True)
    for samples in (7, 2):
        with pytest.raises(ValueError, match=f"an even number of at least 4.*got {samples}"):
            kr.mc_predict(linear_head(), x, samples=samples, antithetic=True)


def test_entropy_needs_probabilities(x):
    prediction = kr.mc_predict(linear_head(), x, samples=4)
    for figure in ("entropy", "expected_entropy", "mutual_information"):
        with pytest.raises(ValueError, match="put a softmax behind the model"):
            getattr(prediction, figure)
