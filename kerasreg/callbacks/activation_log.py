"""Where the figures of a training go: TensorBoard events and JSON lines in one folder."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasreg._core.arguments import refusal
from kerasreg.callbacks.event_file import EventFile

JSON_NAME = "activations.jsonl"


class ActivationLog:
    """`activations.jsonl` and TensorBoard scalars, one entry for each observed step.

    Args:
        log_dir: The folder; made if it is not there.

    Raises:
        ValueError: If the folder cannot be written.
    """

    def __init__(self, log_dir: str | os.PathLike[str]):
        folder = Path(log_dir)
        self._lines = folder / JSON_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lines.open("a").close()
            self._events = EventFile(folder)
        except OSError as error:
            allowed = "a folder that can be written"
            raise refusal("ActivationStats", "log_dir", allowed, str(log_dir), error.strerror) from error
        self._failed = False

    def write(self, step: int, rows: Sequence[dict[str, Any]]) -> None:
        """Append one step; a disk that fails in mid-training costs a warning, not the training."""
        if self._failed:
            return
        layers = {row["layer"]: {k: v for k, v in row.items() if k != "layer"} for row in rows}
        # JSON has no NaN; null says the same to every reader.
        finite = {
            layer: {name: value if math.isfinite(value) else None for name, value in figures.items()}
            for layer, figures in layers.items()
        }
        scalars = {
            f"activation_{name}/{layer}": value
            for layer, figures in layers.items()
            for name, value in figures.items()
        }
        try:
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "layers": finite}) + "\n")
            self._events.add_scalars(step, scalars)
        except OSError as error:
            self._failed = True
            warnings.warn(
                f"ActivationStats stops writing to {self._lines.parent} at step {step} ({error.strerror}); "
                "training goes on and callback.history keeps the figures.",
                stacklevel=2,
            )
