"""Names for layers: where each sits in its model."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from kerasreg._core.private import sublayers


def layer_paths(model: keras.Model) -> dict[keras.layers.Layer, str]:
    """Every layer below a model with its path, in the model's order.

    A path is made of the layers' names from the model's own children down: `conv1`, `block/dense`. Keras'
    `layer.path` is None for layers without weights and leaves out the parents of prebuilt ones. A layer
    reached on two ways keeps the first; two layers with one path are told apart by `#2`.

    Example:
        >>> import keras
        >>> inner = keras.Sequential([keras.layers.Dense(2, name="dense")], name="block")
        >>> list(layer_paths(keras.Sequential([inner, keras.layers.ReLU(name="relu")])).values())
        ['block', 'block/dense', 'relu']
    """
    paths: dict[keras.layers.Layer, str] = {}
    taken: dict[str, int] = {}
    for path, layer in _walk(model, ()):
        if layer not in paths:
            taken[path] = taken.get(path, 0) + 1
            paths[layer] = path if taken[path] == 1 else f"{path}#{taken[path]}"
    return paths


def _walk(layer: keras.layers.Layer, above: tuple[str, ...]) -> Iterator[tuple[str, keras.layers.Layer]]:
    for child in sublayers(layer):
        here = (*above, child.name)
        yield "/".join(here), child
        yield from _walk(child, here)
