"""ConcreteDropout: the relaxed mask, the divergence from the prior, and the rate that follows from both."""

import keras
import numpy as np
import pytest
from backend_tools import array
from scipy import optimize, special

import kerasreg as kr
from kerasreg.layers.concrete_dropout import bernoulli_entropy, concrete_keep

L = keras.layers


def concrete(layer=None, **arguments):
    layer = layer or L.DepthwiseConv2D(1, depthwise_initializer="ones", use_bias=False)
    return kr.layers.ConcreteDropout(layer, **{"num_examples": 100, **arguments})


def keep_of(p, u, temperature):
    """The relaxed mask, as the paper writes it for what is dropped."""
    drop = special.expit((np.log(p) - np.log(1 - p) + np.log(u) - np.log(1 - u)) / temperature)
    return 1 - drop


def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("temperature", [0.1, 2 / 3])
def test_the_mask_is_the_papers(p, temperature):
    u = np.linspace(0.001, 0.999, 999).astype("float32")
    keep = array(
        concrete_keep(keras.ops.convert_to_tensor(special.logit(p).astype("float32")), u, temperature)
    )
    np.testing.assert_allclose(keep, keep_of(p, u.astype("float64"), temperature), rtol=1e-3, atol=1e-5)
    # On the side of 0 with probability p, at any temperature.
    assert (keep < 0.5).mean() == pytest.approx(p, abs=2e-3)
    assert np.isfinite(array(concrete_keep(0.0, np.array([0.0, 1.0], "float32"), temperature))).all()


def test_the_entropy_is_that_of_a_bernoulli_variable_also_at_the_ends():
    p = np.array([1e-6, 0.1, 0.5, 0.999])
    np.testing.assert_allclose(
        array(bernoulli_entropy(special.logit(p).astype("float32"))), entropy(p), rtol=1e-3
    )
    np.testing.assert_allclose(array(bernoulli_entropy(np.array([-200.0, 200.0], "float32"))), 0.0)


@pytest.mark.parametrize(
    ("wrapped", "shape", "features"),
    [
        (L.Dense(3), (7,), 7),
        (L.Conv1D(4, 3), (6, 5), 5),
        (L.Conv2D(4, 3), (6, 6, 3), 3),
        (L.Conv2DTranspose(4, 3), (6, 6, 2), 2),
    ],
)
def test_the_penalty_is_the_divergence_from_the_prior(wrapped, shape, features):
    layer = concrete(wrapped, num_examples=20, length_scale=0.5, loss_scale=3.0, initial_rate=0.3)
    inputs = keras.Input(shape)
    layer(inputs)
    layer(inputs)
    squares = (array(wrapped.kernel).astype("float64") ** 2).sum()
    expected = 3.0 / 20 * (0.5**2 * squares / (2 * 0.7) - features * entropy(0.3))
    # Once, however often it was called.
    assert len(layer.losses) == 1
    np.testing.assert_allclose(array(layer.losses[0]), expected, rtol=1e-5)


def test_whole_feature_maps_are_dropped_in_each_row_on_its_own(rng):
    x = rng.uniform(1.0, 2.0, (300, 3, 4, 20)).astype("float32")
    factor = array(concrete(initial_rate=0.3, temperature=0.01, seed=1, mc=True)(x)) / x
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1, :1], factor.shape), rtol=1e-5, atol=1e-6)
    maps = factor[:, 0, 0]
    dropped = maps < 0.5 / 0.7
    assert abs(dropped.mean() - 0.3) < 5 * np.sqrt(0.21 / maps.size)
    # At this temperature nearly all are 0 or 1 / (1 - p).
    assert np.mean((maps < 1e-3) | (np.abs(maps - 1 / 0.7) < 1e-3)) > 0.9
    assert abs(maps.mean() - 1.0) < 0.05


@pytest.mark.parametrize(("shape", "wanted"), [((5, 6), (5, 6)), ((5, 7, 6), (5, 1, 6))])
def test_a_dense_layer_loses_features_for_all_steps(shape, wanted):
    layer = concrete(L.Dense(2))
    layer.build(shape)
    asked = []
    layer.noisy(keras.ops.ones(shape), lambda size: asked.append(size) or keras.ops.full(size, 0.5))
    assert asked == [wanted]


def test_channels_that_come_first_are_found():
    layer = concrete(L.Conv2D(2, 1, data_format="channels_first"))
    layer.build((5, 6, 3, 4))

    class Asked(Exception):
        pass

    def ask(shape):
        raise Asked(shape)

    with pytest.raises(Asked) as caught:
        layer.noisy(keras.ops.ones((5, 6, 3, 4)), ask)
    assert caught.value.args == ((5, 6, 1, 1),)
    assert array(layer.penalty(0.0)) < 0 < array(layer.layer.kernel).size


def expected_optimum(weight, penalty_scale, length_scale, temperature):
    """Rate and weight that minimise the expected loss of a linear model, for each feature of variance 1."""
    u = (np.arange(20_000) + 0.5) / 20_000

    def objective(point):
        p, w = special.expit(point[0]), point[1]
        keep = keep_of(p, u, temperature) / (1 - p)
        error = (weight - w * keep.mean()) ** 2 + w**2 * keep.var()
        return error + penalty_scale * (length_scale**2 * w**2 / (2 * (1 - p)) - entropy(p))

    best = optimize.minimize(
        objective, [-1.0, weight], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9}
    )
    return special.expit(best.x[0]), best.x[1]


@pytest.mark.parametrize(("num_examples", "about"), [(60, 0.34), (150, 0.12)])
def test_the_rate_that_the_theory_tells_is_learned(num_examples, about, rng):
    # y = x w without noise, features of +-1: the expected loss is known, and the rate of its minimum.
    features, length_scale, temperature, loss_scale = 10, 1.0, 0.1, 60.0
    p, w = expected_optimum(1.0, loss_scale / num_examples, length_scale, temperature)
    assert p == pytest.approx(about, abs=0.02)
    x = rng.choice([-1.0, 1.0], (4000, features)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    layer = concrete(
        L.Dense(1, use_bias=False, kernel_initializer="ones"),
        num_examples=num_examples,
        length_scale=length_scale,
        loss_scale=loss_scale,
        temperature=temperature,
        initial_rate=0.2,
        seed=0,
    )
    model = keras.Sequential([keras.Input((features,)), layer])
    model.compile(keras.optimizers.Adam(0.03), "mse")
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(array(layer.rate)))
    )
    model.fit(x, y, batch_size=1000, epochs=60, verbose=0, callbacks=[note])
    assert np.mean(rates[-20:]) == pytest.approx(p, abs=0.02)
    assert array(layer.layer.kernel).mean() == pytest.approx(w, abs=0.03)


def test_inference_is_the_wrapped_layer_alone(rng):
    x = rng.normal(size=(6, 5)).astype("float32")
    dense = L.Dense(3)
    layer = concrete(dense, initial_rate=0.5)
    np.testing.assert_array_equal(array(layer(x)), array(dense(x)))
    assert np.abs(array(layer(x, training=True)) - array(dense(x))).max() > 0.1


def test_the_learned_rate_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((5,)), concrete(L.Dense(3), initial_rate=0.2)])
    assert float(array(model.layers[0].rate)) == pytest.approx(0.2)
    model.layers[0].rate_logit.assign(special.logit(0.35))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert float(array(loaded.rate)) == pytest.approx(0.35)
    assert loaded.initial_rate == 0.2


def test_half_precision_keeps_the_rate_in_single():
    layer = concrete(L.Dense(3, dtype="mixed_float16"), dtype="mixed_float16", mc=True)
    y = layer(np.ones((4, 5), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert keras.backend.standardize_dtype(layer.rate_logit.dtype) == "float32"
    assert keras.backend.standardize_dtype(layer.losses[0].dtype) == "float32"


@pytest.mark.parametrize(
    "wrapped", [L.SeparableConv2D(3, 2), L.BatchNormalization(), L.LSTM(3), L.EinsumDense("ab,bc->ac", 3)]
)
def test_a_layer_without_one_kernel_of_input_features_is_refused(wrapped):
    with pytest.raises(ValueError, match="`layer` of ConcreteDropout must be a Dense or convolution layer"):
        concrete(wrapped)
