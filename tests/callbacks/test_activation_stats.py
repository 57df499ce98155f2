"""ActivationStats: right figures, from the real step, and nothing changed by looking."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from models import KINDS, arrays, make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import kerasreg as kr

MODES = {
    "default": {},
    "jit": {"jit_compile": True},
    "steps_per_execution": {"steps_per_execution": 2},
    "eager": {"run_eagerly": True},
}
# Every kind in the default mode, every mode on one kind that has noise and statistics.
CASES = [(kind, "default") for kind in KINDS] + [
    ("convolutional", mode) for mode in MODES if mode != "default"
]


def train(model, x, y, callbacks, epochs=2):
    return model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks)


def fuses_as_it_likes():
    """Whether this TensorFlow's XLA is known to round an observed step otherwise in a last bit."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tuple(map(int, tf.__version__.split(".")[:2])) < (2, 21)


def rows_at(stats, step):
    return [row for row in stats.history if row["step"] == step]


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_looking_changes_no_bit_and_sees_every_call(kind, mode):
    model, x, y = make(kind, **MODES[mode])
    bare = train(model, x, y, [])
    expected = arrays(model)

    model, x, y = make(kind, **MODES[mode])
    attributes = set(vars(model))
    stats = kr.callbacks.ActivationStats(every=2)
    watched = train(model, x, y, [stats])

    if mode == "jit" and fuses_as_it_likes():
        np.testing.assert_allclose(watched.history["loss"], bare.history["loss"], rtol=1e-5)
    else:
        assert watched.history == bare.history
        assert all(np.array_equal(a, b) for a, b in zip(arrays(model), expected, strict=True))
    assert not {name for name in set(vars(model)) - attributes if "tap" in name or name == "train_step"}
    last = stats.history[-1]["step"]
    assert [row["layer"] for row in rows_at(stats, last)] == KINDS[kind][2]
    assert all(math.isfinite(row["rms"]) and row["rms"] > 0 for row in stats.history)


def test_figures_are_those_of_the_batch_that_was_trained_on():
    keras.utils.set_random_seed(3)
    x = keras.Input((7,))
    a = keras.layers.Dense(16, "relu", name="a")(x)
    b = keras.layers.Dense(4, bias_initializer=keras.initializers.Constant(300.0), name="b")(a)
    model = keras.Model(x, b)
    model.compile("sgd", "mse")
    data = np.random.default_rng(0).normal(size=(10, 7)).astype("float32")
    outputs = keras.Model(x, [a, b]).predict(data, verbose=0)

    stats = kr.callbacks.ActivationStats()
    model.fit(data, np.zeros((10, 4)), batch_size=10, verbose=0, shuffle=False, callbacks=[stats])

    for row, output in zip(stats.history, outputs, strict=True):
        output = output.astype("float64")
        assert row["mean"] == pytest.approx(output.mean(), rel=1e-5)
        assert row["std"] == pytest.approx(output.std(), rel=1e-5)
        assert row["rms"] == pytest.approx(np.sqrt(np.mean(output**2)), rel=1e-5)
        assert row["zeros"] == pytest.approx(np.mean(output == 0), abs=1e-6)
        assert (row["min"], row["max"]) == pytest.approx((output.min(), output.max()), rel=1e-5)
        assert row["nonfinite"] == 0
    assert 0.3 < stats.history[0]["zeros"] < 0.7


def test_dropout_is_seen_dropping():
    model, x, y = make("convolutional")
    stats = kr.callbacks.ActivationStats(layers="drop")
    train(model, x, y, [stats])
    assert all(0.15 < row["zeros"] < 0.45 for row in stats.history)


@pytest.mark.parametrize(
    ("every", "per_execution", "steps"),
    [
        (1, 1, [0, 1, 2, 3]),
        (3, 1, [0, 1, 3]),
        (3, 2, [1, 3]),
        (9, 2, [1]),
        (lambda step: step == 2, 1, [0, 1, 2]),
    ],
)
def test_observed_steps(every, per_execution, steps):
    model, x, y = make("functional", steps_per_execution=per_execution)
    stats = kr.callbacks.ActivationStats(every=every)
    train(model, x, y, [stats], epochs=1)
    assert sorted({row["step"] for row in stats.history}) == steps


def test_a_second_fit_counts_on():
    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(every=3)
    train(model, x, y, [stats], epochs=1)
    train(model, x, y, [stats], epochs=1)
    # Four steps each; the first two of a fit are always seen.
    assert sorted({row["step"] for row in stats.history}) == [0, 1, 3, 4, 5, 6]


def test_other_callbacks_and_the_history_never_see_the_figures():
    seen = set()

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.update(logs)

    model, x, y = make("functional")
    history = train(model, x, y, [kr.callbacks.ActivationStats(every=1), Spy()])
    assert seen == {"loss"}
    assert set(history.history) == {"loss"}


def test_two_in_one_fit_see_what_each_asked_for():
    model, x, y = make("functional")
    some, all_ = (
        kr.callbacks.ActivationStats(every=2, layers=["a", "c"]),
        kr.callbacks.ActivationStats(every=3),
    )
    train(model, x, y, [some, all_])
    assert {row["layer"] for row in some.history} == {"a", "c"}
    assert {row["layer"] for row in all_.history} == {"a", "b", "sum", "c"}
    assert sorted({row["step"] for row in some.history}) == [0, 1, 2, 4, 6]
    assert sorted({row["step"] for row in all_.history}) == [0, 1, 3, 6]
    by_both = [
        {name: value for name, value in row.items() if name != "dead"}  # over the steps that each one saw
        for stats in (some, all_)
        for row in stats.history
        if row["step"] == 6 and row["layer"] == "a"
    ]
    assert by_both[0] == by_both[1]


def test_a_crash_in_fit_leaves_the_model_as_it_was():
    class Crash(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                raise RuntimeError("pulled the plug")

    model, x, y = make("functional")
    with pytest.raises(RuntimeError, match="plug"):
        train(model, x, y, [kr.callbacks.ActivationStats(every=1), Crash()])
    assert "train_step" not in vars(model)
    history = train(model, x, y, [])
    assert set(history.history) == {"loss"}
    again = kr.callbacks.ActivationStats(every=1)
    train(model, x, y, [again])
    assert len({row["step"] for row in again.history}) == 8


def test_recompiling_between_fits_is_noticed():
    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(every=1)
    train(model, x, y, [stats], epochs=1)
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    before = arrays(model)[:6]
    train(model, x, y, [stats], epochs=1)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(model)[:6], before, strict=True))


def test_what_cannot_be_seen_is_named():
    model, x, y = make("recurrent")
    stats = kr.callbacks.ActivationStats()
    train(model, x, y, [stats])
    assert set(stats.skipped) == {"lstm/lstm_cell", "gru/gru_cell"}
    assert all("scan" in reason for reason in stats.skipped.values())


def test_a_layer_inside_a_loop_is_skipped_not_leaked():
    class Looped(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(5, name="looped_dense")

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return keras.ops.fori_loop(0, 3, lambda i, y: self.inner(y), x)

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), Looped(name="looped"), keras.layers.Dense(3, name="c")])
    model.compile("sgd", "mse")
    stats = kr.callbacks.ActivationStats()
    model.fit(np.ones((4, 5)), np.ones((4, 3)), verbose=0, callbacks=[stats])
    assert [row["layer"] for row in stats.history] == ["looped", "c"]
    assert "loop" in stats.skipped["looped/looped_dense"]


def test_mixed_precision_is_reduced_in_float32():
    keras.utils.set_random_seed(0)
    policy = keras.DTypePolicy("mixed_float16")
    large = keras.initializers.Constant(300.0)
    layers = [keras.layers.Dense(64, bias_initializer=large, dtype=policy, name="a"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("sgd", "mse")
    stats = kr.callbacks.ActivationStats(layers="a")
    model.fit(np.zeros((64, 3)), np.zeros((64, 1)), batch_size=64, verbose=0, callbacks=[stats])
    # The sum of squares, 4096 * 9e4, is far beyond float16's 65504.
    assert stats.history[0]["rms"] == pytest.approx(300.0, rel=1e-4)


def test_the_events_file_reads_back_with_tensorboards_own_reader(tmp_path):
    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(tmp_path, every=2)
    train(model, x, y, [stats])
    reader = EventAccumulator(str(tmp_path))
    reader.Reload()
    figures, layers = ("mean", "std", "rms", "zeros", "min", "max", "nonfinite"), ("a", "b", "sum", "c")
    assert set(reader.Tags()["scalars"]) >= {f"activation_{f}/{layer}" for f in figures for layer in layers}
    for figure in figures:
        events = reader.Scalars(f"activation_{figure}/a")
        rows = [row for row in stats.history if row["layer"] == "a"]
        assert [event.step for event in events] == [row["step"] for row in rows] == [0, 1, 2, 4, 6]
        np.testing.assert_allclose([e.value for e in events], [row[figure] for row in rows], rtol=1e-6)


def test_json_lines_hold_the_history(tmp_path):
    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(tmp_path, every=2)
    train(model, x, y, [stats])
    lines = [json.loads(line) for line in (tmp_path / "activations.jsonl").read_text().splitlines()]
    rows = [{"step": line["step"], "layer": k, **v} for line in lines for k, v in line["layers"].items()]
    assert rows == stats.history


def test_the_log_is_valid_after_a_kill(tmp_path):
    script = """
        import os, signal, numpy as np, keras, kerasreg as kr
        class Kill(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="a")])
        model.compile("sgd", "mse")
        stats = kr.callbacks.ActivationStats(LOG, every=1)
        model.fit(np.ones((64, 3)), np.ones((64, 4)), batch_size=4, verbose=0, callbacks=[stats, Kill()])
    """
    program = f"LOG = {str(tmp_path)!r}\n" + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    lines = (tmp_path / "activations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3, 4, 5]
    reader = EventAccumulator(str(tmp_path))
    reader.Reload()
    assert [event.step for event in reader.Scalars("activation_rms/a")] == [0, 1, 2, 3, 4, 5]


def test_a_disk_that_fails_costs_one_warning_and_no_training(tmp_path):
    class PullTheDisk(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            lines = tmp_path / "log" / "activations.jsonl"
            if lines.is_file():
                lines.unlink()
                lines.mkdir()

    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(tmp_path / "log", every=1)
    with pytest.warns(UserWarning, match="training goes on") as caught:
        train(model, x, y, [stats, PullTheDisk()])
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1
    assert len({row["step"] for row in stats.history}) == 8


@pytest.mark.parametrize("place", ["under_a_file", "file_itself"])
def test_a_folder_that_cannot_be_written_is_said_before_training(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    log_dir = tmp_path / "file" / "log" if place == "under_a_file" else tmp_path / "file"
    model, x, y = make("functional")
    before = arrays(model)[:6]
    with pytest.raises(ValueError, match=r"`log_dir` of ActivationStats must be .* written") as caught:
        train(model, x, y, [kr.callbacks.ActivationStats(log_dir)])
    assert str(log_dir) in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(model)[:6], before, strict=True))


def test_a_pattern_that_matches_nothing_lists_the_layers():
    model, x, y = make("functional")
    with pytest.raises(ValueError, match=r"`layers` .* a, b, sum, c, got 'conv\*'"):
        train(model, x, y, [kr.callbacks.ActivationStats(layers=["a", "conv*"])])


@pytest.mark.parametrize(
    "bad", [{"every": 0}, {"every": 1.5}, {"every": "10"}, {"layers": 3}, {"diagnose": 1}]
)
def test_bad_arguments(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"`{name}` of ActivationStats") as caught:
        kr.callbacks.ActivationStats(**bad)
    assert repr(value) in str(caught.value)


def test_a_dead_layer_is_found_once_and_a_healthy_one_is_not(capsys):
    keras.utils.set_random_seed(0)
    dead = keras.layers.Dense(8, "relu", bias_initializer=keras.initializers.Constant(-100.0), name="dead")
    healthy = keras.layers.Dense(8, "relu", name="healthy")
    model = keras.Sequential([keras.Input((4,)), healthy, dead, keras.layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    stats = kr.callbacks.ActivationStats(every=1)
    data = np.random.default_rng(0).normal(size=(16, 4))
    model.fit(data, np.ones(16), epochs=3, verbose=0, callbacks=[stats])
    found = [(f.layer, f.code) for f in stats.findings]
    assert ("dead", "dead-units") in found
    assert not [layer for layer, _ in found if layer == "healthy"]
    assert capsys.readouterr().out.count("dead-units") == 1
    assert "dead-units" in stats.summary()


def test_nan_in_the_data_is_an_error_of_the_data(tmp_path):
    model, x, y = make("functional")
    # On some processors TensorFlow's fused ReLU makes 0 of NaN, and then there is none to be seen.
    model.get_layer("a").activation = keras.activations.linear
    x[:] = np.nan
    stats = kr.callbacks.ActivationStats(tmp_path, every=1)
    train(model, x, y, [stats], epochs=1)
    first = stats.findings[0]
    assert (first.layer, first.code, first.severity) == ("input", "non-finite", "error")
    line = json.loads(
        (tmp_path / "activations.jsonl").read_text().splitlines()[0], parse_constant=pytest.fail
    )
    assert line["layers"]["a"]["rms"] is None


def test_hooks_are_gone_after_training():
    original = keras.layers.Layer.__call__
    model, x, y = make("functional")
    train(model, x, y, [kr.callbacks.ActivationStats(every=1)])
    assert keras.layers.Layer.__call__ is original
    if keras.backend.backend() == "jax":
        import jax

        assert jax.value_and_grad.__module__.startswith("jax")


def test_the_saved_model_is_the_same_file_content(tmp_path):
    model, x, y = make("convolutional")
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "watched.keras", save_freq=1)
    train(model, x, y, [kr.callbacks.ActivationStats(every=1), saver])
    reloaded = keras.models.load_model(tmp_path / "watched.keras")
    np.testing.assert_array_equal(model.predict(x, verbose=0), reloaded.predict(x, verbose=0))
    assert os.path.getsize(tmp_path / "watched.keras") > 0
