"""Small models of every way to build one, each with data to train on."""

import keras
import numpy as np

import kerasreg as kr

L = keras.layers


class Subclassed(keras.Model):
    """Layers as attributes, one of them called three times, one a nested model."""

    def __init__(self):
        super().__init__()
        self.entry = L.Dense(8, "relu", name="entry")
        self.shared = L.Dense(8, "tanh", name="shared")
        self.inner = keras.Sequential([L.Dense(6, name="first"), L.Dropout(0.2, name="noise")], name="inner")
        self.out = L.Dense(3, name="out")

    def call(self, x, training=None):
        x = self.entry(x)
        x = self.shared(x) + self.shared(self.shared(x))
        return self.out(self.inner(x, training=training))


class OwnStep(keras.Sequential):
    """A model that brings its own training step, on either backend."""

    steps_traced = 0

    def train_step(self, *args):
        OwnStep.steps_traced += 1
        return super().train_step(*args)


def convolutional():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            L.Conv2D(4, 3, activation="relu", name="conv"),
            kr.layers.BatchNormalization(update_rate=0.1, name="norm"),
            kr.layers.Dropout(0.3, name="drop"),
            L.Flatten(name="flat"),
            L.Dense(3, name="dense"),
        ]
    )


def functional():
    x = keras.Input((5,))
    h = L.Dense(8, "relu", name="a")(x)
    h = L.Add(name="sum")([h, L.Dense(8, name="b")(h)])
    return keras.Model(x, L.Dense(3, name="c")(h))


def own_step():
    return OwnStep([keras.Input((5,)), L.Dense(8, "relu", name="a"), L.Dense(3, name="c")])


def recurrent():
    return keras.Sequential(
        [
            keras.Input((6, 4)),
            L.LSTM(5, return_sequences=True, name="lstm"),
            L.GRU(4, name="gru"),
            L.Dense(3, name="c"),
        ]
    )


# Each with the shape of one input and the rows that one observed step has to give.
KINDS = {
    "convolutional": (convolutional, (8, 8, 2), ["conv", "norm", "drop", "flat", "dense"]),
    "functional": (functional, (5,), ["a", "b", "sum", "c"]),
    "subclassed": (
        Subclassed,
        (5,),
        ["entry", "shared", "shared:2", "shared:3", "inner/first", "inner/noise", "out"],
    ),
    "own_step": (own_step, (5,), ["a", "c"]),
    "recurrent": (recurrent, (6, 4), ["lstm", "gru", "c"]),
}


def make(kind, **compile_arguments):
    """A compiled model with the same weights at every call, and its data: three batches of 8.

    The functional one gets a ragged fourth batch, which is a second compilation.
    """
    keras.utils.set_random_seed(1)
    build, shape, _ = KINDS[kind]
    model = build()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compile_arguments)
    rng = np.random.default_rng(0)
    rows = 26 if kind == "functional" else 24
    return model, rng.normal(size=(rows, *shape)).astype("float32"), rng.integers(0, 3, rows)


def arrays(model):
    """The values of all variables, the optimizer's and the seeds' too."""
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(v)) for v in variables]
