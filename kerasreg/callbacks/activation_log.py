"""Where the figures of a training go: TensorBoard events and JSON lines in one folder."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kerasreg._core.arguments import refusal
from kerasreg.callbacks import event_values
from kerasreg.callbacks.activation_page import activation_page
from kerasreg.callbacks.activation_picture import FIGURES, draw, ill_layers, png
from kerasreg.callbacks.earlier_lines import EarlierLines
from kerasreg.callbacks.event_file import EventFile
from kerasreg.callbacks.scalar_layout import scalar_layout, scalar_tag
from kerasreg.callbacks.step_grid import StepGrid
from kerasreg.callbacks.whole_append import append, mend_lines
from kerasreg.diagnostics.finding import Finding

JSON_NAME = "activations.jsonl"
# "activation" alone sorts before "activation_dead" and the like: TensorBoard shows the picture first.
PICTURE, PAGE, HISTOGRAM = "activation/layers by steps", "activation/findings", "activation_histogram"
# What pictures and pages may take: some seconds, and this share of the time since training began.
FREE_SECONDS, SHARE_OF_TIME = 3.0, 0.02
_DESCRIPTION = "One row a layer, one column an observed step: `ActivationStats.plot()` draws the same."


class ActivationLog:
    """`activations.jsonl` and TensorBoard's events: figures at each observed step, picture and page by epoch.

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
            # What stands there now, other callbacks of this training have not written.
            self._earlier = EarlierLines(self._lines, mend_lines(self._lines))
            self._events = EventFile(folder)
        except OSError as error:
            allowed = "a folder that can be written"
            raise refusal("ActivationStats", "log_dir", allowed, str(log_dir), error.strerror) from error
        self._failed = False
        self._grid = StepGrid(FIGURES)
        self._latest: dict[str, Mapping[str, Any]] = {}
        self._figures: set[str] = set()
        self._step: int | None = None
        self._epoch_written: int | None = None
        self._began, self._spent = time.perf_counter(), 0.0

    def earlier(self) -> dict[int, list[dict[str, Any]]]:
        """What the folder held before: from each step to its rows, with the figures of the picture."""
        return self._earlier.read(FIGURES)

    def write(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append one step; a disk that fails in mid-training costs a warning, not the training."""
        self._guarded(step, lambda: self._write_step(step, rows))

    def write_epoch(
        self, findings: Sequence[Finding] | None, skipped: Mapping[str, str], last: bool = False
    ) -> None:
        """Append the picture and the page.

        Where epochs are so short that drawing would hold up the training, those of some epochs are left out,
        those of the last never.
        """
        if self._step is None or (last and self._epoch_written == self._step):
            return
        began = time.perf_counter()
        if not last and self._spent > FREE_SECONDS + SHARE_OF_TIME * (began - self._began):
            return
        step = self._epoch_written = self._step
        self._guarded(step, lambda: self._write_epoch(step, findings, skipped))
        self._spent += time.perf_counter() - began

    def _guarded(self, step: int, action: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            action()
        except OSError as error:
            self._failed = True
            warnings.warn(
                f"ActivationStats stops writing to {self._lines.parent} at step {step} ({error.strerror}); "
                "training goes on and callback.history keeps the figures.",
                stacklevel=4,
            )

    def _write_step(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._step is None:
            self._resume(step, {row["layer"] for row in rows})
        self._step = step
        layers = {row["layer"]: {k: _plain(v) for k, v in row.items() if k != "layer"} for row in rows}
        line = {"step": step, "time": round(time.time(), 3), "layers": layers}
        append(self._lines, json.dumps(line).encode() + b"\n")
        self._grid.add(step, rows)
        self._latest.update((row["layer"], row) for row in rows)
        values = [value for row in rows for value in _values(row)]
        figures = {name for row in rows for name, value in row.items() if _is_scalar(name, value)}
        if not figures <= self._figures:
            # Another callback, or an earlier training, may have written other figures into the folder.
            self._figures |= figures | self._earlier.figures_now()
            values.append(event_values.layout(scalar_layout(self._figures)))
        self._events.add(step, values)

    def _resume(self, step: int, layers: set[str]) -> None:
        earlier = self.earlier()
        for known, rows in earlier.items():
            if known < step:
                self._grid.add(known, [row for row in rows if row["layer"] in layers])
        if max(earlier, default=-1) >= step:
            # Steps that were done once and are done again from a checkpoint.
            self._events.restart(step)

    def _write_epoch(self, step: int, findings: Sequence[Finding] | None, skipped: Mapping[str, str]) -> None:
        page = activation_page(step, self._latest.values(), findings, skipped)
        values = [event_values.text(PAGE, page)]
        if find_spec("matplotlib") is not None:
            ill = ill_layers(findings or ())
            values.append(event_values.image(PICTURE, *png(draw(self._grid, ill)), _DESCRIPTION))
        self._events.add(step, values)


def _values(row: Mapping[str, Any]) -> list[Any]:
    """A row's scalars and its histogram."""
    layer = row["layer"]
    values = [
        event_values.scalar(scalar_tag(name, layer), value)
        for name, value in row.items()
        if _is_scalar(name, value)
    ]
    if "histogram" in row:
        from kerasreg._tap.histogram import EDGES

        buckets = event_values.buckets(row["histogram"], EDGES, row["min"], row["max"])
        values.append(event_values.histogram(f"{HISTOGRAM}/{layer}", buckets))
    return values


def _is_scalar(name: str, value: Any) -> bool:
    return name != "step" and isinstance(value, (int, float))


def _plain(value: Any) -> Any:
    """A figure as JSON has it: there is no NaN, and null says the same to every reader."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [_plain(part) for part in value] if isinstance(value, list) else value
