"""Which layers compute what Keras' layers of that name compute."""

from __future__ import annotations

import keras

from kerasreg.layers.frozen_batch_norm import thawed_class


def calls_as_keras_does(layer: keras.layers.Layer) -> bool:
    """Whether the layer's `call` is Keras' or ours: a user's own subclass may compute anything."""
    home = thawed_class(type(layer)).call.__module__.partition(".")[0]
    return home in ("keras", "kerasreg")
