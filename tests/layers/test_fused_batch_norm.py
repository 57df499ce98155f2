"""The fused kernel: used where it is right, and the same numbers as without it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backend_tools import array

import kerasreg as kr
from kerasreg.layers import fused_batch_norm

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.fixture
def used(monkeypatch):
    """The names of the kernel's two forms, as they are used."""
    names = []

    def spy(name):
        original = getattr(fused_batch_norm, name)

        def noted(*args):
            names.append(name)
            return original(*args)

        monkeypatch.setattr(fused_batch_norm, name, noted)

    spy("normalize_with_batch")
    spy("normalize_with")
    return names


def fitted(x, jit_compile=False, run_eagerly=False, **arguments):
    """The layer after one training step on x, by Keras' own trainer."""
    layer = kr.layers.BatchNormalization(update_rate=0.5, **arguments)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile, run_eagerly=run_eagerly)
    model.fit(x, np.sin(x), batch_size=len(x), verbose=0)
    return model


CASES = {
    "graph": ({}, (4, 5, 6, 3), True),
    "eager": ({"run_eagerly": True}, (4, 5, 6, 3), False),
    "XLA": ({"jit_compile": True}, (4, 5, 6, 3), False),
    "rank 3": ({}, (4, 5, 3), False),
    "features first": ({"axis": 1}, (4, 3, 5, 6), False),
    "ghosts": ({"virtual_batch_size": 2}, (4, 5, 6, 3), False),
    "moving": ({"normalize_with": "moving"}, (4, 5, 6, 3), False),
}


@pytest.mark.parametrize(("arguments", "shape", "fused"), CASES.values(), ids=CASES)
def test_it_is_used_where_it_is_right(arguments, shape, fused, used, rng):
    fitted(rng.normal(size=shape).astype("float32"), **arguments)
    assert ("normalize_with_batch" in used) == (fused and ON_TENSORFLOW)


def test_a_mask_takes_the_plain_way(used, rng):
    x = keras.Input((5, 6, 3))
    layer = kr.layers.BatchNormalization(update_rate=1.0)
    model = keras.Model(x, layer(x, mask=keras.ops.any(x > 0, axis=-1)))
    model.compile("sgd", "mse", jit_compile=False)
    data = rng.normal(size=(4, 5, 6, 3)).astype("float32")
    model.fit(data, data, verbose=0)
    assert used == []
    kept = data[(data > 0).any(-1)]
    np.testing.assert_allclose(array(layer.moving_mean), kept.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"center": False}, {"averaging": "debiased"}])
def test_every_branch_gives_the_same_weights_and_statistics(arguments, rng):
    x = rng.normal(3, 2, (8, 5, 6, 3)).astype("float32")
    graph, xla, eager = (
        fitted(x, **mode, **arguments) for mode in ({}, {"jit_compile": True}, {"run_eagerly": True})
    )
    for other in (xla, eager):
        for a, b in zip(graph.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            graph.predict(x, verbose=0), array(other.layers[0](x, training=False)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_agrees_with_the_plain_way(dtype, rng):
    x = rng.normal(3, 2, (8, 5, 6, 3)).astype("float32")
    graph, eager = (fitted(x, dtype=dtype, run_eagerly=eagerly) for eagerly in (False, True))
    for a, b in zip(graph.layers[0].get_weights()[2:], eager.layers[0].get_weights()[2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3)


@pytest.mark.parametrize("count", [512, 409_600])
def test_the_variance_is_right_far_from_zero(count, rng):
    x = rng.normal(1e4, 1.0, (4, 2, count // 8, 3)).astype("float32")
    layer = fitted(x, averaging="cumulative").layers[0]
    exact = x.astype("float64").var((0, 1, 2))
    assert np.abs(array(layer.moving_variance) / exact - 1).max() < (1e-4 if count < 1000 else 1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_poisoned_batch_is_normalised_with_the_moving_averages(value, rng):
    layer = kr.layers.BatchNormalization(update_rate=1.0)
    model = keras.Sequential([keras.Input((5, 6, 3)), layer])
    clean = rng.normal(2, 3, (4, 5, 6, 3)).astype("float32")
    layer(clean, training=True)
    before = [array(v) for v in (layer.moving_mean, layer.moving_variance)]
    dirty = clean.copy()
    dirty[0, 0, 0, 0] = value
    if ON_TENSORFLOW:
        y = array(tf.function(lambda x: model(x, training=True))(dirty))
    else:
        y = array(model(dirty, training=True))
    for a, b in zip(before, (layer.moving_mean, layer.moving_variance), strict=True):
        np.testing.assert_array_equal(a, array(b))
    assert layer.skipped_batches == 1
    np.testing.assert_allclose(y[1:], array(layer(clean, training=False))[1:], rtol=1e-4, atol=1e-5)
