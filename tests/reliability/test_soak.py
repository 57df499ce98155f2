"""Ten trainings leave no more behind than two: file handles, threads, variables."""

import gc
import os
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasreg as kr
from kerasreg.callbacks import activation_log


def held():
    """What this process holds."""
    gc.collect()
    return {
        "threads": threading.active_count(),
        "handles": len(os.listdir("/proc/self/fd")),
        "variables": sum(isinstance(found, keras.Variable) for found in gc.get_objects()),
    }


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts handles as Linux shows them")
def test_ten_fits_hold_what_two_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(activation_log, "find_spec", lambda name: None)  # pictures take most of the time
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_regularizer="l2"),
            kr.layers.BatchNormalization(),
            kr.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", run_eagerly=True)
    images, labels = np.zeros((4, 4, 4, 1), "uint8"), np.zeros((4, 1))
    pipeline = kr.augment.Pipeline([kr.augment.RandomBrightness(0.2)])
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2).apply(pipeline)
    found = []
    for number in range(10):
        callbacks = [
            kr.callbacks.BackupAndRestore(tmp_path / "backup"),
            kr.callbacks.ActivationStats(tmp_path / f"log{number}", gradients=True, histograms=True),
            kr.callbacks.PenaltyReport(),
        ]
        model.fit(data, shuffle=False, callbacks=callbacks, verbose=0)
        model.predict(np.zeros((2, 4, 4, 1)), verbose=0)
        del callbacks
        found.append(held())
    assert found[-1] == found[1]
