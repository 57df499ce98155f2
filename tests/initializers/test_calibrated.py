"""Calibrated weights on the kernels that Keras' own layers make, against what the layers do with a signal."""

import math

import keras
import numpy as np
import pytest
from backend_tools import array, pull_back
from scipy import integrate, special, stats

import kerasreg as kr
from kerasreg.initializers.fans import fans
from kerasreg.initializers.gain import gain

SIZE, EDGE = 24, 8


def conv_layers(make_initializer, channels):
    """Keras' layers by name, each with its kind, strides and groups."""
    conv, up = keras.layers.Conv2D, keras.layers.Conv2DTranspose
    depthwise = keras.layers.DepthwiseConv2D
    same = {"padding": "same", "use_bias": False}

    def of(keyword, kind, cls, strides=1, groups=1, **arguments):
        initializer = make_initializer(kind, strides, groups)
        extra = {} if strides == 1 else {"strides": strides}
        extra |= {} if groups == 1 else {"groups": groups}
        return cls(**arguments, **extra, **same, **{keyword: initializer}), kind, strides, groups

    c, kernel, deep = channels, "kernel_initializer", "depthwise_initializer"
    return {
        "conv": of(kernel, "conv", conv, filters=2 * c, kernel_size=3),
        "conv, oblong": of(kernel, "conv", conv, filters=c, kernel_size=(1, 5)),
        "conv, groups": of(kernel, "conv", conv, groups=4, filters=2 * c, kernel_size=3),
        "conv, strides": of(kernel, "conv", conv, strides=2, filters=2 * c, kernel_size=4),
        "depthwise": of(deep, "depthwise", depthwise, kernel_size=3),
        "depthwise, multiplier": of(deep, "depthwise", depthwise, kernel_size=5, depth_multiplier=2),
        "depthwise, strides": of(deep, "depthwise", depthwise, strides=2, kernel_size=4),
        "transpose": of(kernel, "transpose", up, filters=c // 2, kernel_size=3),
        "transpose, strides": of(kernel, "transpose", up, strides=2, filters=c // 2, kernel_size=4),
        "transpose, uneven": of(kernel, "transpose", up, strides=2, filters=c // 2, kernel_size=3),
        "transpose, two strides": of(
            kernel, "transpose", up, strides=(3, 1), filters=c // 2, kernel_size=(6, 2)
        ),
    }


CASES = list(conv_layers(lambda *_: "ones", 8))


def interior(images):
    """Away from the border, where the padding takes part; a whole number of every stride's periods."""
    edge = images.shape[1] * EDGE // SIZE, images.shape[2] * EDGE // SIZE
    return images[:, edge[0] : -edge[0], edge[1] : -edge[1]]


@pytest.mark.parametrize("case", CASES)
def test_the_fans_count_the_products_that_the_layer_sums(case):
    layer, kind, strides, groups = conv_layers(lambda *_: "ones", 8)[case]
    x = np.ones((1, SIZE, SIZE, 8), "float32")
    y = array(layer(x))
    fan_in, fan_out = fans(layer.weights[0].shape, kind, groups, strides)
    # With ones for weights and inputs an output is the number of its products, and so backwards.
    assert interior(y).mean() == pytest.approx(fan_in)
    backwards = pull_back(layer, x, np.ones_like(y))
    assert interior(backwards).mean() == pytest.approx(fan_out)


@pytest.mark.parametrize(
    ("case", "fan"),
    [
        *[(case, "in") for case in CASES],
        *[(case, "out") for case in ("conv, groups", "conv, strides", "depthwise, strides", "transpose")],
    ],
)
def test_white_noise_through_a_convolution_keeps_its_power_times_the_gain(case, fan, rng):
    def initializer(kind, strides, groups):
        return kr.initializers.Calibrated("relu", fan=fan, kind=kind, strides=strides, groups=groups, seed=1)

    layer, *_ = conv_layers(initializer, 32)[case]
    x = rng.normal(size=(8, SIZE, SIZE, 32)).astype("float32")
    y = array(layer(x))
    if fan == "out":
        y = pull_back(layer, x, rng.normal(size=y.shape).astype("float32"))
    # 5 standard deviations of the mean square of so many weights, and of so many inputs.
    tolerance = 5 * math.sqrt(2 / np.prod(layer.weights[0].shape)) + 5 * math.sqrt(2 / interior(y).size)
    assert np.square(interior(y)).mean() == pytest.approx(2.0, rel=tolerance)


@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu"])
def test_what_only_scales_hands_on_the_power_that_it_gets(activation, rng):
    initializer = kr.initializers.Calibrated(activation, seed=2)
    layer = keras.layers.Dense(512, activation, kernel_initializer=initializer)
    x = rng.normal(0.0, 3.0, size=(512, 512)).astype("float32")
    assert np.square(array(layer(x))).mean() == pytest.approx(9.0, rel=0.03)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "gelu", "silu", "elu"])
def test_an_activated_unit_signal_gives_sums_of_unit_variance(activation, rng):
    initializer = kr.initializers.Calibrated(activation, seed=2)
    layer = keras.layers.Dense(512, kernel_initializer=initializer)
    x = keras.activations.get(activation)(rng.normal(size=(512, 512)).astype("float32"))
    assert np.square(array(layer(x))).mean() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu"])
def test_twenty_layers_neither_fade_nor_explode(activation, rng):
    x = rng.normal(size=(64, 256)).astype("float32")
    initializer = kr.initializers.Calibrated(activation)
    for _ in range(20):
        x = keras.layers.Dense(256, activation, kernel_initializer=initializer)(x)
    sums = keras.layers.Dense(256, kernel_initializer=initializer)(x)
    assert 0.3 < np.square(array(sums)).mean() < 3.0


def test_an_embedding_hands_out_rows_of_the_gains_power(rng):
    initializer = kr.initializers.Calibrated("relu", kind="embedding", seed=0)
    layer = keras.layers.Embedding(1000, 64, embeddings_initializer=initializer)
    y = array(layer(rng.integers(0, 1000, (32, 10))))
    assert np.square(y).mean() == pytest.approx(2.0, rel=0.06)
    assert fans((1000, 64), "embedding") == (1.0, 64.0)


@pytest.mark.parametrize(("cell", "gates"), [("SimpleRNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_a_recurrent_kernel_has_the_units_for_fan_whatever_the_gates(cell, gates):
    initializer = kr.initializers.Calibrated(kind="recurrent", seed=0)
    layer = getattr(keras.layers, cell)(128, recurrent_initializer=initializer)
    layer.build((None, 5, 3))
    kernel = array(layer.cell.recurrent_kernel)
    assert kernel.shape == (128, 128 * gates)
    assert kernel.var() * 128 == pytest.approx(1.0, rel=0.06)
    assert fans(kernel.shape, "recurrent") == (128.0, 128.0)


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize("fan", ["in", "out", "average"])
def test_the_variance_is_the_gain_squared_over_the_fan(distribution, fan):
    initializer = kr.initializers.Calibrated("relu", fan=fan, distribution=distribution, seed=0)
    layer = keras.layers.Dense(1000, kernel_initializer=initializer)
    layer.build((None, 400))
    kernel = array(layer.kernel)
    n = {"in": 400, "out": 1000, "average": 700}[fan]
    assert initializer.variance((400, 1000)) == pytest.approx(2.0 / n)
    assert kernel.var() * n == pytest.approx(2.0, rel=0.015)
    assert abs(kernel.mean()) < 5 * math.sqrt(2.0 / n / kernel.size)


@pytest.mark.parametrize(
    ("distribution", "bound", "shape"),
    [
        ("uniform", math.sqrt(3.0), stats.uniform(-math.sqrt(3.0), 2 * math.sqrt(3.0))),
        ("truncated_normal", 2.0 / stats.truncnorm(-2, 2).std(), None),
        ("normal", math.inf, stats.norm()),
    ],
)
def test_each_distribution_has_its_own_shape(distribution, bound, shape):
    initializer = kr.initializers.Calibrated(distribution=distribution, seed=0)
    z = array(initializer((100, 1000))).ravel() * 10.0
    if shape is None:
        cut = stats.truncnorm(-2, 2)
        z, shape = z * cut.std(), cut
        assert np.abs(z).max() <= 2.0 + 1e-5
    else:
        assert np.abs(z).max() <= bound * (1 + 1e-6)
    # The widest gap between the two distribution functions, far above chance at 100,000 draws.
    assert stats.kstest(z, shape.cdf).statistic < 0.008


def numpy_gelu(z):
    return z * stats.norm.cdf(z)


CLOSED = {
    "linear": 1.0,
    "relu": math.sqrt(2.0),
    "leaky_relu": math.sqrt(2.0 / (1.0 + 0.2**2)),
    "exponential": math.exp(-1.0),
}
INTEGRANDS = {
    "tanh": np.tanh,
    "gelu": numpy_gelu,
    "silu": lambda z: z * special.expit(z),
    "sigmoid": special.expit,
    "softplus": lambda z: np.logaddexp(0.0, z),
    "softsign": lambda z: z / (1.0 + abs(z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
    "relu6": lambda z: np.clip(z, 0.0, 6.0),
    "hard_sigmoid": lambda z: np.clip(z / 6.0 + 0.5, 0.0, 1.0),
    "hard_shrink": lambda z: z if abs(z) > 0.5 else 0.0,
}


@pytest.mark.parametrize("name", CLOSED)
def test_the_gain_is_the_closed_form(name):
    assert gain(name) == pytest.approx(CLOSED[name], rel=1e-6)


@pytest.mark.parametrize("name", INTEGRANDS)
def test_the_gain_is_what_scipy_integrates(name):
    def density(z):
        return INTEGRANDS[name](z) ** 2 * math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)

    moment, _ = integrate.quad(density, -12.0, 12.0, points=[-3.0, -0.5, 0.0, 0.5, 3.0, 6.0], limit=200)
    assert gain(name) == pytest.approx(moment**-0.5, rel=1e-5)


def test_selu_needs_no_gain():
    assert gain("selu") == pytest.approx(1.0, abs=1e-6)


def test_a_callable_has_a_gain_too():
    assert gain(lambda z: 3.0 * z) == pytest.approx(1.0 / 3.0, rel=1e-6)
    assert gain(keras.activations.relu) == gain("relu")
    assert gain(keras.layers.LeakyReLU(negative_slope=0.5)) == pytest.approx(math.sqrt(2.0 / 1.25), rel=1e-6)


@pytest.mark.parametrize(
    "activation",
    ["softmax", "log_softmax", "glu", "threshold", lambda z: keras.ops.cumsum(z), lambda z: 0.0 * z],
)
def test_what_is_not_elementwise_or_always_zero_is_refused(activation):
    with pytest.raises(ValueError, match="`activation` of Calibrated"):
        kr.initializers.Calibrated(activation)


@keras.saving.register_keras_serializable("test_calibrated")
def doubled(z):
    return 2.0 * z


@pytest.mark.parametrize("activation", [doubled, keras.layers.LeakyReLU(negative_slope=0.5)])
def test_a_callable_activation_survives_its_config(activation):
    initializer = kr.initializers.Calibrated(activation)
    again = kr.initializers.Calibrated.from_config(initializer.get_config())
    assert again.gain == initializer.gain
    assert again.gain != 1.0


def kernels(initializer, count=2):
    layers = [keras.layers.Dense(8, kernel_initializer=initializer) for _ in range(count)]
    for layer in layers:
        layer.build((None, 8))
    return [array(layer.kernel) for layer in layers]


def test_a_seed_gives_the_same_kernel_and_none_another_one_for_each_layer():
    first, second = kernels(kr.initializers.Calibrated(seed=4))
    np.testing.assert_array_equal(first, second)
    assert (kernels(kr.initializers.Calibrated(seed=5), 1)[0] != first).any()
    first, second = kernels(kr.initializers.Calibrated())
    assert (first != second).all()


def test_keras_random_seed_repeats_what_no_seed_draws():
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(11)
        drawn.append(kernels(kr.initializers.Calibrated()))
    np.testing.assert_array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize(("kind", "shape"), [("dense", (4,)), ("conv", (3, 4)), ("transpose", (4, 4))])
def test_a_kernel_of_too_low_a_rank_is_refused(kind, shape):
    with pytest.raises(ValueError, match=rf"`shape` of Calibrated.*{kind}.*got shape \({shape[0]},"):
        kr.initializers.Calibrated(kind=kind)(shape)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_kernel_has_the_type_asked_for(dtype):
    kernel = kr.initializers.Calibrated(seed=0)((64, 64), dtype=dtype)
    assert keras.backend.standardize_dtype(kernel.dtype) == dtype
    assert array(keras.ops.cast(kernel, "float32")).var() * 64 == pytest.approx(1.0, rel=0.1)
