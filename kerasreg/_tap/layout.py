"""How the figures of a step lie in one packed tensor, and what a reader makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from kerasreg._tap import silence
from kerasreg._tap.histogram import BINS
from kerasreg._tap.statistics import PER_CHANNEL, SINGLE


class RowLayout(NamedTuple):
    """One call of one layer.

    Attributes:
        name: The layer's path, `path:2` for its second call.
        fields: The name and the length of each figure; 0 stands for a single number.
        channels: How many channels the output has; 0 if there is none to speak of.
    """

    name: str
    fields: tuple[tuple[str, int], ...]
    channels: int

    @property
    def size(self) -> int:
        """How many numbers the row takes."""
        return sum(max(1, length) for _, length in self.fields)


def lay(name: str, figures: Mapping[str, Any], channels: int | None) -> tuple[RowLayout, Any]:
    """A row's layout, and its figures in one vector."""
    single = [field for field in SINGLE if field in figures]
    vectors = [field for field in figures if field not in SINGLE]
    channels = channels or 0
    # Said, not asked of the tensors where it can be: a graph may not know the shape of what it counts.
    lengths = dict.fromkeys(PER_CHANNEL, channels)
    lengths |= {"silent": silence.words(channels), "histogram": BINS}
    fields = [(field, 0) for field in single] + [
        (field, lengths.get(field) or figures[field].shape[0]) for field in vectors
    ]
    parts = [ops.stack([figures[field] for field in single]), *(figures[field] for field in vectors)]
    return RowLayout(name, tuple(fields), channels), ops.concatenate(parts)


def unlay(row: RowLayout, numbers: np.ndarray) -> dict[str, Any]:
    """The figures of a row by name, as floats and arrays."""
    found, start = {}, 0
    for field, length in row.fields:
        stop = start + max(1, length)
        found[field] = numbers[start:stop] if length else float(numbers[start])
        start = stop
    return found


def pooled(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several replicas' shares of a batch, as if it had been one.

    Exact. The `drift` of a batch norm that is not synchronised is a mean: each replica normalises by
    statistics of its own.
    """
    parts = [part for part in parts if part["count"] > 0] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    counts = np.array([part["count"] for part in parts])

    def average(field: str) -> Any:
        return np.average([part[field] for part in parts], axis=0, weights=counts)

    result: dict[str, Any] = {}
    for field in parts[0]:
        values = [part[field] for part in parts]
        match field:
            case "count" | "nonfinite" | "histogram":
                result[field] = np.sum(values, axis=0)
            case "min":
                result[field] = np.min(values)
            case "max" | "skipped":
                result[field] = np.max(values)
            case "variance":
                within, between = average("variance"), np.array([part["mean"] for part in parts])
                result[field] = within + np.average((between - average("mean")) ** 2, weights=counts)
            case "silent":
                kept = [np.rint(value).astype("int64") for value in values]
                result[field] = np.bitwise_and.reduce(kept).astype("float64")
            case _:
                result[field] = average(field)
    return result


def read(row: RowLayout, figures: Mapping[str, Any]) -> dict[str, Any]:
    """A plain dict with the figures that people ask for; `silent` is left for the window to take out."""
    mean, variance = figures["mean"], figures["variance"]
    known = variance >= 0
    found: dict[str, Any] = {
        "layer": row.name,
        "mean": float(mean),
        "std": math.sqrt(variance) if known else math.nan,
        "rms": math.sqrt(variance + mean**2) if known else math.nan,
        "min": float(figures["min"]),
        "max": float(figures["max"]),
        "range": float(figures["range"]),
        "zeros": float(figures["zeros"]),
        "nonfinite": round(figures["nonfinite"]),
    }
    if "saturated" in figures:
        found["saturated"] = float(figures["saturated"])
    if "drift" in figures:
        found["batch_norm_drift"] = float(figures["drift"])
    if "skipped" in figures:
        found["skipped_batches"] = round(figures["skipped"])
    if PER_CHANNEL[0] in figures:
        means, squares, zeros = (figures[field] for field in PER_CHANNEL)
        found["channel_mean"] = means.tolist()
        found["channel_rms"] = np.sqrt(squares).tolist()
        found["channel_zeros"] = zeros.tolist()
    if "histogram" in figures:
        found["histogram"] = [round(count) for count in figures["histogram"].tolist()]
    if "silent" in figures:
        found["silent"] = silence.unpacked(figures["silent"], row.channels)
    return found
