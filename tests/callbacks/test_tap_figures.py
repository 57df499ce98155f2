"""What the tap measures, against NumPy and closed forms."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasreg as kr
from kerasreg._tap import silence
from kerasreg._tap.histogram import BINS, EDGES, count
from kerasreg._tap.layout import lay, pooled, read, unlay
from kerasreg._tap.statistics import Look, channel_axis, summarize

L = keras.layers
ALL = Look(histogram=True, per_channel=True)


def figures(layer, values, look=ALL):
    """One output's figures, through the packed tensor and out again."""
    x = keras.ops.convert_to_tensor(values)
    axis = channel_axis(layer, x)
    row, vector = lay("row", summarize(layer, x, look), None if axis is None else x.shape[axis])
    packed = keras.ops.convert_to_numpy(vector).astype("float64")
    assert packed.shape == (row.size,)
    return read(row, unlay(row, packed))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("offset", [0.0, 3e3])
def test_figures_of_an_output(offset):
    x = np.maximum(normal(6, 5, 4, 7), 0) + np.float32(offset)
    x[..., 3] = 0
    found, wide = figures(L.Conv2D(7, 3), x), x.astype("float64")
    assert found["mean"] == pytest.approx(wide.mean(), rel=1e-5)
    assert found["std"] == pytest.approx(wide.std(), rel=1e-5)
    assert found["rms"] == pytest.approx(np.sqrt(np.mean(wide**2)), rel=1e-5)
    assert (found["min"], found["max"], found["nonfinite"]) == (x.min(), x.max(), 0)
    assert found["zeros"] == pytest.approx(np.mean(x == 0), rel=1e-5)
    span = (x.max((0, 1, 2)) - x.min((0, 1, 2))).astype("float64")
    assert found["range"] == pytest.approx(np.sqrt(np.mean(span**2)), rel=1e-5)
    np.testing.assert_allclose(found["channel_mean"], wide.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["channel_rms"], np.sqrt((wide**2).mean((0, 1, 2))), rtol=1e-5)
    np.testing.assert_allclose(found["channel_zeros"], (x == 0).mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(found["silent"], (x == 0).all((0, 1, 2)))
    assert found["histogram"] == np.histogram(x, EDGES)[0].tolist()


def test_channels_first_and_layers_without_channels():
    x = np.maximum(normal(3, 4, 5, 6), 0)
    x[:, 2] = 0
    found = figures(L.Conv2D(4, 3, data_format="channels_first"), x)
    np.testing.assert_array_equal(found["silent"], [False, False, True, False])
    np.testing.assert_allclose(found["channel_mean"], x.mean((0, 2, 3)), rtol=1e-5)
    assert not {"silent", "channel_mean"} & set(figures(L.Flatten(), x.reshape(3, -1)))
    assert "silent" not in figures(L.Dense(1), np.ones(5, "float32"))


def test_values_that_are_not_finite_are_counted():
    x = normal(4, 5)
    x[0, 0], x[1, 1], x[2, 2] = np.nan, np.inf, -np.inf
    found = figures(L.Dense(5), x)
    assert found["nonfinite"] == 3
    assert all(np.isnan(found[name]) for name in ("mean", "std", "rms"))
    # NaN is in no bin; infinities are in the outermost.
    assert sum(found["histogram"]) == x.size - 1
    assert (found["histogram"][0], found["histogram"][-1]) == (1, 1)


def test_large_values_are_finite():
    assert figures(L.Dense(5), np.full((4, 5), 1e30, "float32"))["nonfinite"] == 0


FLOATS = st.floats(width=32, allow_subnormal=False) | st.sampled_from(EDGES.tolist())


@given(st.lists(FLOATS, min_size=1))
@settings(max_examples=40, deadline=None)
def test_counts_between_edges(values):
    x = np.array(values, "float32")
    known = x[~np.isnan(x)]
    # An edge belongs to the bin farther from 0.
    inner = EDGES[1:-1]
    above = np.searchsorted(inner, known, side="right")
    below = np.searchsorted(inner, known, side="left")
    expected = np.bincount(np.where(known > 0, above, below), minlength=BINS)
    tensor = keras.ops.convert_to_tensor(x)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(count(tensor)), expected)


def test_counts_where_operations_are_joined():
    x = np.append(normal(5000), [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, *EDGES[1:-1]]).astype("float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        counted = tf.function(count, jit_compile=True)(x)
    else:
        import jax

        counted = jax.jit(count)(x)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(counted), figures(L.Identity(), x)["histogram"])


def test_edges_rise_are_symmetric_and_exact():
    assert np.all(np.diff(EDGES) > 0)
    np.testing.assert_array_equal(EDGES, -EDGES[::-1])
    np.testing.assert_array_equal(EDGES, EDGES.astype("float32"))
    assert len(EDGES) == BINS + 1


@given(st.lists(st.booleans(), min_size=1, max_size=90), st.sampled_from([1, 2, 3, 7]))
@settings(max_examples=40, deadline=None)
def test_silent_channels_survive_the_way_through_replicas(silent, replicas):
    packed = keras.ops.convert_to_numpy(
        silence.packed(keras.ops.convert_to_tensor(np.array(silent)), len(silent))
    )
    there = (packed.astype("float32") * np.float32(replicas) + np.float32(0)) / np.float32(replicas)
    assert silence.unpacked(there, len(silent)).tolist() == silent
    assert len(packed) == silence.words(len(silent))


@pytest.mark.parametrize(
    ("layer", "low", "high"),
    [
        (L.Dense(3, "sigmoid"), 0.01, 0.99),
        (L.Activation("tanh"), -0.99, 0.99),
        (L.Dense(3, "softsign"), -0.99, 0.99),
        (L.ReLU(max_value=6), -np.inf, 5.94),
        (L.Conv1D(3, 1, activation="relu6"), -np.inf, 5.94),
        (L.Dense(3, "hard_sigmoid"), 0.01, 0.99),
    ],
)
def test_saturation(layer, low, high):
    x = np.linspace(-1.2, 7.0, 240, dtype="float32").reshape(4, 20, 3)
    assert figures(layer, x)["saturated"] == pytest.approx(np.mean((x <= low) | (x >= high)), rel=1e-6)


class Own(L.Layer):
    def __init__(self):
        super().__init__()
        self.activation = keras.activations.tanh

    def call(self, x):
        return x + self.activation(x)


@pytest.mark.parametrize("layer", [L.Dense(3), L.Dense(3, "relu"), L.ReLU(), L.Softmax(), Own()])
def test_no_saturation_without_a_bound(layer):
    assert "saturated" not in figures(layer, normal(4, 3))


@pytest.mark.parametrize("sizes", [(5, 3), (4, 0), (1, 6, 2)])
def test_replicas_are_pooled_as_one_batch(sizes):
    shares = [np.maximum(normal(n, 4, seed=i) + i, 0) for i, n in enumerate(sizes)]
    layer = L.Dense(4, "relu6")
    parts = []
    for share in shares:
        if len(share) or keras.backend.backend() == "tensorflow":
            row, vector = lay("row", summarize(layer, keras.ops.convert_to_tensor(share), ALL), 4)
            parts.append(unlay(row, keras.ops.convert_to_numpy(vector).astype("float64")))
    found, whole = read(row, pooled(parts)), figures(layer, np.concatenate(shares))
    np.testing.assert_array_equal(found.pop("silent"), whole.pop("silent"))
    assert found.pop("histogram") == whole.pop("histogram")
    # What no sum over replicas tells: a mean of theirs.
    assert 0 < found.pop("range") <= whole.pop("range") * (1 + 1e-5)
    for name, value in whole.items():
        assert found[name] == (value if name == "layer" else pytest.approx(value, rel=1e-5)), name


# Through fit -------------------------------------------------------------------------------------------


def fit(model, x, y, batch_size=None, epochs=1, **arguments):
    stats = kr.callbacks.ActivationStats(every=1, **arguments)
    sizes = {"batch_size": batch_size or len(x), "epochs": epochs}
    model.fit(x, y, **sizes, shuffle=False, verbose=0, callbacks=[stats])
    return stats


def linear(optimizer, **arguments):
    """A linear model of known weights, and its data."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), L.Dense(2, name="d", **arguments)])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model, normal(8, 3), normal(8, 2, seed=1)


def gradient(model, x, y):
    """That of the mean squared error, by hand."""
    kernel, bias = (v.astype("float64") for v in model.get_weights())
    error = 2 * (x @ kernel + bias - y) / y.size
    return [x.T @ error, error.sum(0)]


def norm(arrays):
    return np.sqrt(sum(float(np.sum(np.square(a, dtype="float64"))) for a in arrays))


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01, weight_decay=0.1),
    "clipped": lambda: keras.optimizers.SGD(0.1, global_clipnorm=1e-3),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=2.0**10),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_and_updates(name):
    model, x, y = linear(OPTIMIZERS[name]())
    for _ in range(2):
        before, expected = model.get_weights(), gradient(model, x, y)
        row = fit(model, x, y, gradients=True).history[0]
        change = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
        assert row["gradient_norm"] == pytest.approx(norm(expected), rel=1e-4)
        assert row["weight_norm"] == pytest.approx(norm(before), rel=1e-6)
        assert row["update_ratio"] == pytest.approx(norm(change) / norm(before), rel=1e-5)
        assert row["update_ratio"] > 0


def test_a_constraint_is_part_of_the_update():
    model, x, y = linear(keras.optimizers.SGD(1e-9), kernel_constraint=keras.constraints.MaxNorm(0.1))
    before = model.get_weights()
    row = fit(model, x, y, gradients=True).history[0]
    change = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
    assert row["update_ratio"] == pytest.approx(norm(change) / norm(before), rel=1e-5)
    assert row["update_ratio"] > 0.1


def test_gathered_gradients_move_nothing_until_they_are_applied():
    model, x, y = linear(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    stats = fit(model, x, y, batch_size=2, gradients=True)
    assert [row["step"] for row in stats.history] == [0, 1, 2, 3]
    assert [row["update_ratio"] > 0 for row in stats.history] == [False, True, False, True]
    again = fit(model, x, y, batch_size=2, gradients=True)
    assert [row["step"] for row in again.history] == [4, 5, 6, 7]


def test_steps_whose_gradients_overflow_change_nothing():
    model, x, y = linear(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**127)
    )
    stats = fit(model, 1e3 * x, y, batch_size=4, epochs=2, gradients=True)
    assert [row["step"] for row in stats.history] == [0, 1, 2, 3]
    assert stats.history[0]["update_ratio"] == 0
    assert not np.isfinite(stats.history[0]["gradient_norm"])


def test_whose_weights_are_whose():
    keras.utils.set_random_seed(0)
    frozen = L.Dense(4, name="frozen", trainable=False)
    x = keras.Input((5, 3))
    h = L.LSTM(4, name="lstm")(L.Embedding(7, 3, name="words")(keras.ops.cast(x[:, :, 0], "int32")))
    shared = L.Dense(4, name="shared")
    model = keras.Model(x, frozen(shared(shared(h))))
    model.compile("sgd", "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    data = np.random.default_rng(0).integers(0, 7, (6, 5, 3)).astype("float32")
    before = {layer.name: layer.get_weights() for layer in model.layers}
    rows = {row["layer"]: row for row in fit(model, data, np.ones((6, 4)), gradients=True).history}
    measured = {name for name, row in rows.items() if "gradient_norm" in row}
    assert measured == {"words", "lstm", "shared"}
    assert {"frozen", "shared:2"} <= set(rows)
    for name in measured:
        assert rows[name]["weight_norm"] == pytest.approx(norm(before[name]), rel=1e-5)
        change = [a - b for a, b in zip(model.get_layer(name).get_weights(), before[name], strict=True)]
        # SGD's step is the gradient, of rows looked up twice too.
        assert rows[name]["gradient_norm"] == pytest.approx(norm(change) / 0.01, rel=1e-2)


@pytest.mark.parametrize("kind", ["keras", "ours"])
def test_batch_norms(kind):
    norm_of = L.BatchNormalization if kind == "keras" else kr.layers.BatchNormalization
    layer = norm_of(name="norm", epsilon=1e-2)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    layer.moving_mean.assign([0.5, -1.0, 2.0])
    layer.moving_variance.assign([1.0, 4.0, 0.25])
    x = normal(50, 3) * [2.0, 1.0, 0.5] + [0.0, 1.0, 2.0]
    floor = x.var(0) + 1e-2
    logs = np.log(np.array([1.0, 4.0, 0.25]) + 1e-2) - np.log(floor)
    expected = np.sqrt(np.mean((np.array([0.5, -1.0, 2.0]) - x.mean(0)) ** 2 / floor + logs**2 / 2))
    row = fit(model, x, x).history[0]
    assert row["batch_norm_drift"] == pytest.approx(expected, rel=1e-4)
    if kind == "ours":
        assert row["skipped_batches"] == 0
        poisoned = np.where(np.arange(50)[:, None] < 25, np.nan, x)
        counts = [r["skipped_batches"] for r in fit(model, poisoned, x, batch_size=25).history]
        assert counts == [1, 1]
    else:
        assert "skipped_batches" not in row


def test_dead_is_silent_in_every_step_of_the_window():
    model = keras.Sequential([keras.Input((4,)), L.ReLU(name="relu"), L.Dense(4)])
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    x = -np.ones((3, 4), "float32")
    x[0, 0] = x[1, 1] = x[1, 0] = 1.0
    stats = kr.callbacks.ActivationStats(every=1, diagnose=False)
    model.fit(x, x, batch_size=1, shuffle=False, verbose=0, callbacks=[stats])
    assert [row["dead"] for row in stats.history if row["layer"] == "relu"] == [0.75, 0.5, 0.5]
    # A new fit is a new window.
    model.fit(x[2:], x[2:], batch_size=1, verbose=0, callbacks=[stats])
    assert [row["dead"] for row in stats.history if row["layer"] == "relu"] == [0.75, 0.5, 0.5, 1.0]


def test_a_closed_window_begins_anew():
    window = silence.SilenceWindow()
    silent = [np.array(bits, bool) for bits in ([1, 1, 0], [1, 0, 1], [1, 0, 1])]
    row = {"layer": "a", "zeros": 0.6}
    assert [window.add(row, s) for s in silent[:2]] == [2 / 3, 1 / 3]
    window.restart()
    assert window.add(row, silent[2]) == 2 / 3
    assert window.add({"layer": "b", "zeros": 0.0}, np.zeros(3, bool)) is None
    assert window.add({"layer": "a", "zeros": 0.0}, np.zeros(3, bool)) == 0


def test_figures_that_nobody_asked_for_are_left_out():
    model, x, y = linear("sgd")
    plain = {"step", "layer", "mean", "std", "rms", "min", "max", "range", "zeros", "nonfinite"}
    assert set(fit(model, x, y).history[0]) == plain
    channels = {"channel_mean", "channel_rms", "channel_zeros"}
    assert set(fit(model, x, y, per_channel=True).history[0]) == plain | channels
    assert set(fit(model, x, y, histograms=True).history[0]) == plain | {"histogram"}
    gradients = {"gradient_norm", "weight_norm", "update_ratio"}
    assert set(fit(model, x, y, gradients=True).history[0]) == plain | gradients


def test_a_small_deviation_beside_a_large_mean():
    x = (1e3 + normal(64, 32)).astype("float32")
    assert figures(L.Identity(), x)["std"] == pytest.approx(x.astype("float64").std(), rel=1e-5)


def test_zeros_are_counted_beside_a_value_that_is_not_finite():
    x = normal(6, 4)
    x[:3, 0], x[4, 1] = 0.0, np.nan
    found = figures(L.Identity(), x)
    assert (found["zeros"], found["nonfinite"]) == (3 / 24, 1)


def test_a_channel_below_zero_is_not_silent():
    x = normal(6, 3)
    x[:, 0], x[:, 1], x[0, 1] = 0.0, -1.0, 0.0
    assert figures(L.Identity(), x)["silent"].tolist() == [True, False, False]
