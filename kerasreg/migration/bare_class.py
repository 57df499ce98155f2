"""The class of a layer without what kerasreg's verbs put in front of it."""

from __future__ import annotations

import keras

from kerasreg.layers.frozen_batch_norm import thawed_class
from kerasreg.regularizers.carrier import plain_class


def bare_class(layer: keras.layers.Layer) -> type:
    """The class without the marks of `regularize` and `freeze_batch_norm`."""
    cls = type(layer)
    while (below := thawed_class(plain_class(cls))) is not cls:
        cls = below
    return cls


def is_ours(cls: type) -> bool:
    """Whether a class is written in kerasreg."""
    return cls.__module__.partition(".")[0] == "kerasreg"


def our_base(cls: type) -> type | None:
    """The class of kerasreg that a class is, or is built on."""
    return next((base for base in cls.__mro__ if is_ours(base)), None)
