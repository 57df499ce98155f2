"""The picture of a check: the signal forwards and the gradient backwards, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kerasreg.diagnostics.figures import KernelFigures
from kerasreg.diagnostics.finding import Finding

# Names that fit side by side below the picture; of more, every second or third is written.
NAMES = 40
# Beyond, all but the trend is lost: so far apart are the ends of the axis at most.
DECADES = 20.0


def draw(rows: Sequence[KernelFigures], findings: Sequence[Finding], path: str | None) -> Any:
    """Draw the figures of a check's kernels; the matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    known = any(row.gradient is not None for row in rows)
    width = min(13.0, max(6.0, 1.5 + 0.22 * len(rows)))
    figure = Figure(figsize=(width, 5.8 if known else 3.6), layout="constrained")
    panels = figure.subplots(2 if known else 1, 1, sharex=True, squeeze=False)[:, 0]
    places = list(range(len(rows)))
    signal = panels[0]
    _line(signal, places, [row.output_rms for row in rows], "o-", ms=4, color="C0", label="measured")
    predicted = [row.predicted_rms for row in rows]
    _line(signal, places, predicted, "x--", ms=5, lw=1, color="0.35", label="predicted, √(n Var(w) E[x²])")
    signal.set_ylabel("RMS of the linear output")
    if known:
        gradients = [row.gradient for row in rows]
        _line(panels[1], places, gradients, "s-", ms=4, color="C3", label="gradient")
        panels[1].set_ylabel("norm of the gradient")
    ill = {finding.layer for finding in findings}
    for panel in panels:
        _frame(panel)
        for place in (place for place, row in zip(places, rows, strict=True) if row.layer in ill):
            panel.axvspan(place - 0.5, place + 0.5, color="C1", alpha=0.18, lw=0)
    handles, _ = signal.get_legend_handles_labels()
    if ill & {row.layer for row in rows}:
        handles.append(Patch(color="C1", alpha=0.18, lw=0, label="with a finding"))
    figure.legend(handles=handles, frameon=False, fontsize=8, ncols=3, loc="outside upper left")
    every = math.ceil(len(rows) / NAMES) or 1
    names = [_name(row) for row in rows]
    panels[-1].set_xticks(places[::every], names[::every], rotation=90, fontsize=7)
    panels[-1].set_xlim(-0.7, len(rows) - 0.3)
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def _line(panel: Any, places: Sequence[int], values: Sequence[float | None], style: str, **look: Any) -> None:
    """A line over the layers, with marks on the edges for what a logarithm cannot show."""
    drawable = [value if value and math.isfinite(value) else math.nan for value in values]
    panel.plot(places, drawable, style, **look)
    given = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
    low = [place for place, value in given if value == 0]
    high = [place for place, value in given if not math.isfinite(value)]
    for edge, found, mark in ((0.0, low, "v"), (1.0, high, "^")):
        if found:
            over = {"transform": panel.get_xaxis_transform(), "clip_on": False, "ms": 6}
            panel.plot(found, [edge] * len(found), mark, color=look["color"], **over)


def _frame(panel: Any) -> None:
    """A logarithmic axis of at least a decade, also where there is nothing to show."""
    values = [v for line in panel.lines for v in line.get_ydata() if line.get_marker() not in ("v", "^")]
    values = [math.log10(value) for value in values if value > 0]
    low, high = (min(values), max(values)) if values else (-1.0, 1.0)
    middle, half = (low + high) / 2, max(0.55 * (high - low) + 0.1, 0.5)
    if high - low > DECADES:
        high = min(high, DECADES / 2 + max(low, -DECADES / 2))
        low = max(low, high - DECADES)
        middle, half = (low + high) / 2, (high - low) / 2
    panel.set_yscale("log")
    panel.set_ylim(10 ** (middle - half), 10 ** (middle + half))
    panel.grid(alpha=0.25)


def _name(row: KernelFigures) -> str:
    return row.layer if len(row.layer) <= 28 else "…" + row.layer[-27:]
