"""Small models of every structure that a calibration has to reach into."""

import keras
import numpy as np

L = keras.layers


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def mlp():
    layers = [L.Dense(24, "tanh", name=f"h{i}") for i in range(8)]
    return keras.Sequential([keras.Input((16,)), *layers, L.Dense(3, "softmax", name="out")])


def cnn():
    layers = [
        L.Conv2D(8, 3, padding="same", activation="relu"),
        L.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
        L.Conv2D(8, 3, groups=4, use_bias=False),
        L.LeakyReLU(),
        L.SeparableConv2D(12, 3, activation="relu"),
        L.Conv2DTranspose(6, 4, strides=2, activation="gelu"),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    ]
    return keras.Sequential([keras.Input((12, 12, 3)), *layers])


def sequence_cnn():
    layers = [
        L.Embedding(50, 8),
        L.Conv1D(8, 3, padding="causal", activation="relu"),
        L.SeparableConv1D(8, 3, padding="same", strides=2),
        L.DepthwiseConv1D(3),
        L.Conv1DTranspose(4, 3),
        L.EinsumDense("abc,cd->abd", (None, 5), activation="relu"),
    ]
    return keras.Sequential([keras.Input((12,), dtype="int32"), *layers])


def resnet(blocks=4):
    x = start = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 3, padding="same", name="stem")(x)
    for i in range(blocks):
        y = L.BatchNormalization()(x)
        y = L.Conv2D(8, 3, padding="same", activation="relu", name=f"first{i}")(y)
        y = L.Dropout(0.5)(L.Conv2D(8, 3, padding="same", name=f"end{i}")(y))
        x = L.Add()([x, y]) if i % 2 else x + y
    return keras.Model(start, L.Dense(4, name="head")(L.GlobalAveragePooling2D()(x)))


class Block(L.Layer):
    """A pre-norm transformer block."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norms = [L.LayerNormalization(), L.LayerNormalization()]
        self.attention = L.MultiHeadAttention(2, 4, dropout=0.1)
        self.up, self.down = L.Dense(16, "gelu", name="up"), L.Dense(8, name="down")

    def build(self, shape):
        for norm in self.norms:
            norm.build(shape)
        self.attention.build(shape, shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 16))
        super().build(shape)

    def call(self, x):
        y = self.norms[0](x)
        x = x + self.attention(y, y)
        return x + self.down(self.up(self.norms[1](x)))


class Transformer(keras.Model):
    """Subclassed: no graph."""

    def __init__(self, depth=2):
        super().__init__()
        self.embedding = L.Embedding(30, 8)
        self.blocks = [Block(name=f"block{i}") for i in range(depth)]
        self.head = L.Dense(5, name="head")

    def call(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def transformer():
    model = Transformer()
    model(np.zeros((2, 6), "int32"))
    return model


def recurrent():
    layers = [
        L.Bidirectional(L.LSTM(6, return_sequences=True)),
        L.TimeDistributed(L.Dense(5, "relu", name="each")),
        L.GRU(4, return_sequences=True),
        L.SimpleRNN(3, name="simple"),
        L.Dense(2, name="out"),
    ]
    return keras.Sequential([keras.Input((7, 4)), *layers])


def nested():
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6, "relu", name="in1"), L.Dense(6, name="in2")])
    start = keras.Input((6,))
    return keras.Model(start, L.Dense(2, name="out")(inner(L.Dense(6, "relu", name="first")(start))))


# Each with a batch for it.
SHAPES = {
    "mlp": (mlp, lambda: inputs(64, 16)),
    "cnn": (cnn, lambda: inputs(8, 12, 12, 3)),
    "sequence_cnn": (sequence_cnn, lambda: np.random.default_rng(0).integers(0, 50, (16, 12))),
    "resnet": (resnet, lambda: inputs(8, 8, 8, 3)),
    "transformer": (transformer, lambda: np.random.default_rng(0).integers(0, 30, (8, 6))),
    "recurrent": (recurrent, lambda: inputs(16, 7, 4)),
    "nested": (nested, lambda: inputs(32, 6)),
}
