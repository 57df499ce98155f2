"""Numbers supplied to a layer: for that layer, in that thread, while the block lasts."""

import threading

import keras
import pytest

from kerasreg._core.noise_source import is_supplied, supplied_to, supply


def source(shape):
    return keras.ops.zeros(shape)


def test_one_layer_is_supplied_and_no_other_and_only_inside():
    layer, other = keras.layers.ReLU(), keras.layers.ReLU()
    with supply(layer, source):
        assert is_supplied(layer)
        assert supplied_to(layer) is source
        assert not is_supplied(other)
        with supply(layer, None), supply(other, source):
            assert supplied_to(layer) is None
            assert supplied_to(other) is source
        assert supplied_to(layer) is source
        assert not is_supplied(other)
    assert not is_supplied(layer)


def test_an_error_ends_it():
    layer = keras.layers.ReLU()
    with pytest.raises(KeyError), supply(layer, source):
        raise KeyError
    assert not is_supplied(layer)


def test_other_threads_are_not_supplied():
    layer, seen = keras.layers.ReLU(), []
    with supply(layer, source):
        thread = threading.Thread(target=lambda: seen.append(is_supplied(layer)))
        thread.start()
        thread.join()
    assert seen == [False]
