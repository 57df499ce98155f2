"""What a calibration did to each kernel, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal


@dataclass(frozen=True)
class CalibratedKernel:
    """One kernel's figures.

    Args:
        layer: The layer's path in the model; a second call of a shared layer is `path:2`.
        kernel: The variable's name in the layer.
        target: The RMS asked for.
        before: The RMS of the linear output with the kernel as it was, behind layers calibrated already.
        scale: What the kernel was multiplied by; with `per_channel` the geometric mean over channels.
        after: The RMS that it gives now.
        skipped: Why the kernel stayed as it was, None where it did not.
    """

    layer: str
    kernel: str
    target: float | None = None
    before: float | None = None
    scale: float | None = None
    after: float | None = None
    skipped: str | None = None


class CalibrationReport:
    """What `kr.calibrate` did: a row for each kernel, printed as a table; `undo()` takes it back.

    Args:
        rows: The kernels' figures, in the order in which the pass met them, skipped ones last.
        changed: The variables with the values that they had.

    Example:
        >>> print(CalibrationReport([CalibratedKernel("dense", "kernel", 1.0, 0.25, 4.0, 1.0)], []))
        layer  kernel  RMS before  scale  RMS after
        dense  kernel  0.25        4      1
    """

    def __init__(
        self,
        rows: Sequence[CalibratedKernel],
        changed: Sequence[tuple[keras.Variable, np.ndarray]],
    ):
        self.rows = tuple(rows)
        self._changed = list(changed)

    @property
    def calibrated(self) -> tuple[CalibratedKernel, ...]:
        """The rows that were rescaled, or would have been in a dry run."""
        return tuple(row for row in self.rows if row.scale is not None)

    @property
    def skipped(self) -> dict[str, str]:
        """Why each kernel that stayed as it was did so, by `layer.kernel`."""
        return {f"{row.layer}.{row.kernel}": row.skipped for row in self.rows if row.skipped is not None}

    def undo(self) -> None:
        """Give every rescaled kernel the value back that it had, bit for bit.

        Raises:
            ValueError: If there is nothing to take back: a dry run, or undone already.
        """
        if not self._changed:
            raise refusal(
                "CalibrationReport.undo", "report", "one that changed a kernel", Came("none changed")
            )
        while self._changed:
            variable, value = self._changed.pop()
            variable.assign(value)

    def to_dict(self) -> dict[str, Any]:
        """The rows as plain data, ready for JSON."""
        return {"rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        cells = [("layer", "kernel", "RMS before", "scale", "RMS after")]
        for row in self.rows:
            if row.skipped is None:
                figures = [f"{value:.4g}" for value in (row.before, row.scale, row.after)]
                cells.append((row.layer, row.kernel, *figures))
        notes = [f"{name}: {reason}" for name, reason in self.skipped.items()]
        widths = [max(len(line[i]) for line in cells) for i in range(5)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        ]
        return "\n".join([*lines, *(["left as they were:"] if notes else []), *(f"  {n}" for n in notes)])

    __repr__ = __str__
