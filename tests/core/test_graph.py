"""Models built anew: what is replaced, what is left out, and that the rest is what it was."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg._core.graph import REMOVED, Replacement, graph_calls, is_graph, rebuilt, subgraphs

L = keras.layers


def nothing(layer):
    return None


def stateful():
    """State of every kind: weights, a seed, a vocabulary, moments that a layer works out from its weights."""
    words = keras.Input((2,), dtype="string", name="words")
    numbers = keras.Input((3,), name="numbers")
    lookup = L.StringLookup(name="lookup")
    lookup.adapt(["a", "b", "b"])
    scaled = L.Normalization(name="scaled")
    scaled.adapt(np.array([[1.0, 2.0, 3.0], [3.0, 6.0, 3.5]]))
    ours = kr.layers.Normalization(name="ours")
    ours.adapt(np.array([[1.0, 2.0, 3.0], [3.0, 6.0, 3.5]]))
    embedded = L.Embedding(4, 2)(lookup(words))
    h = keras.ops.concatenate([scaled(numbers), ours(numbers) * 2.0, embedded[:, 0]], axis=-1)
    inner = keras.Sequential([L.Dense(3), kr.layers.Dropout(0.5, seed=3, mc=True)], name="inner")
    return keras.Model({"words": words, "numbers": numbers}, inner(h), name="whole")


def small():
    x = keras.Input((3,), name="x")
    h = L.Dense(4, "relu", name="first")(x)
    return keras.Model(x, L.Add(name="add")([L.Dense(4, name="second")(h), keras.ops.multiply(h, 2.0)]))


def test_a_copy_has_the_state_of_its_original():
    if keras.backend.backend() == "jax":
        pytest.skip("strings in a model are TensorFlow's")
    model = stateful()
    words, numbers = [["a", "c"], ["b", "a"]], np.array([[1.0] * 3, [2.0] * 3], "float32")
    x = {"words": keras.ops.convert_to_tensor(words), "numbers": keras.ops.convert_to_tensor(numbers)}
    model(x)
    copy = rebuilt("test", model, nothing)
    assert (copy.name, set(copy.input)) == ("whole", {"words", "numbers"})
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    # The next noise of the two is the same, for so is the seed's state.
    np.testing.assert_array_equal(array(copy(x)), array(model(x)))
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}


def test_a_layer_is_replaced_removed_or_copied(rng):
    model, x = small(), rng.normal(size=(5, 3)).astype("float32")
    wide = L.Dense(4, name="second", use_bias=False)

    def replace(layer):
        return Replacement(wide, [np.eye(4)]) if layer.name == "second" else None

    new = rebuilt("test", model, replace)
    hidden = np.maximum(x @ model.get_layer("first").get_weights()[0], 0.0)
    np.testing.assert_allclose(new.predict(x, verbose=0), 3.0 * hidden, rtol=1e-5, atol=1e-6)
    without = rebuilt("test", model, lambda layer: REMOVED if layer.name == "second" else None)
    np.testing.assert_allclose(without.predict(x, verbose=0), 3.0 * hidden, rtol=1e-5, atol=1e-6)
    assert model.get_layer("second").use_bias


def test_units_may_change_where_what_follows_changes_too(rng):
    model, x = small(), rng.normal(size=(5, 3)).astype("float32")
    kept = [0, 2]
    sizes = {"first": (L.Dense(2, "relu", name="first"), lambda k, b: [k[:, kept], b[kept]])}
    sizes["second"] = (L.Dense(2, name="second"), lambda k, b: [k[kept][:, kept], b[kept]])

    def replace(layer):
        if layer.name not in sizes:
            return None
        new, cut = sizes[layer.name]
        return Replacement(new, cut(*layer.get_weights()))

    assert rebuilt("test", model, replace).predict(x, verbose=0).shape == (5, 2)


def test_flags_calls_and_classes_are_kept(rng):
    class Own(keras.Model):
        pass

    x = keras.Input((3,))
    dense = L.Dense(3, name="dense")
    inner = keras.Sequential([L.Dense(3, name="held"), L.Dense(3, name="free")], name="inner")
    model = Own(x, inner(L.Dropout(0.5, name="drop")(dense(dense(x)), training=True)))
    inner.trainable = False
    inner.layers[1].trainable = True
    new = rebuilt("test", model, nothing)
    assert type(new) is Own
    assert sum(call.operation.name == "dense" for call in graph_calls(new)) == 2
    assert [call.kwargs.get("training") for call in graph_calls(new) if call.operation.name == "drop"] == [
        True
    ]
    inner = new.get_layer("inner")
    assert (inner.trainable, [layer.trainable for layer in inner.layers]) == (False, [False, True])


def test_graphs_are_told_from_other_models():
    class Python(keras.Model):
        def call(self, x):
            return x

    inner = keras.Sequential([keras.Input((2,)), L.Dense(2)])
    outer = keras.Sequential([keras.Input((2,)), inner, L.Dense(1)])
    assert list(subgraphs(outer)) == [outer, inner]
    assert is_graph(small())
    assert not is_graph(Python())
    assert not is_graph(keras.Sequential([L.Dense(1)]))
    assert not is_graph(L.Dense(1))


def test_the_first_argument_is_found_by_name_too():
    x, mask = keras.Input((2, 3)), keras.Input((2,), dtype="bool")
    model = keras.Model([x, mask], L.BatchNormalization()(mask=mask, inputs=x))
    (call,) = graph_calls(model)
    assert call.first is x


def test_a_layer_without_a_config_is_named():
    class NoConfig(L.Layer):
        def __init__(self, size, name):
            super().__init__(name=name)

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((2,)), NoConfig(object(), name="odd")])
    with pytest.raises(ValueError, match=r"`model` of test .* got NoConfig 'odd', which cannot"):
        rebuilt("test", model, nothing)


def test_a_copy_that_came_out_different_is_named():
    class Growing(L.Layer):
        size = 2

        def build(self, shape):
            self.w = self.add_weight(shape=(Growing.size,))

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((2,)), Growing(name="odd")])
    Growing.size = 3
    with pytest.raises(ValueError, match=r"Growing 'odd' of shapes \[\(2,\)\], whose copy has \[\(3,\)\]"):
        rebuilt("test", model, nothing)
