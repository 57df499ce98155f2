"""Layers' paths: unique, nested, the same however the model was built."""

import keras

from kerasreg._core.paths import layer_paths


def test_a_nested_and_shared_layer_has_one_path():
    shared = keras.layers.Dense(3, name="shared")
    block = keras.Sequential([shared, keras.layers.ReLU(name="relu")], name="block")
    x = keras.Input((3,), name="x")
    model = keras.Model(x, shared(block(x)))
    paths = layer_paths(model)
    assert paths[shared] == "block/shared"
    assert list(paths.values()).count("block/shared") == 1
    assert "shared" not in paths.values()


def test_layers_without_weights_have_paths_too():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5, name="drop")])
    assert "drop" in layer_paths(model).values()


def test_two_layers_of_one_name_are_told_apart():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = keras.layers.Dense(2, name="same"), keras.layers.Dense(2, name="same")

    model = Twins()
    assert [layer_paths(model)[layer] for layer in (model.a, model.b)] == ["same", "same#2"]
