"""The scale of a step's data: of the model's inputs as they came, and of what its first layers read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.kernels import kernels_of

# Rows of this sort are no layers', and are taken out before anyone looks for those.
_MARK = "\0"
# Of data with more features, so many of them tell the scale.
MOST_FEATURES = 4096


@dataclass(frozen=True)
class Moments:
    """Each feature's mean and standard deviation, and how many numbers are not finite."""

    means: np.ndarray
    deviations: np.ndarray
    nonfinite: int


@dataclass(frozen=True)
class StepInputs:
    """What one step was given.

    Attributes:
        given: The model's inputs, by their place among its flattened ones.
        read: What the first linear layer read, and every other that read an input as it came, by path.
    """

    given: dict[int, Moments]
    read: dict[str, Moments]


class InputWatch:
    """Notes down, while a step is traced, what it is given and what the model's first layers make of that.

    Args:
        paths: The layers, each with the path that names it.
    """

    def __init__(self, paths: Mapping[keras.layers.Layer, str]):
        self._paths = paths
        self._leaves: list[Any] = []
        self._first = True

    def given(self, data: Any) -> list[tuple[str, dict[str, Any]]]:
        """Rows, as name and figures, for the inputs in what a `train_step` is called with."""
        # A user's own step may take data of any form.
        with suppress(ValueError):
            self._leaves = keras.tree.flatten(keras.utils.unpack_x_y_sample_weight(data)[0])
        return [(f"{_MARK}given {i}", _figures(leaf)) for i, leaf in enumerate(self._leaves) if _counts(leaf)]

    def look(self, layer: keras.layers.Layer, inputs: Any) -> list[tuple[str, dict[str, Any]]]:
        """Rows for a layer that is about to be called."""
        if layer not in self._paths:
            return []
        if not any(kernel.kind != "embedding" for kernel in kernels_of(layer)) or not _counts(inputs):
            return []
        path, first = self._paths[layer], self._first
        self._first = False
        as_it_came = next((i for i, leaf in enumerate(self._leaves) if leaf is inputs), None)
        if as_it_came is not None:
            return [(f"{_MARK}reads {as_it_came} {path}", {"count": ops.ones((), "float32")})]
        return [(f"{_MARK}read {path}", _figures(inputs))] if first else []


def is_of_inputs(name: str) -> bool:
    """Whether a row is one of these."""
    return name.startswith(_MARK)


def decode(rows: Mapping[str, Mapping[str, Any]]) -> StepInputs:
    """The rows' figures by what they are of."""
    given, read = {}, {}
    for name, figures in rows.items():
        sort, _, rest = name.removeprefix(_MARK).partition(" ")
        if sort == "given":
            given[int(rest)] = _moments(figures)
        elif sort == "read":
            read[rest] = _moments(figures)
    for name in rows:
        sort, _, rest = name.removeprefix(_MARK).partition(" ")
        if sort == "reads":
            place, _, path = rest.partition(" ")
            read[path] = given[int(place)]
    return StepInputs(given, read)


def _moments(figures: Mapping[str, Any]) -> Moments:
    return Moments(
        np.asarray(figures["means"]), np.asarray(figures["deviations"]), round(figures["nonfinite"])
    )


def _counts(values: Any) -> bool:
    """Whether a tensor holds numbers of a scale: floats, or bytes of more than two axes, which are images."""
    if not ops.is_tensor(values) or not values.shape or not isinstance(values.shape[-1], int):
        return False
    # Sparse and ragged tensors have no rows of equal length to average.
    if hasattr(values, "indices") or hasattr(values, "row_splits"):
        return False
    dtype = keras.backend.standardize_dtype(values.dtype)
    return keras.backend.is_float_dtype(dtype) or (dtype == "uint8" and len(values.shape) > 2)


def _figures(values: Any) -> dict[str, Any]:
    x = ops.cast(ops.stop_gradient(values), "float32")
    x = ops.reshape(x, (-1, x.shape[-1])) if len(x.shape) > 1 else x[:, None]
    every = -(-x.shape[-1] // MOST_FEATURES)
    x = x[:, ::every] if every > 1 else x
    means = ops.mean(x, axis=0)
    nonfinite = ops.sum(ops.cast(ops.logical_not(ops.isfinite(x)), "float32"))
    deviations = ops.sqrt(ops.mean(ops.square(x - means), axis=0))
    count = ops.cast(ops.size(x), "float32")
    return {"count": count, "nonfinite": nonfinite, "means": means, "deviations": deviations}
