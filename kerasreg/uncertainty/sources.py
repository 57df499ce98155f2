"""Where a model's noise comes from: which layers make it, how strong it is, and how it is sampled.

Three ways. `"added"`: the layer hands its input on at inference, and noise is put in its place. `"supplied"`:
the layer is called with numbers supplied. `"drawn"`: the layer is called in training mode, what it holds is
not, and what it draws itself is drawn from its place: Keras' attention and convolutional LSTM, stacks of
recurrent cells, and layers of users that draw from `keras.random`.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

from kerasreg import layers
from kerasreg._core.private import is_augmentation, own_seed_generators
from kerasreg.uncertainty.noise import KINDS, adds_to_its_input, is_stochastic, strength
from kerasreg.uncertainty.rowwise import is_builtin


def how(layer: keras.layers.Layer) -> str | None:
    """`"added"`, `"supplied"` or `"drawn"`; None for a layer without noise of its own.

    A user's layer that may draw is `"drawn"`, whether it does or not: see `may_draw`.
    """
    if is_stochastic(layer):
        return "added" if adds_to_its_input(layer) else "supplied"
    if isinstance(layer, keras.layers.TimeDistributed):
        return "drawn" if how(layer.layer) else None
    if isinstance(layer, keras.layers.RNN):
        draws = any(hasattr(cell, "get_dropout_mask") or may_draw(cell) for cell in cells(layer))
        return "drawn" if draws or may_draw(layer) else None
    if isinstance(layer, keras.layers.Attention) and is_builtin(layer):
        return "drawn"
    return "drawn" if may_draw(layer) else None


def rate_of(layer: keras.layers.Layer) -> float | None:
    """The layer's rate or standard deviation as it is now; None where only the layer knows."""
    if is_stochastic(layer):
        return strength(layer)
    if isinstance(layer, keras.layers.TimeDistributed):
        return rate_of(layer.layer)
    if isinstance(layer, keras.layers.RNN):
        kept = 1.0
        for cell in cells(layer):
            rates = [getattr(cell, name, 0.0) for name in ("dropout", "recurrent_dropout")]
            if not is_builtin(cell) and may_draw(cell) and not any(rates):
                return None
            for rate in rates:
                kept *= 1.0 - rate
        return 1.0 - kept
    if isinstance(layer, keras.layers.Attention) and is_builtin(layer):
        return layer.dropout
    # A user's dropout with a call of its own.
    rate = getattr(layer, "rate", None) if isinstance(layer, KINDS) else None
    return rate if isinstance(rate, int | float) else None


def may_draw(layer: keras.layers.Layer) -> bool:
    """Whether this is a user's layer that holds a generator, or whose `call` names something random.

    A layer that augments images is none: its noise is no part of a prediction.
    """
    if is_builtin(layer) or is_augmentation(layer):
        return False
    function = layer.function if isinstance(layer, keras.layers.Lambda) else type(layer).call
    return bool(own_seed_generators(layer)) or _names_something_random(inspect.unwrap(function))


def _names_something_random(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    named = [function.__globals__.get(name) for name in code.co_names]
    homes = (getattr(thing, "__name__" if inspect.ismodule(thing) else "__module__", "") for thing in named)
    called = set(code.co_names)
    return (
        "random" in called
        or {"nn", "dropout"} <= called
        # Under a name of the user's choice.
        or any("random" in str(home).split(".") for home in homes)
    )


def cells(layer: keras.layers.RNN) -> list[keras.layers.Layer]:
    """A recurrent layer's cells, also those of a stack."""
    found, open_ = [], [layer.cell]
    while open_:
        cell = open_.pop(0)
        found.append(cell)
        open_ += list(getattr(cell, "cells", ()))
    return found


def is_dropping_cell(layer: keras.layers.Layer) -> bool:
    """Whether this is one of Keras' recurrent cells with dropout."""
    is_cell = hasattr(layer, "get_dropout_mask") and not isinstance(layer, keras.layers.RNN)
    return is_cell and (layer.dropout > 0 or layer.recurrent_dropout > 0)


def settings(layer: keras.layers.Layer) -> Any:
    """What is compiled into a random pass of the layer; a learned rate is not, as it is a weight."""
    inner = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
    if isinstance(inner, layers.ConcreteDropout):
        return None
    if is_builtin(inner) and rate_of(layer) is not None:
        return rate_of(layer)
    # Of what a user wrote: whatever may be a rate or a switch.
    written = [inner, *cells(inner)] if isinstance(inner, keras.layers.RNN) else [inner]
    own = ((name, value) for part in written for name, value in vars(part).items())
    return tuple((name, value) for name, value in own if isinstance(value, bool | float) and name[0] != "_")
