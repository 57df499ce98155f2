"""Sick trainings, each with what goes wrong and where, and healthy ones in which nothing does.

`SICK` and `HEALTHY` map a name to a function that takes the data, images (n, h, w, 1) in [0, 1] with labels,
and makes a `Run`. The models are small and new at every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

import kerasreg as kr

L = keras.layers
I = keras.initializers  # noqa: E741

SICK: dict[str, Callable[..., Run]] = {}
HEALTHY: dict[str, Callable[..., Run]] = {}
CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclass
class Run:
    """A compiled model, what it is trained on, and what is wrong with that.

    Args:
        model: Built and compiled.
        x: Inputs.
        y: Targets.
        code: The finding to make; empty for a healthy one.
        layers: Where: the layers, any of which is the right one.
        validation: Inputs and targets to validate on.
        fit: More arguments of `fit`.
    """

    model: keras.Model
    x: Any
    y: Any
    code: str = ""
    layers: tuple[str, ...] = ()
    validation: Any = None
    fit: dict[str, Any] = field(default_factory=dict)

    def train(self, epochs: int = 3, every: int = 2, batch_size: int = 64, **arguments: Any):
        """`fit` under an `ActivationStats`, which is given back."""
        stats = kr.callbacks.ActivationStats(every=every, gradients=True, **arguments)
        self.model.fit(
            self.x,
            self.y,
            validation_data=self.validation,
            callbacks=[stats],
            **{"epochs": epochs, "batch_size": batch_size, "verbose": 0, **self.fit},
        )
        return stats


def digits(rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as images in [0, 1], shuffled."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[:rows]
    return (data.images[order, ..., None] / 16.0).astype("float32"), data.target[order]


def standard(x: np.ndarray) -> np.ndarray:
    return ((x - x.mean()) / x.std()).astype("float32")


def flat(x: np.ndarray) -> np.ndarray:
    return standard(x).reshape(len(x), -1)


def dense(units: int, activation: str | None = "relu", initializer: Any = "he_normal", **arguments: Any):
    return L.Dense(units, activation, kernel_initializer=initializer, **arguments)


def mlp(x: np.ndarray, layers: list, optimizer: Any, loss: Any = CROSSENTROPY, units: int = 10):
    model = keras.Sequential([keras.Input(x.shape[1:], name="x"), *layers, L.Dense(units, name="out")])
    model.compile(optimizer, loss)
    return model


def sick(make: Callable[..., Run]) -> Callable[..., Run]:
    SICK[make.__name__] = make
    return make


def healthy(make: Callable[..., Run]) -> Callable[..., Run]:
    HEALTHY[make.__name__] = make
    return make


def hidden(count: int = 3, units: int = 64, **arguments: Any) -> list:
    return [dense(units, name=f"h{i}", **arguments) for i in range(count)]


# Sick


@sick
def a_learning_rate_a_hundred_times_too_high(x, y):
    x = flat(x)
    return Run(
        mlp(x, hidden(), keras.optimizers.Adam(0.3)), x, y, "updates-too-large", ("h0", "h1", "h2", "out")
    )


@sick
def a_learning_rate_that_moves_nothing(x, y):
    x = flat(x)
    run = Run(
        mlp(x, hidden(), keras.optimizers.SGD(1e-7)), x, y, "updates-too-small", ("h0", "h1", "h2", "out")
    )
    return run


@sick
def a_learning_rate_that_makes_it_diverge(x, y):
    x = flat(x)
    loss = keras.losses.MeanSquaredError()
    model = mlp(x, hidden(), keras.optimizers.SGD(3.0), loss, units=1)
    return Run(model, x, y.astype("float32"), "non-finite", ("out",))


@sick
def a_stack_of_sigmoids(x, y):
    x = flat(x)
    layers = hidden(10, activation="sigmoid", initializer="glorot_uniform")
    # A share of 1e-4 of the input's variation is left before the eighth.
    return Run(mlp(x, layers, keras.optimizers.SGD(0.05)), x, y, "vanishing-signal", ("h7",))


@sick
def six_sigmoids(x, y):
    x = flat(x)
    layers = hidden(6, activation="sigmoid", initializer="glorot_uniform")
    return Run(mlp(x, layers, keras.optimizers.SGD(0.05)), x, y, "vanishing-gradient", ("h0",))


@sick
def a_batch_norm_that_never_learns(x, y):
    x = flat(x)
    layers = [
        dense(64, None, name="h0"),
        L.BatchNormalization(momentum=1.0, name="norm"),
        L.ReLU(),
        *hidden(1),
    ]
    layers[-1] = dense(64, name="h1")
    x = 3.0 * x + 2.0
    model = mlp(x, layers, keras.optimizers.Adam(3e-3))
    return Run(model, x, y, "batch-norm-drift", ("norm",), validation=(x[:256], y[:256]))


@sick
def a_row_of_nan(x, y):
    x = flat(x)
    x[100, 5] = np.nan
    return Run(
        mlp(x, hidden(), keras.optimizers.Adam(1e-3)), x, y, "non-finite", ("x",), fit={"shuffle": False}
    )


@sick
def targets_with_nan(x, y):
    x, y = flat(x), y.astype("float32")
    y[: len(y) // 2 : 7] = np.nan
    model = mlp(x, hidden(), keras.optimizers.Adam(1e-3), keras.losses.MeanSquaredError(), units=1)
    return Run(model, x, y, "non-finite", ("loss",), fit={"shuffle": False})


class Root(L.Layer):
    """A root of what may be negative."""

    def call(self, x):
        return keras.ops.sqrt(x - 0.5)


@sick
def a_root_of_negative_numbers(x, y):
    x = flat(x)
    layers = [*hidden(2), Root(name="root")]
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-3)), x, y, "non-finite", ("root",))


@sick
def bytes_as_they_are(x, y):
    x = (255.0 * x).reshape(len(x), -1)
    return Run(mlp(x, hidden(), keras.optimizers.SGD(1e-3)), x, y, "unnormalized-input", ("x",))


@sick
def biases_that_silence_most_units(x, y):
    x = flat(x)
    layers = hidden(3)
    layers[1] = dense(64, name="h1", bias_initializer=I.RandomUniform(-40, 1, seed=1))
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-3)), x, y, "dead-units", ("h1",))


@sick
def a_rate_that_kills_rectifiers(x, y):
    x = flat(x)
    model = mlp(x, hidden(), keras.optimizers.SGD(3.0, clipnorm=30.0))
    return Run(model, x, y, "dead-units", ("h0", "h1", "h2"))


@sick
def all_weights_alike(x, y):
    x = flat(x)
    layers = hidden(3, initializer=I.Constant(0.05))
    model = mlp(x, layers, keras.optimizers.Adam(1e-3))
    model.get_layer("out").kernel.assign(keras.ops.full((64, 10), 0.05))
    return Run(model, x, y, "symmetric-units", ("h0",))


@sick
def zeros(x, y):
    x = flat(x)
    layers = hidden(3, initializer="zeros")
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-3)), x, y, "zero-kernel", ("h0",))


@sick
def tanh_at_its_bounds(x, y):
    x = flat(x)
    layers = [dense(64, "tanh", I.RandomNormal(stddev=1.0, seed=i), name=f"h{i}") for i in range(3)]
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-3)), x, y, "saturated-units", ("h0",))


@sick
def regression_on_huge_targets(x, y):
    x = flat(x)
    optimizer, loss = keras.optimizers.Adam(1e-3), keras.losses.MeanSquaredError()
    return Run(
        mlp(x, hidden(), optimizer, loss, units=1),
        x,
        1e5 * y,
        "exploding-gradient",
        ("h0", "h1", "h2", "out"),
    )


# Healthy


@healthy
def relu_with_gradient_descent(x, y):
    x = flat(x)
    return Run(mlp(x, hidden(), keras.optimizers.SGD(0.05)), x, y)


@healthy
def relu_with_momentum(x, y):
    x = flat(x)
    return Run(mlp(x, hidden(2, 128), keras.optimizers.SGD(0.02, momentum=0.9)), x, y)


@healthy
def relu_with_adam(x, y):
    x = flat(x)
    return Run(mlp(x, hidden(3, 32), keras.optimizers.Adam(1e-3)), x, y)


@healthy
def a_fast_adam(x, y):
    x = flat(x)
    return Run(mlp(x, hidden(2, 32, initializer="glorot_uniform"), keras.optimizers.Adam(1e-2)), x, y)


@healthy
def gelu_with_adamw(x, y):
    x = flat(x)
    layers = hidden(3, activation="gelu", initializer="glorot_uniform")
    return Run(mlp(x, layers, keras.optimizers.AdamW(1e-3)), x, y)


@healthy
def tanh(x, y):
    x = flat(x)
    layers = hidden(3, activation="tanh", initializer="glorot_uniform")
    return Run(mlp(x, layers, keras.optimizers.SGD(0.1)), x, y)


@healthy
def one_layer_of_sigmoids(x, y):
    x = flat(x)
    layers = hidden(1, activation="sigmoid", initializer="glorot_uniform")
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-2)), x, y)


@healthy
def selu(x, y):
    x = flat(x)
    layers = hidden(5, activation="selu", initializer="lecun_normal")
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-3)), x, y)


@healthy
def thirty_calibrated_layers(x, y):
    x = flat(x)
    layers = [
        dense(64, name=f"h{i}", initializer=kr.initializers.Calibrated("relu", seed=i)) for i in range(30)
    ]
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-4)), x, y)


@healthy
def logistic_regression(x, y):
    x = flat(x)
    return Run(mlp(x, [], keras.optimizers.SGD(0.1)), x, y)


@healthy
def batch_norm_with_validation(x, y):
    x = flat(x)
    layers = []
    for i in range(3):
        layers += [
            dense(64, None, name=f"h{i}", use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
        ]
    cut = len(x) // 5
    model = mlp(x, layers, keras.optimizers.Adam(1e-3))
    return Run(model, x[cut:], y[cut:], validation=(x[:cut], y[:cut]))


@healthy
def batch_norm_of_the_default_momentum(x, y):
    x = flat(x)
    layers = []
    for i in range(2):
        layers += [dense(64, None, name=f"h{i}"), L.BatchNormalization(), L.Activation("relu")]
    cut = len(x) // 5
    model = mlp(x, layers, keras.optimizers.SGD(0.1, momentum=0.9))
    return Run(model, x[cut:], y[cut:], validation=(x[:cut], y[:cut]))


@healthy
def layer_norm_and_dropout(x, y):
    x = flat(x)
    layers = []
    for i in range(2):
        layers += [dense(96, "silu", name=f"h{i}"), L.LayerNormalization(), L.Dropout(0.3)]
    return Run(mlp(x, layers, keras.optimizers.RMSprop(1e-3)), x, y)


@healthy
def a_cosine_schedule_down_to_zero(x, y):
    x = flat(x)
    steps = 3 * (len(x) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    return Run(mlp(x, hidden(2), keras.optimizers.Adam(rate)), x, y)


def image_model(x, layers, optimizer):
    model = keras.Sequential([keras.Input(x.shape[1:], name="x"), *layers, L.Dense(10, name="out")])
    model.compile(optimizer, CROSSENTROPY)
    return model


def conv(filters: int, activation: str | None = "relu", **arguments: Any):
    arguments = {"kernel_initializer": "he_normal", "padding": "same", **arguments}
    return L.Conv2D(filters, 3, activation=activation, **arguments)


@healthy
def convolutions(x, y):
    x = standard(x)
    layers = [conv(8), L.MaxPooling2D(), conv(16), L.GlobalAveragePooling2D()]
    return Run(image_model(x, layers, keras.optimizers.Adam(3e-3)), x, y)


@healthy
def convolutions_behind_a_rescaling(x, y):
    layers = [L.Rescaling(1 / 127.5, -1.0), conv(8), conv(16, strides=2), L.Flatten(), L.Dense(32, "relu")]
    x = (255.0 * x).astype("float32")
    return Run(image_model(x, layers, keras.optimizers.Adam(1e-3)), x, y)


@healthy
def a_residual_net(x, y):
    x = standard(x)
    h = start = keras.Input(x.shape[1:], name="x")
    h = conv(16)(h)
    for _ in range(2):
        b = L.ReLU()(L.BatchNormalization(momentum=0.9)(conv(16, None)(h)))
        b = L.BatchNormalization(momentum=0.9, gamma_initializer="zeros")(conv(16, None)(b))
        h = L.ReLU()(L.Add()([h, b]))
    model = keras.Model(start, L.Dense(10, name="out")(L.GlobalAveragePooling2D()(h)))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), CROSSENTROPY)
    return Run(model, x, y)


@healthy
def depthwise_and_squeeze(x, y):
    x = standard(x)
    h = start = keras.Input(x.shape[1:], name="x")
    right = kr.initializers.Calibrated("relu", kind="depthwise")
    deep = L.DepthwiseConv2D(3, padding="same", activation="relu", depthwise_initializer=right)
    h = deep(conv(16)(h))
    gate = L.Dense(16, "sigmoid")(L.Dense(8, "relu")(L.GlobalAveragePooling2D()(h)))
    h = L.Multiply()([h, L.Reshape((1, 1, 16))(gate)])
    model = keras.Model(start, L.Dense(10, name="out")(L.GlobalMaxPooling2D()(h)))
    model.compile(keras.optimizers.Adam(3e-3), CROSSENTROPY)
    return Run(model, x, y)


@healthy
def an_lstm_over_the_rows(x, y):
    x = standard(x)[..., 0]
    return Run(image_model(x, [L.LSTM(32)], keras.optimizers.Adam(3e-3)), x, y)


@healthy
def a_gru_both_ways(x, y):
    x = standard(x)[..., 0]
    return Run(image_model(x, [L.Bidirectional(L.GRU(16))], keras.optimizers.Adam(3e-3)), x, y)


def words(x: np.ndarray) -> np.ndarray:
    """Pixels as tokens: which of eight shades each is."""
    return np.minimum(8 * x.reshape(len(x), -1), 7).astype("int32")[:, :64]


@healthy
def a_transformer_over_the_rows(x, y):
    x = standard(x)[..., 0]
    h = start = keras.Input(x.shape[1:], name="x")
    h = L.Dense(32)(h)
    for _ in range(2):
        n = L.LayerNormalization()(h)
        h = h + L.MultiHeadAttention(2, 16)(n, n)
        n = L.Dense(64, "gelu")(L.LayerNormalization()(h))
        h = h + L.Dense(32)(n)
    model = keras.Model(start, L.Dense(10, name="out")(L.GlobalAveragePooling1D()(L.LayerNormalization()(h))))
    model.compile(keras.optimizers.Adam(1e-3), CROSSENTROPY)
    return Run(model, x, y)


@healthy
def embedded_shades(x, y):
    x = words(x)
    layers = [L.Embedding(8, 16), L.Flatten(), dense(64)]
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers, L.Dense(10, name="out")])
    model.compile(keras.optimizers.Adam(1e-3), CROSSENTROPY)
    return Run(model, x, y)


@healthy
def an_autoencoder(x, y):
    x = x.reshape(len(x), -1)
    layers = [*hidden(1, 64), dense(16, name="code"), dense(64, name="back")]
    model = mlp(x, layers, keras.optimizers.Adam(1e-3), keras.losses.MeanSquaredError(), units=x.shape[1])
    return Run(model, x, x)


@healthy
def mixed_precision(x, y):
    x = flat(x)
    layers = hidden(2, dtype="mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3))
    return Run(mlp(x, layers, optimizer), x, y)


@healthy
def a_frozen_start(x, y):
    x = flat(x)
    layers = hidden(3)
    layers[0].trainable = False
    return Run(mlp(x, layers, keras.optimizers.Adam(1e-3)), x, y)


class Stack(keras.Model):
    """A subclassed model: no graph."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = L.Dense(64, name="first"), L.BatchNormalization(momentum=0.9, name="norm")
        self.second, self.out = L.Dense(64, "relu", name="second"), L.Dense(10, name="out")

    def call(self, x, training=None):
        x = keras.ops.relu(self.norm(self.first(x), training=training))
        return self.out(self.second(x))


@healthy
def a_subclassed_model(x, y):
    x = flat(x)
    model = Stack()
    model(x[:2])
    model.compile(keras.optimizers.Adam(1e-3), CROSSENTROPY)
    return Run(model, x, y)
