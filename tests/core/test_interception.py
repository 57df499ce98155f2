"""The hook behind watching and sampling: seen calls, order, threads, and no trace left behind."""

import threading

import keras
import numpy as np
import pytest

from kerasreg._core.interception import intercept


def note(seen):
    def handler(layer, proceed, args, kwargs):
        seen.append(layer.name)
        return proceed(*args, **kwargs)

    return handler


def test_nested_calls_are_seen_from_the_outside_in():
    inner = keras.Sequential([keras.layers.Dense(2, name="dense")], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.ReLU(name="relu")], name="outer")
    seen = []
    with intercept(note(seen)):
        model(np.ones((1, 3)))
    assert [name for name in seen if name in ("outer", "inner", "dense", "relu")] == [
        "outer",
        "inner",
        "dense",
        "relu",
    ]


def test_a_handler_may_answer_in_the_layers_place():
    layer = keras.layers.Dense(2)
    with intercept(lambda layer, proceed, args, kwargs: "instead"):
        assert layer(np.ones((1, 3))) == "instead"
    assert not layer.built


def test_the_innermost_handler_is_asked_last():
    order = []

    def named(name):
        def handler(layer, proceed, args, kwargs):
            order.append(name)
            return proceed(*args, **kwargs)

        return handler

    layer = keras.layers.ReLU()
    with intercept(named("outer")), intercept(named("inner")):
        layer(np.ones((1, 3)))
    assert order == ["outer", "inner"]


def test_other_threads_are_left_alone_and_nothing_stays():
    original, seen, inside, done = keras.layers.Layer.__call__, [], threading.Event(), threading.Event()

    def watch():
        with intercept(note(seen)):
            inside.set()
            done.wait(timeout=30)

    thread = threading.Thread(target=watch)
    thread.start()
    inside.wait(timeout=30)
    keras.layers.ReLU()(np.ones((1, 3)))
    done.set()
    thread.join()
    assert seen == []
    assert keras.layers.Layer.__call__ is original


def test_an_error_inside_takes_the_hook_away():
    original = keras.layers.Layer.__call__
    with pytest.raises(RuntimeError), intercept(note([])):
        raise RuntimeError
    assert keras.layers.Layer.__call__ is original


def test_operations_of_a_functional_graph_are_seen_where_they_are_asked_for():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.ReLU(name="relu")(x) + x)
    original = keras.Operation.__call__
    for operations in (False, True):
        seen = []
        with intercept(note(seen), operations=operations):
            model(np.ones((1, 3)))
        assert seen[-1] == ("relu" if not operations else model.operations[-1].name)
        # A layer is an operation too, and is asked once.
        assert seen.count("relu") == 1
    assert keras.Operation.__call__ is original
