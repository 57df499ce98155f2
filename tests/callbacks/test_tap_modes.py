"""The tap in every way to train: nothing is changed by looking, and what cannot be seen is named."""

import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from models import arrays

import kerasreg as kr
from kerasreg._tap.train_step import Tap

L = keras.layers
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
# Without XLA, which rounds as it likes: graph mode on TensorFlow, operation by operation on JAX.
PLAIN = {"jit_compile": False}


def net(policy="float32"):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(3, 3, name="conv", dtype=policy),
            L.ReLU(name="relu", dtype=policy),
            kr.layers.BatchNormalization(name="norm", dtype=policy),
            L.Dropout(0.3, name="drop", dtype=policy),
            L.Flatten(name="flat", dtype=policy),
            L.Dense(3, "sigmoid", name="out", dtype="float32"),
        ]
    )


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 6, 6, 2)).astype("float32"), rng.random((12, 3)).astype("float32")


def train(callbacks, optimizer="adam", policy="float32", **arguments):
    keras.utils.set_random_seed(1)
    model = net(policy)
    model.compile(optimizer if isinstance(optimizer, str) else optimizer(), "mse", **arguments)
    x, y = data()
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks).history
    return model, history


def everything(**arguments):
    return kr.callbacks.ActivationStats(
        every=1, gradients=True, histograms=True, per_channel=True, diagnose=False, **arguments
    )


MODES = {
    "graph": PLAIN,
    "eager": {"run_eagerly": True},
    "float16": {"policy": "mixed_float16", **PLAIN},
    "bfloat16": {"policy": "mixed_bfloat16", **PLAIN},
    "accumulation": {"optimizer": lambda: keras.optimizers.Adam(gradient_accumulation_steps=2), **PLAIN},
    "executions": {"steps_per_execution": 2, **PLAIN},
}


@pytest.mark.parametrize("mode", MODES)
def test_looking_at_everything_changes_no_bit(mode):
    bare, losses = train([], **MODES[mode])
    stats = everything()
    watched, seen = train([stats], **MODES[mode])
    assert seen == losses
    assert all(np.array_equal(a, b) for a, b in zip(arrays(watched), arrays(bare), strict=True))
    assert set(vars(watched)) == set(vars(bare))
    assert set(vars(watched.optimizer)) == set(vars(bare.optimizer))
    steps = sorted({row["step"] for row in stats.history})
    # The first epoch's last execution has one step of two.
    assert steps == ([1, 2, 4, 5] if mode == "executions" else [0, 1, 2, 3, 4, 5])
    assert stats.skipped == {}
    last = {row["layer"]: row for row in stats.history if row["step"] == 5}
    assert list(last) == ["conv", "relu", "norm", "drop", "flat", "out"]
    assert all(0 < last[name]["gradient_norm"] < 100 for name in ("conv", "norm", "out"))
    assert last["conv"]["update_ratio"] > 0
    assert {"dead", "batch_norm_drift", "saturated"} <= {name for row in last.values() for name in row}


def test_a_second_fit_finds_the_observed_step_compiled():
    traces = []

    class Counted(keras.Sequential):
        def train_step(self, *args):
            traces.append(1)
            return super().train_step(*args)

    model = Counted([keras.Input((3,)), L.Dense(2, name="d")])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 2), "float32")
    stats = kr.callbacks.ActivationStats(every=1)
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[stats])
    first = len(traces)
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[stats])
    assert len(traces) == first
    # Others may be asked for, and then it is another step.
    more = everything()
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[more])
    assert "histogram" in more.history[0]
    assert len(traces) > first
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[stats])
    assert len({id(row) for row in stats.history}) == 6


def test_two_with_different_arguments():
    one, other = everything(layers="out"), kr.callbacks.ActivationStats(every=1, diagnose=False)
    train([one, other], run_eagerly=True)
    assert {row["layer"] for row in one.history} == {"out"}
    assert {"histogram", "gradient_norm"} <= set(one.history[0])
    assert not any({"histogram", "gradient_norm", "channel_mean"} & set(row) for row in other.history)
    mine = [row["rms"] for row in one.history]
    assert mine == [row["rms"] for row in other.history if row["layer"] == "out"]


def test_what_fails_in_a_fit_leaves_nothing_behind():
    class Fail(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                raise RuntimeError("pulled the plug")

    keras.utils.set_random_seed(1)
    model = net()
    model.compile("adam", "mse", **PLAIN)
    x, y = data()
    model.fit(x, y, batch_size=4, verbose=0)
    before, plain = set(vars(model)), model.train_function
    with pytest.raises(RuntimeError, match="plug"):
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[everything(), Fail()])
    assert set(vars(model)) == before
    # What Keras calls next runs the plain step, not one that nobody in that `fit` asked to see.
    inside = [cell.cell_contents for cell in model.train_function.__closure__]
    (tap,) = [found for found in inside if isinstance(found, Tap)]
    seen = tap.latest
    model.fit(x, y, batch_size=4, verbose=0)
    assert model.train_function is plain
    assert tap.latest is seen
    with pytest.raises(RuntimeError, match="plug"):
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[everything(), Fail()])
    assert not {"apply", "stateless_apply"} & set(vars(model.optimizer))
    again = everything()
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[again])
    assert model.train_function is plain
    assert len({row["step"] for row in again.history}) == 3


class Block(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.a, self.b = L.Dense(5, "relu", name="a"), L.Dense(3, name="b")

    def build(self, shape):
        self.a.build(shape)
        self.b.build((*shape[:-1], 5))

    def call(self, x):
        return self.b(self.a(x))


def test_a_rematerialised_block_is_seen_once_or_named():
    keras.utils.set_random_seed(0)
    with keras.RematScope(mode="full"):
        block = Block(name="block")
    model = keras.Sequential([keras.Input((3,)), block, L.Dense(1, name="out")])
    # Keras itself rematerialises in TensorFlow's eager mode only.
    model.compile("sgd", "mse", run_eagerly=ON_TENSORFLOW)
    stats = everything()
    model.fit(np.ones((4, 3), "float32"), np.ones((4, 1)), batch_size=4, verbose=0, callbacks=[stats])
    seen = [row["layer"] for row in stats.history]
    if ON_TENSORFLOW:
        assert seen == ["block/a", "block/b", "block", "out"]
    else:
        assert seen == ["block", "out"]
        assert set(stats.skipped) == {"block/a", "block/b"}
        assert all("rematerialised" in reason for reason in stats.skipped.values())


@pytest.mark.skipif(not ON_TENSORFLOW, reason="a training step of TensorFlow's")
def test_a_step_of_ones_own_with_two_optimizers():
    import tensorflow as tf

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.other = L.Dense(2, name="one"), L.Dense(1, name="other")

        def build(self, shape=None):
            self.one.build((None, 3))
            self.other.build((None, 2))

        def compile(self, **arguments):
            super().compile(loss="mse", **arguments)
            self.first, self.second = keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.01)

        def call(self, x):
            return self.other(self.one(x))

        def train_step(self, batch):
            x, y = batch
            for optimizer, layer in ((self.first, self.one), (self.second, self.other)):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(self(x) - y))
                weights = layer.trainable_weights
                optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    keras.utils.set_random_seed(0)
    model = Pair()
    model.compile(**PLAIN)
    stats = everything()
    model.fit(
        np.ones((8, 3), "float32"), np.ones((8, 1)), batch_size=4, epochs=2, verbose=0, callbacks=[stats]
    )
    assert [row["layer"] for row in stats.history[:4]] == ["one", "other", "one:2", "other:2"]
    # The optimizer the model was compiled with takes no step; the count goes on all the same.
    assert sorted({row["step"] for row in stats.history}) == [0, 1, 2, 3]
    first = stats.history[0]
    assert first["update_ratio"] == pytest.approx(
        0.1 * first["gradient_norm"] / first["weight_norm"], rel=1e-5
    )
    # Adam's first step moves each weight by the rate.
    assert stats.history[1]["update_ratio"] * stats.history[1]["weight_norm"] == pytest.approx(
        0.01 * np.sqrt(3), rel=1e-3
    )


REPLICAS = """
    import json, sys
    import numpy as np, tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras, kerasreg as kr
    L = keras.layers

    def run(strategy, watched=True):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            layers = [L.Dense(6, "relu", name="a"), L.Dense(3, "tanh", name="b")]
            model = keras.Sequential([keras.Input((5,)), *layers])
            model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(12, 5)).astype("float32"), rng.normal(size=(12, 3)).astype("float32")
        x[0, 0] = 20.0
        stats = kr.callbacks.ActivationStats(
            every=1, gradients=True, histograms=True, per_channel=True, diagnose=False)
        model.fit(x, y, batch_size=6, shuffle=False, verbose=0, callbacks=[stats] if watched else [])
        return stats.history, [w.tolist() for w in model.get_weights()]

    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    pair, weights = run(two)
    single, _ = run(tf.distribute.get_strategy())
    _, bare = run(two, watched=False)
    print(json.dumps({"pair": pair, "single": single, "same": weights == bare}))
"""


@pytest.mark.skipif(not ON_TENSORFLOW, reason="replicas of TensorFlow's")
def test_replicas_are_one_batch():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REPLICAS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same"]
    assert len(found["pair"]) == len(found["single"]) == 4
    for pair, single in zip(found["pair"], found["single"], strict=True):
        assert set(pair) == set(single)
        for name in set(single) - {"layer"}:
            assert pair[name] == pytest.approx(single[name], rel=1e-4, abs=1e-6), name
