"""Synchronised replicas are one batch: two logical processors in a process of their own."""

import os
import subprocess
import sys
import textwrap

import keras
import pytest

REPLICAS = """
    import numpy as np, tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras, kerasreg as kr
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(1e4, 1, (8, 5, 3)), rng.normal(1e4 + 5, 2, (8, 5, 3))]).astype("float32")
    mask = rng.random((16, 5)) < 0.6
    halves = lambda values: strategy.experimental_distribute_values_from_function(
        lambda c: tf.constant(np.split(values, 2)[c.replica_id_in_sync_group]))
    for m in (None, mask):
        with strategy.scope():
            layer = kr.layers.BatchNormalization(synchronized=True, update_rate=1.0)
            layer.build((None, 5, 3))
        def step(x, *m):
            return layer(x, training=True, mask=m[0] if m else None)
        y = strategy.run(step, args=tuple(halves(v) for v in ((x,) if m is None else (x, m))))
        y = np.concatenate([part.numpy() for part in strategy.experimental_local_results(y)])
        whole = kr.layers.BatchNormalization(update_rate=1.0)
        expected = whole(x, training=True, mask=m).numpy()
        np.testing.assert_allclose(y, expected, atol=2e-3)
        kept = (x if m is None else x[m]).reshape(-1, 3).astype("float64")
        for part in (layer.moving_variance, whole.moving_variance):
            assert np.abs(np.asarray(keras.ops.convert_to_numpy(part.value)) / kept.var(0) - 1).max() < 1e-4
    print("equal")
"""


SHARDED = """
    import os
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    import jax, keras, numpy as np, kerasreg as kr
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(1e4, 1, (8, 5, 3)), rng.normal(1e4 + 5, 2, (8, 5, 3))]).astype("float32")
    mask = rng.random((16, 5)) < 0.6

    def fitted(masked):
        inputs, kept = keras.Input((5, 3)), keras.Input((5,), dtype="bool")
        layer = kr.layers.BatchNormalization(synchronized=True, update_rate=1.0)
        y = layer(inputs, mask=kept) if masked else layer(inputs)
        model = keras.Model([inputs, kept], y)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit([x, mask], np.sin(x), batch_size=16, verbose=0)
        return layer

    alone = [fitted(masked).get_weights() for masked in (False, True)]
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    for masked, expected in zip((False, True), alone):
        layer = fitted(masked)
        assert len(layer.moving_mean.value.sharding.device_set) == 2
        for a, b in zip(layer.get_weights(), expected):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        exact = (x[mask] if masked else x.reshape(-1, 3)).astype("float64").var(0)
        assert np.abs(np.asarray(layer.moving_variance.value) / exact - 1).max() < 1e-4
    print("equal")
"""
PROGRAMS = {"tensorflow": REPLICAS, "jax": SHARDED}


@pytest.mark.skipif(keras.backend.backend() not in PROGRAMS, reason="replicas are TensorFlow's and JAX's")
def test_synchronized_replicas_are_one_batch():
    backend = keras.backend.backend()
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    program = textwrap.dedent(PROGRAMS[backend])
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("equal"), done.stderr
