"""Dead channels: those that were silent in every observed step of a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

# So many bits survive, exactly, a float32 that a mean over replicas divides and the reader multiplies again.
BITS = 20


def words(channels: int) -> int:
    """How many floats hold one bit for each channel."""
    return -(-channels // BITS)


def packed(silent: Any, channels: int) -> Any:
    """A boolean per channel as floats of 20 bits each."""
    padded = ops.pad(ops.cast(silent, "float32"), [[0, words(channels) * BITS - channels]])
    return ops.sum(ops.reshape(padded, (-1, BITS)) * ops.convert_to_tensor(_weights(), "float32"), axis=1)


def unpacked(found: np.ndarray, channels: int) -> np.ndarray:
    """The booleans that `packed` put into floats."""
    whole = np.rint(found).astype("int64")
    return ((whole[:, None] >> np.arange(BITS)) & 1).astype(bool).ravel()[:channels]


def _weights() -> np.ndarray:
    return (2.0 ** np.arange(BITS)).astype("float32")


class SilenceWindow:
    """Counts each row's channels that were silent in all steps since the window began."""

    def __init__(self) -> None:
        self._silent: dict[str, np.ndarray] = {}
        self._had_zeros: set[str] = set()

    def restart(self) -> None:
        """Begin a new window; which rows have zeros at all stays known."""
        self._silent.clear()

    def add(self, row: Mapping[str, Any], silent: np.ndarray) -> float | None:
        """Take one observed step of a row; the share of dead channels, or None for a row without zeros.

        A linear output, whose values are never exactly 0, has no dead channels to speak of.
        """
        name = row["layer"]
        before = self._silent.get(name)
        # A layer with another number of channels is another layer under an old name.
        same = before is not None and before.shape == silent.shape
        self._silent[name] = before & silent if same else silent
        if row["zeros"] > 0:
            self._had_zeros.add(name)
        return float(self._silent[name].mean()) if name in self._had_zeros else None
