"""Trains on one and on two logical processors, in a process of its own, and prints what came of it."""

import json

import device_nets as nets
import keras
import numpy as np
import tensorflow as tf

import kerasreg as kr

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
TWO = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
ONE = tf.distribute.get_strategy()


def on(strategy, build):
    with strategy.scope():
        return build()


def of_every_layer():
    """The weights before and after a training."""
    x, y = nets.data()
    model = on(TWO, nets.every_layer)
    before = nets.weights(model)
    losses = model.fit(x, y, batch_size=nets.BATCH, verbose=0).history["loss"]
    return {
        "layers": nets.kinds(model),
        "trainable": [weight.path for weight in model.trainable_weights],
        "before": before,
        "after": nets.weights(model),
        "losses": losses,
    }


def uneven():
    """A last batch of one row for one replica and none for the other, with callbacks and without."""
    x, y = (array[:13] for array in nets.data())
    targets = np.eye(3, dtype="float32")[y]

    def build():
        keras.utils.set_random_seed(0)
        layers = [nets.L.Flatten(), nets.L.Dense(4, "relu", name="a"), kr.layers.BatchNormalization(name="b")]
        model = keras.Sequential([keras.Input((6, 6, 2)), *layers, nets.L.Dense(3, name="c")])
        model.compile(nets.optimizer(), "mse", jit_compile=False)
        return model

    watched, bare = on(TWO, build), on(TWO, build)
    found = nets.trained(watched, x, targets, batch_size=6, stop_on=None)
    bare.fit(x, targets, batch_size=6, epochs=nets.EPOCHS, shuffle=False, verbose=0)
    return {**found, "bare": nets.weights(bare)}


def main():
    x, y = nets.data()
    found = {
        "one": nets.trained(on(ONE, nets.steady), x, y),
        "two": nets.trained(on(TWO, nets.steady), x, y),
        "every_layer": of_every_layer(),
        "uneven": uneven(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
