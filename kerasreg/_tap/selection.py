"""Which layers of a model are watched, and which cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import keras

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.paths import layer_paths

IN_A_SCAN = "a recurrent layer's scan calls it"


class Selection(NamedTuple):
    """What `select` found.

    Attributes:
        paths: The layers to be seen, each with the path that names its rows.
        skipped: The path of each layer that was asked for and cannot be seen, with the reason.
    """

    paths: dict[keras.layers.Layer, str]
    skipped: dict[str, str]


def patterns(layers: Any) -> list[str] | None:
    """`layers`, checked: one pattern or a list of them, as a list; None stays None."""
    if layers is None:
        return None
    found = (
        [layers] if isinstance(layers, str) else list(layers) if isinstance(layers, Sequence) else [layers]
    )
    if not found or not all(isinstance(pattern, str) for pattern in found):
        allowed = "a pattern of layer paths or a list of them"
        raise refusal("ActivationStats", "layers", allowed, Came(repr(layers)))
    return found


def select(model: keras.Model, wanted: Sequence[str] | None) -> Selection:
    """The layers whose paths match a pattern; with None, all that are neither models nor inputs.

    A container hands on its last layer's output and is left out.

    Raises:
        ValueError: If a pattern matches no layer.
    """
    everything = layer_paths(model)
    visible = _visible(everything)
    for pattern in wanted or ():
        if not any(fnmatchcase(path, pattern) for path in visible.values()):
            listed = ", ".join(visible.values())
            raise refusal("ActivationStats", "layers", f"patterns that match one of {listed}", pattern)
    if wanted is not None:
        visible = {
            layer: path
            for layer, path in visible.items()
            if any(fnmatchcase(path, pattern) for pattern in wanted)
        }
    scanned = _scanned(everything)
    return Selection(
        {layer: path for layer, path in visible.items() if layer not in scanned},
        {path: IN_A_SCAN for layer, path in visible.items() if layer in scanned},
    )


def row_of_each_layer(model: keras.Model) -> dict[keras.layers.Layer, str]:
    """Every layer of a model with the path of the innermost layer around it that can be seen, or itself.

    A scan's cell is not seen; what it holds counts for the layer that scans. Layers that sit in a model
    alone, which has no row, are left out.
    """
    everything = layer_paths(model)
    scanned = _scanned(everything)
    rows = {path for layer, path in _visible(everything).items() if layer not in scanned}
    around = {}
    for layer, path in everything.items():
        above = path
        while above and above not in rows:
            above = above.rpartition("/")[0]
        if above:
            around[layer] = above
    return around


def _visible(everything: dict[keras.layers.Layer, str]) -> dict[keras.layers.Layer, str]:
    hidden = (keras.Model, keras.layers.InputLayer)
    return {layer: path for layer, path in everything.items() if not isinstance(layer, hidden)}


def _scanned(everything: dict[keras.layers.Layer, str]) -> set[keras.layers.Layer]:
    above = tuple(f"{path}/" for layer, path in everything.items() if isinstance(layer, keras.layers.RNN))
    return {layer for layer, path in everything.items() if path.startswith(above)}
