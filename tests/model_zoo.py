"""Sick models, each with what is wrong and where, and healthy ones in which nothing is.

`SICK` and `HEALTHY` map a name to a function that makes a `Case`. The models are small and new at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import kerasreg as kr

L = keras.layers
I = keras.initializers  # noqa: E741

SICK: dict[str, Callable[[], Case]] = {}
HEALTHY: dict[str, Callable[[], Case]] = {}
# What is wrong with each sick one, without making it.
FAULTS: dict[str, frozenset[tuple[str, str]]] = {}


@dataclass
class Case:
    """A model, a batch with targets for it, and what a check should find.

    Args:
        model: Built, not compiled.
        x: A batch.
        y: Class labels of the batch.
        findings: The (code, layer) pairs that are wrong with it.
    """

    model: keras.Model
    x: Any
    y: Any
    findings: frozenset[tuple[str, str]] = frozenset()


def rng():
    return np.random.default_rng(0)


def rows(count=64, features=16, classes=3):
    """Rows of white features with labels that depend on them."""
    x = rng().normal(size=(count, features)).astype("float32")
    return x, np.argmax(x[:, :classes], axis=1)


def images(count=32, size=8, channels=3, classes=3):
    """Images of noise, brighter in one channel or another."""
    x = rng().normal(size=(count, size, size, channels)).astype("float32")
    y = rng().integers(0, min(classes, channels), count)
    x[np.arange(count), :, :, y] += 1.0
    return x, y


def tokens(count=32, length=10, vocabulary=40, classes=3):
    """Token ids; the label is the class of the first one."""
    x = rng().integers(0, vocabulary, (count, length))
    return x, x[:, 0] % classes


def mlp(layers, features=16, classes=3):
    return keras.Sequential([keras.Input((features,), name="x"), *layers, L.Dense(classes, name="out")])


def cnn(layers, shape=(8, 8, 3), classes=3):
    pool = L.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input(shape, name="x"), *layers, pool, L.Dense(classes, name="out")])


def hidden(name, initializer="he_normal", units=32, activation="relu", **arguments):
    return L.Dense(units, activation, kernel_initializer=initializer, name=name, **arguments)


def conv(name, initializer="he_normal", filters=8, activation="relu", **arguments):
    arguments = {"padding": "same", **arguments}
    return L.Conv2D(filters, 3, activation=activation, kernel_initializer=initializer, name=name, **arguments)


def sick(code, layer, *more):
    """Enter a function that makes (model, (x, y)) among the sick ones."""

    def enter(make):
        faults = frozenset({(code, layer), *more})

        def case():
            model, (x, y) = make()
            return Case(model, x, y, faults)

        SICK[make.__name__] = case
        FAULTS[make.__name__] = faults
        return case

    return enter


def healthy(make):
    def case():
        model, (x, y) = make()
        return Case(model, x, y)

    HEALTHY[make.__name__] = case
    return case


class Plain(keras.Model):
    """A subclassed stack of layers: no graph."""

    def __init__(self, stack):
        super().__init__()
        self.stack = stack

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


def plain(stack, x):
    model = Plain(stack)
    model(x[:2])
    return model


# Sick


@sick("zero-kernel", "h1")
def zero_hidden_layer():
    return mlp([hidden("h0"), hidden("h1", "zeros"), hidden("h2")]), rows()


@sick("zero-kernel", "c1")
def zero_convolution():
    return cnn([conv("c0"), conv("c1", "zeros"), conv("c2")]), images()


@sick("zero-kernel", "h1")
def zero_layer_without_a_graph():
    x, y = rows()
    return plain([hidden("h0"), hidden("h1", "zeros"), hidden("h2"), L.Dense(3)], x), (x, y)


@sick("zero-kernel", "lstm/lstm_cell")
def zero_input_kernel_of_an_lstm():
    lstm = L.LSTM(8, kernel_initializer="zeros", name="lstm")
    model = keras.Sequential([keras.Input((10,)), L.Embedding(40, 8), lstm, L.Dense(3, name="out")])
    return model, tokens()


@sick("symmetric-units", "h1")
def constant_hidden_layer():
    return mlp([hidden("h0"), hidden("h1", I.Constant(0.05)), hidden("h2")]), rows()


@sick("symmetric-units", "c0")
def constant_convolution():
    return cnn([conv("c0", I.Constant(0.05)), conv("c1")]), images()


@sick("symmetric-units", "h1")
def units_in_four_copies():
    model = mlp([hidden("h0"), hidden("h1"), hidden("h2")])
    kernel = model.get_layer("h1").kernel
    kernel.assign(np.tile(keras.ops.convert_to_numpy(kernel)[:, :8], (1, 4)))
    return model, rows()


@sick("duplicate-kernels", "h2")
def one_seeded_initializer_for_two_layers():
    shared = I.HeNormal(seed=3)
    return mlp([hidden("h0"), hidden("h1", shared), hidden("h2", shared)]), rows()


@sick("duplicate-kernels", "c2")
def one_initializer_instance_for_two_convolutions():
    shared = I.HeUniform()
    return cnn([conv("c0"), conv("c1", shared), conv("c2", shared)]), images()


@sick("vanishing-signal", "h2")
def small_normal_weights():
    return mlp([hidden(f"h{i}", I.RandomNormal(stddev=0.01, seed=i)) for i in range(12)]), rows()


@sick("vanishing-signal", "c1")
def one_tiny_convolution():
    return cnn([conv("c0"), conv("c1", I.RandomNormal(stddev=1e-6)), conv("c2")]), images()


@sick("vanishing-signal", "h5")
def a_deep_sigmoid_net():
    return mlp([hidden(f"h{i}", I.Orthogonal(0.7, seed=i), activation="sigmoid") for i in range(14)]), rows()


@sick("vanishing-signal", "h1")
def a_tiny_layer_without_a_graph():
    x, y = rows()
    stack = [hidden("h0"), hidden("h1", I.RandomNormal(stddev=1e-7)), hidden("h2"), L.Dense(3)]
    return plain(stack, x), (x, y)


@sick("exploding-signal", "h5")
def unit_normal_weights():
    layers = [hidden(f"h{i}", I.RandomNormal(stddev=1.0, seed=i), units=64) for i in range(10)]
    return mlp(layers), rows()


@sick("exploding-signal", "c1")
def one_huge_convolution():
    return cnn([conv("c0"), conv("c1", I.RandomNormal(stddev=1e5)), conv("c2")]), images()


@sick("exploding-signal", "h1")
def one_huge_layer():
    return mlp([hidden("h0"), hidden("h1", I.RandomNormal(stddev=1e4)), hidden("h2")]), rows()


@sick("dead-units", "h1")
def biases_that_silence_a_layer():
    return mlp([hidden("h0"), hidden("h1", bias_initializer=I.Constant(-20.0)), hidden("h2")]), rows()


@sick("dead-units", "relu")
def a_silent_activation_layer():
    middle = [hidden("h1", activation=None, bias_initializer=I.Constant(-20.0)), L.ReLU(name="relu")]
    return mlp([hidden("h0"), *middle, hidden("h2")]), rows()


@sick("dead-units", "c1")
def negative_weights_behind_a_rectifier():
    negative = I.RandomUniform(-0.2, -0.1)
    return cnn([conv("c0"), conv("c1", negative), conv("c2")]), images()


@sick("saturated-units", "h1")
def a_saturated_tanh():
    wide = I.RandomNormal(stddev=3.0)
    return mlp([hidden("h0", activation="tanh"), hidden("h1", wide, activation="tanh")]), rows()


@sick("saturated-units", "h0")
def a_saturated_sigmoid():
    return mlp([hidden("h0", I.RandomNormal(stddev=4.0), activation="sigmoid"), hidden("h1")]), rows()


@sick("saturated-units", "act")
def a_saturated_activation_layer():
    layers = [conv("c0", I.RandomNormal(stddev=3.0), activation=None), L.Activation("tanh", name="act")]
    return cnn([*layers, conv("c1")]), images()


@sick("wrong-fan", "depthwise")
def a_depthwise_convolution_under_he():
    depthwise = L.DepthwiseConv2D(
        3, padding="same", activation="relu", depthwise_initializer="he_normal", name="depthwise"
    )
    return cnn([conv("c0", filters=64), depthwise, conv("c1")]), images()


@sick("wrong-fan", "separable")
def a_separable_convolution_under_he():
    he = {"depthwise_initializer": "he_normal", "pointwise_initializer": "he_normal"}
    separable = L.SeparableConv2D(16, 3, padding="same", activation="relu", name="separable", **he)
    return cnn([conv("c0", filters=32), separable, conv("c1")]), images()


@sick("wrong-fan", "up")
def a_transposed_convolution_under_he():
    up = L.Conv2DTranspose(
        64, 4, strides=2, padding="same", activation="relu", kernel_initializer="he_normal", name="up"
    )
    return cnn([conv("c0", filters=32), up, conv("c1")]), images()


@sick("wrong-fan", "words")
def an_embedding_under_he():
    words = L.Embedding(400, 16, embeddings_initializer="he_normal", name="words")
    layers = [words, L.Flatten(), hidden("h0"), L.Dense(3, name="out")]
    return keras.Sequential([keras.Input((10,)), *layers]), tokens(vocabulary=400)


@sick("unnormalized-input", "x")
def raw_pixels():
    x, y = images()
    return cnn([conv("c0"), conv("c1")]), (np.clip(128 + 60 * x, 0, 255), y)


@sick("unnormalized-input", "x")
def features_in_units_of_their_own():
    x, y = rows()
    x[:, 3] *= 3000.0
    return mlp([hidden("h0"), hidden("h1")]), (0.02 * x, y)


@sick("unnormalized-input", "x")
def features_far_from_zero():
    x, y = rows()
    return mlp([hidden("h0"), hidden("h1")]), (5.0 + 0.1 * x, y)


def normed(dense=True, **statistics):
    norm = L.BatchNormalization(name="norm")
    net = (
        mlp([hidden("h0", activation=None), norm, L.ReLU(), hidden("h1")])
        if dense
        else cnn([conv("c0", activation=None), norm, L.ReLU(), conv("c1")])
    )
    for name, value in statistics.items():
        getattr(norm, name).assign(getattr(norm, name) * 0 + value)
    return net


@sick("batch-norm-drift", "norm")
def a_batch_norm_with_other_means():
    return normed(moving_mean=-6.0, moving_variance=2.0), rows()


@sick("batch-norm-drift", "norm")
def a_batch_norm_with_other_variances():
    return normed(dense=False, moving_variance=60.0, moving_mean=0.01), images()


# Healthy


@healthy
def keras_defaults():
    return mlp([L.Dense(32, "relu"), L.Dense(32, "relu")]), rows()


@healthy
def thirty_calibrated_layers():
    layers = [hidden(f"h{i}", kr.initializers.Calibrated("relu", seed=i), units=64) for i in range(30)]
    return mlp(layers), rows()


@healthy
def self_normalising():
    return mlp([hidden(f"h{i}", "lecun_normal", activation="selu") for i in range(6)]), rows()


@healthy
def logistic_regression():
    return mlp([]), rows()


@healthy
def an_output_that_starts_at_zero():
    net = mlp([hidden("h0"), hidden("h1")])
    net.get_layer("out").kernel.assign(net.get_layer("out").kernel * 0)
    return net, rows()


@healthy
def convolutions_with_batch_norm():
    layers = []
    for i in range(3):
        layers += [conv(f"c{i}", "glorot_uniform", activation=None), L.BatchNormalization(), L.ReLU()]
    return cnn(layers), images()


@healthy
def bytes_behind_a_rescaling():
    x, y = images()
    return cnn([L.Rescaling(1 / 127.5, -1), conv("c0"), L.MaxPooling2D(), conv("c1")]), (
        np.clip(128 + 60 * x, 0, 255).astype("uint8"),
        y,
    )


@healthy
def raw_features_behind_a_normalization():
    x, y = rows()
    x = 100.0 + x * np.logspace(0, 3, 16).astype("float32")
    normalization = kr.layers.Normalization()
    normalization.adapt(x)
    return mlp([normalization, hidden("h0")]), (x, y)


@healthy
def residual_with_a_last_gamma_of_zero():
    x = start = keras.Input((8, 8, 3))
    x = conv("stem")(x)
    for i in range(3):
        y = L.ReLU()(L.BatchNormalization()(conv(f"a{i}", activation=None)(x)))
        y = L.BatchNormalization(gamma_initializer="zeros")(conv(f"b{i}", activation=None)(y))
        x = L.ReLU()(L.Add()([x, y]))
    return keras.Model(start, L.Dense(3)(L.GlobalAveragePooling2D()(x))), images()


@healthy
def residual_branches_that_end_at_zero():
    x = start = keras.Input((16,))
    x = hidden("stem")(x)
    for i in range(3):
        x = x + hidden(f"end{i}", "zeros", activation=None)(hidden(f"first{i}")(x))
    return keras.Model(start, L.Dense(3)(x)), rows()


@healthy
def depthwise_with_batch_norm():
    layers = [conv("c0", filters=16)]
    for _i in range(2):
        layers += [L.DepthwiseConv2D(3, padding="same", use_bias=False), L.BatchNormalization(), L.ReLU(6.0)]
        layers += [L.Conv2D(16, 1, use_bias=False), L.BatchNormalization(), L.ReLU(6.0)]
    return cnn(layers), images()


@healthy
def strided_depthwise_under_he_of_the_fan_out():
    # As the EfficientNets are made.
    he = I.VarianceScaling(2.0, "fan_out", "truncated_normal")
    first = conv("c0", filters=16)
    deep = L.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, depthwise_initializer=he.clone())
    last = conv("c1", he.clone(), strides=2, activation=None)
    return cnn(
        [first, deep, L.BatchNormalization(), L.ReLU(), last, L.BatchNormalization(), L.ReLU()]
    ), images()


@healthy
def squeeze_and_excitation():
    x = start = keras.Input((8, 8, 3))
    x = conv("c0")(x)
    gate = L.Dense(8, "sigmoid")(L.Dense(4, "relu")(L.GlobalAveragePooling2D()(x)))
    x = L.Multiply()([x, L.Reshape((1, 1, 8))(gate)])
    return keras.Model(start, L.Dense(3)(L.GlobalAveragePooling2D()(conv("c1")(x)))), images()


@healthy
def an_hourglass_with_skips():
    x = start = keras.Input((8, 8, 3))
    x = skip = conv("c0")(x)
    x = conv("c1", strides=2)(x)
    x = L.Conv2DTranspose(8, 2, strides=2, activation="relu")(x)
    x = conv("c2")(L.Concatenate()([x, skip]))
    return keras.Model(start, L.Dense(3)(L.GlobalAveragePooling2D()(x))), images()


@healthy
def a_bag_of_words():
    layers = [L.Embedding(40, 16), L.GlobalAveragePooling1D(), hidden("h0"), L.Dense(3)]
    return keras.Sequential([keras.Input((10,)), *layers]), tokens()


@healthy
def an_lstm():
    layers = [L.Embedding(40, 16), L.LSTM(16), L.Dense(3)]
    return keras.Sequential([keras.Input((10,)), *layers]), tokens()


@healthy
def recurrent_both_ways():
    layers = [L.Embedding(40, 8), L.Bidirectional(L.GRU(6, return_sequences=True))]
    layers += [L.TimeDistributed(L.Dense(8, "tanh")), L.GlobalMaxPooling1D(), L.Dense(3)]
    return keras.Sequential([keras.Input((10,)), *layers]), tokens()


@healthy
def a_transformer():
    start = keras.Input((10,))
    x = L.Embedding(40, 16)(start)
    for _ in range(2):
        y = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(2, 8)(y, y)
        y = L.Dense(32, "gelu")(L.LayerNormalization()(x))
        x = x + L.Dense(16)(y)
    return keras.Model(start, L.Dense(3)(L.GlobalAveragePooling1D()(x))), tokens()


@healthy
def a_subclassed_model():
    x, y = images()
    stack = [
        conv("c0"),
        L.BatchNormalization(),
        L.Dropout(0.2),
        conv("c1"),
        L.Flatten(),
        hidden("h"),
        L.Dense(3),
    ]
    return plain(stack, x), (x, y)


@healthy
def two_inputs():
    (a, y), (b, _) = rows(), rows(features=5)
    first, second = keras.Input((16,), name="a"), keras.Input((5,), name="b")
    joined = L.Concatenate()([hidden("ha")(first), hidden("hb", units=8)(second)])
    return keras.Model({"a": first, "b": second}, L.Dense(3)(hidden("h")(joined))), ({"a": a, "b": b}, y)


@healthy
def a_shared_layer():
    start = keras.Input((16,))
    shared = hidden("shared", units=16)
    return keras.Model(start, L.Dense(3)(shared(shared(start)))), rows()


@healthy
def a_frozen_start():
    net = mlp([hidden("h0", I.Constant(0.05)), hidden("h1")])
    net.get_layer("h0").trainable = False
    kernel = net.get_layer("h0").kernel
    kernel.assign(rng().normal(0, 0.3, kernel.shape))
    return net, rows()
