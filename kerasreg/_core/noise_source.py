"""Where a stochastic layer's uniform numbers come from: its own generator, unless somebody supplies others.

Whoever samples a model supplies numbers that are a function of where they are used, or silences a layer whose
noise is added elsewhere. Both hold for one layer, in one thread, and for as long as the `with` block lasts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

# Takes a shape whose first axis counts rows and gives float32 numbers in [0, 1).
Uniform = Callable[[Sequence[Any]], Any]


class _Supplied(threading.local):
    def __init__(self) -> None:
        self.sources: dict[keras.layers.Layer, Uniform | None] = {}


_supplied = _Supplied()


@contextmanager
def supply(layer: keras.layers.Layer, uniform: Uniform | None) -> Iterator[None]:
    """While inside, the layer is stochastic with numbers from `uniform`; None silences it."""
    before = _supplied.sources
    _supplied.sources = {**before, layer: uniform}
    try:
        yield
    finally:
        _supplied.sources = before


def is_supplied(layer: keras.layers.Layer) -> bool:
    """Whether somebody supplies the layer's numbers, or silences it."""
    return layer in _supplied.sources


def supplied_to(layer: keras.layers.Layer) -> Uniform | None:
    """What is supplied: a source of numbers, or None for silence."""
    return _supplied.sources[layer]
