"""Which layers' outputs are bounded by their activation, and from where on one is saturated."""

from __future__ import annotations

import keras

# A bound counts as reached within this share of the distance from 0 to it, or of the range from 0 to 1.
MARGIN = 0.01

# ReLU6's lower bound is no saturation: there a unit is silent, which `zeros` and `dead` tell.
_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "sparse_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu6": (None, 6.0),
}


def saturated_beyond(layer: keras.layers.Layer) -> tuple[float | None, float | None] | None:
    """From where on down and up an output of the layer is saturated; None for a layer without bounds.

    Softmax is left out: a classifier that is sure is no sick one. A layer of a user's own with an attribute
    `activation` is left out too, as nothing says that its output is what the activation gave.

    Example:
        >>> import keras
        >>> saturated_beyond(keras.layers.Dense(3, "tanh"))
        (-0.99, 0.99)
        >>> saturated_beyond(keras.layers.Dense(3, "relu")) is None
        True
    """
    if not type(layer).call.__module__.startswith(("keras.", "kerasreg.")):
        return None
    if isinstance(layer, keras.layers.ReLU):
        limits = (None, layer.max_value)
    else:
        limits = _BOUNDS.get(getattr(getattr(layer, "activation", None), "__name__", ""), (None, None))
    low, high = limits
    if low is None and high is None:
        return None
    margin = MARGIN * max(abs(limit) for limit in limits if limit is not None)
    return None if low is None else low + margin, None if high is None else high - margin
