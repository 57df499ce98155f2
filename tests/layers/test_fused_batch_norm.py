"""The fused kernel: used where it is right, and the same numbers as without it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backend_tools import array

import kerasreg as kr
from kerasreg.layers import closed_form_batch_norm, fused_batch_norm

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
# torch.compile brings warnings of torch's own with it, and there is no XLA.
ON_TORCH = keras.backend.backend() == "torch"


@pytest.fixture
def used(monkeypatch):
    """The kernels, as they are used."""
    names = []

    def spy(module, name, noted_as):
        original = getattr(module, name)

        def noted(*args):
            names.append(noted_as)
            return original(*args)

        monkeypatch.setattr(module, name, noted)

    spy(fused_batch_norm, "normalize_with_batch", "fused")
    spy(fused_batch_norm, "normalize_with", "fused inference")
    # The fused kernel holds the other one in reserve, by a name of its own.
    spy(closed_form_batch_norm, "normalize_with_batch", "closed form")
    return names


def fitted(x, jit_compile=False, run_eagerly=False, **arguments):
    """The layer after one training step on x, by Keras' own trainer."""
    layer = kr.layers.BatchNormalization(update_rate=0.5, **arguments)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(
        keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile and not ON_TORCH, run_eagerly=run_eagerly
    )
    model.fit(x, np.sin(x), batch_size=len(x), verbose=0)
    return model


CASES = {
    "graph": ({}, (4, 5, 6, 3), "fused"),
    "eager": ({"run_eagerly": True}, (4, 5, 6, 3), "closed form"),
    "XLA": ({"jit_compile": True}, (4, 5, 6, 3), "closed form"),
    "float64": ({"dtype": "float64"}, (4, 5, 6, 3), "closed form"),
    "rank 2": ({}, (4, 3), "closed form"),
    "rank 3": ({}, (4, 5, 3), "closed form"),
    "features first": ({"axis": 1}, (4, 3, 5, 6), None),
    "ghosts": ({"virtual_batch_size": 2}, (4, 5, 6, 3), None),
    "moving": ({"normalize_with": "moving"}, (4, 5, 6, 3), None),
    "one replica": ({"synchronized": True}, (4, 5, 6, 3), "fused"),
}


@pytest.mark.parametrize(("arguments", "shape", "kernel"), CASES.values(), ids=CASES)
def test_each_kernel_is_used_where_it_is_right(arguments, shape, kernel, used, rng):
    if arguments.get("dtype") == "float64" and not ON_TENSORFLOW:
        arguments = {}  # JAX has float64 only on request
    fitted(rng.normal(size=shape).astype("float32"), **arguments)
    assert (used[0] if used else None) == (kernel if ON_TENSORFLOW else None)
    assert ("fused" in used) == (kernel == "fused" and ON_TENSORFLOW)


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


def gradients(normalize, x, dy, gamma, beta, moving=(0.0, 1.0)):
    """y and its gradients, in a graph."""
    c = x.shape[-1]
    moving = [tf.fill([c], value) for value in moving]

    @tf.function
    def both(x, dy, gamma, beta):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            y, found = normalize(x, gamma, beta, *moving, 1e-3)
        return y, *tape.gradient(y, (x, gamma, beta), output_gradients=dy), found.mean, found.variance

    return [np.asarray(v, "float64") for v in both(x, dy, gamma, beta)]


def oracle(x, dy, gamma, beta, epsilon=1e-3):
    """The same in NumPy's float64."""
    x, dy, gamma, beta = (np.asarray(v, "float64") for v in (x, dy, gamma, beta))
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    root = 1 / np.sqrt(variance + epsilon)
    normal = (x - mean) * root
    dx = gamma * root * (dy - dy.mean(axes) - normal * (dy * normal).mean(axes))
    return normal * gamma + beta, dx, (dy * normal).sum(axes), dy.sum(axes), mean, variance


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow's kernels")
@pytest.mark.parametrize("kernel", [fused_batch_norm, closed_form_batch_norm], ids=["fused", "closed form"])
@pytest.mark.parametrize("mean", [0.0, 1e3], ids=["near", "far"])
@pytest.mark.parametrize("moving", [(0.0, 1.0), (1e3, 4.0), (-1e6, 1.0)], ids=["new", "known", "astray"])
def test_result_gradients_and_moments_are_the_formulas(kernel, mean, moving, rng):
    shape = (8, 16, 16, 3)
    x = tf.constant(rng.normal(mean, 2.0, shape), "float32")
    dy, gamma, beta = (tf.constant(rng.normal(size=s), "float32") for s in (shape, (3,), (3,)))
    found = gradients(kernel.normalize_with_batch, x, dy, gamma, beta, moving)
    for name, got, wanted in zip(
        ("y", "dx", "dgamma", "dbeta", "mean", "variance"), found, oracle(x, dy, gamma, beta), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max(), err_msg=name)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow's kernels")
@pytest.mark.parametrize("kernel", [fused_batch_norm, closed_form_batch_norm], ids=["fused", "closed form"])
def test_second_derivatives_are_those_of_plain_operations(kernel, rng):
    x = tf.constant(rng.normal(size=(4, 3, 3, 2)), "float32")
    gamma, beta, zeros, ones = tf.constant([1.5, 0.5]), tf.zeros(2), tf.zeros(2), tf.ones(2)

    def plain(x, gamma, beta, *_):
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3), None

    @tf.function
    def penalty(normalize, x):
        with tf.GradientTape() as outer:
            outer.watch((x, gamma))
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(normalize(x, gamma, beta, zeros, ones, 1e-3)[0] ** 3)
            slope = tf.reduce_sum(tf.square(inner.gradient(loss, x)))
        return outer.gradient(slope, (x, gamma))

    for got, wanted in zip(penalty(kernel.normalize_with_batch, x), penalty(plain, x), strict=True):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow's kernel")
def test_the_kernel_is_believed_only_near_zero(monkeypatch, rng):
    ran = []
    original = closed_form_batch_norm.normalize_with_batch

    def noted(*args):
        tf.py_function(lambda: ran.append(1), [], [])
        return original(*args)

    monkeypatch.setattr(closed_form_batch_norm, "normalize_with_batch", noted)
    gamma = beta = tf.ones(3)

    @tf.function
    def normalize(x, mean):
        return fused_batch_norm.normalize_with_batch(x, gamma, beta, mean, gamma, 1e-3)[0]

    near = tf.constant(rng.normal(size=(4, 8, 8, 3)), "float32")
    normalize(near, tf.zeros(3))
    normalize(near + 1e4, tf.fill([3], 1e4))
    assert ran == []
    normalize(near + 1e4, tf.zeros(3))
    assert len(ran) == 1
