"""The picture of a training: layers by steps, in colours that can be read off."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasreg.callbacks.step_grid import StepGrid
from kerasreg.diagnostics.finding import Finding

# Beyond, a layer's signal is lost anyway, and the colours are needed for the rest.
SMALLEST, LARGEST = 1e-8, 1e8
# As many names fit one below the other on a picture that fits a screen twice over.
NAMES = 80
# Inches: what the whole takes (at 100 dots each what TensorBoard shows uncut on a small screen), a panel at
# least and at most, its scale, the room for the scale's numbers, and those above and below.
WIDTH, NARROW, WIDE, BAR, GAP, TOP, BOTTOM = 9.8, 1.4, 3.4, 0.12, 0.62, 0.35, 0.72
# Okabe and Ito's vermilion, in none of the scales, and greys: an exact 0, and nothing at all.
BROKEN, ZERO, NOTHING = "#d55e00", "#8c8c8c", "#f0f0f0"
DPI = 100


@dataclass(frozen=True)
class _Panel:
    figure: str
    title: str
    colours: str
    logarithmic: bool


_PANELS = (
    _Panel("rms", "RMS of the output", "viridis", True),
    _Panel("dead", "dead channels", "YlOrRd", False),
    _Panel("saturated", "outputs at a bound", "YlOrRd", False),
    _Panel("update_ratio", "update / weights", "viridis", True),
)
FIGURES = tuple(panel.figure for panel in _PANELS)


def ill_layers(findings: Iterable[Finding]) -> set[str]:
    """The layers of which something still holds that does not pass by itself."""
    return {finding.layer for finding in findings if finding.cleared is None and finding.severity != "note"}


def draw(grid: StepGrid, ill: Collection[str] = (), layers: Sequence[str] | None = None) -> Any:
    """Draw one panel for each figure that any layer has, with a row for each layer.

    The RMS and the ratio of the update have logarithmic colours, shares go from 0 to 100 %. Grey is exactly 0
    on a logarithmic scale, orange is NaN or infinity, and what was not taken is left pale.

    Args:
        grid: What was observed.
        ill: Layers with a finding: their names are marked.
        layers: The rows, from the top; every layer if None.

    Returns:
        A matplotlib figure, of no window and no global state.
    """
    from matplotlib.figure import Figure

    layers = grid.layers() if layers is None else list(layers)
    panels = [(panel, grid.values(panel.figure, layers)) for panel in _PANELS]
    panels = [(panel, values) for panel, values in panels if np.any(values != None)]  # noqa: E711
    if not panels:
        figure = Figure(figsize=(5, 1.2), dpi=DPI)
        figure.text(0.5, 0.5, "no step was observed yet", ha="center", va="center")
        return figure
    names = [_name(layer, layer in ill) for layer in layers]
    size = 7.5 if len(layers) > 25 else 8.5
    left = 0.2 + 0.0087 * size * max(map(len, names))
    each = min(max((WIDTH - left) / len(panels) - BAR - GAP, NARROW), WIDE)
    width = left + len(panels) * (each + BAR + GAP)
    # Where names are left out, the picture does not grow any more.
    height = min(max(0.165 * len(layers), 1.6), 0.165 * NAMES)
    figure = Figure(figsize=(width, TOP + height + BOTTOM), dpi=DPI)
    inches = _Inches(figure, width, TOP + height + BOTTOM)
    marks: set[str] = set()
    for number, (panel, values) in enumerate(panels):
        start = left + number * (each + BAR + GAP)
        axes = inches.axes(start, BOTTOM, each, height)
        marks |= _map(axes, inches.axes(start + each + 0.06, BOTTOM, BAR, height), panel, values)
        inches.text(start + each / 2, BOTTOM + height + 0.1, panel.title, fontsize=10, ha="center")
        _steps(axes, grid, int(1.7 * each))
        inches.text(start + each / 2, BOTTOM - 0.38, "optimizer's step", fontsize=8.5, ha="center")
    for row in range(0, len(layers), math.ceil(len(layers) / NAMES)):
        ill_look = {"color": BROKEN, "fontweight": "bold"} if layers[row] in ill else {}
        up = BOTTOM + height * (1 - (row + 0.5) / len(layers))
        inches.text(left - 0.07, up, names[row], fontsize=size, ha="right", va="center", **ill_look)
    _legend(figure, marks, bool(set(ill) & set(layers)), grid.stride)
    return figure


def plot(
    earlier: Mapping[int, Sequence[Mapping[str, Any]]],
    history: Sequence[Mapping[str, Any]],
    findings: Iterable[Finding],
    path: str | os.PathLike[str] | None,
) -> Any:
    """Draw a history, with the steps before it that a log folder still has; save it if a path is given."""
    grid = StepGrid(FIGURES)
    layers = {row["layer"]: None for row in history}
    for step, rows in earlier.items():
        if history and step < history[0]["step"]:
            grid.add(step, [row for row in rows if row["layer"] in layers])
    for row in history:
        grid.add(row["step"], [row])
    figure = draw(grid, ill_layers(findings), list(layers))
    if path is not None:
        figure.savefig(path)
    return figure


def png(figure: Any) -> tuple[bytes, int, int]:
    """The figure as a PNG, with its width and height."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    out = io.BytesIO()
    canvas.print_png(out)
    return out.getvalue(), *canvas.get_width_height()


class _Inches:
    """Places things by inches from the lower left: matplotlib's own layout takes longer than all the rest."""

    def __init__(self, figure: Any, width: float, height: float):
        self._figure, self._width, self._height = figure, width, height

    def axes(self, left: float, bottom: float, width: float, height: float) -> Any:
        place = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        return self._figure.add_axes(place)

    def text(self, left: float, bottom: float, words: str, **look: Any) -> None:
        self._figure.text(left / self._width, bottom / self._height, words, **look)


def _map(axes: Any, bar: Any, panel: _Panel, values: np.ndarray) -> set[str]:
    """Draw one figure's heat map and its scale; which of the special colours there are."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    missing = values == None  # noqa: E711
    known = np.where(missing, 0.0, values).astype("float64")
    broken = ~np.isfinite(known)
    zero = panel.logarithmic & (known <= 0) & ~missing
    usable = ~(missing | broken | zero)
    if panel.logarithmic:
        shares = np.log10(np.where(usable, known, 1.0))
        low, high = _ends(shares[usable])
    else:
        shares, low, high = np.where(usable, known, 0.0), 0.0, 1.0
    scale = colormaps[panel.colours]
    colours = scale(np.clip((shares - low) / (high - low), 0, 1))
    special = (("0", zero, ZERO), ("NaN or infinite", broken, BROKEN), ("does not apply", missing, NOTHING))
    for _, where, colour in special:
        colours[where] = to_rgba(colour)
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    axes.set_yticks([])
    bar.imshow(
        np.linspace(0, 1, 128)[:, None], cmap=scale, aspect="auto", origin="lower", extent=(0, 1, low, high)
    )
    bar.set_xticks([])
    bar.yaxis.tick_right()
    ticks = _decades(low, high) if panel.logarithmic else {k / 4: f"{25 * k} %" for k in range(5)}
    bar.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
    return {name for name, where, _ in special if where.any()}


def _ends(logarithms: np.ndarray) -> tuple[float, float]:
    """Ends of a logarithmic scale of at least a decade, so that what hardly differs looks alike."""
    if not logarithms.size:
        return -0.5, 0.5
    low, high = np.clip([logarithms.min(), logarithms.max()], math.log10(SMALLEST), math.log10(LARGEST))
    spare = max(0.0, 1.0 - (high - low)) / 2
    return float(low - spare), float(high + spare)


def _decades(low: float, high: float) -> dict[float, str]:
    """Round numbers between two powers of ten: 1, 10, ... or, on a short scale, 1, 2, 5, ..."""
    steps = (1,) if high - low > 2 else (1, 2, 5)
    every = math.ceil((high - low) / 9)
    powers = [power for power in range(math.floor(low), math.ceil(high) + 1) if power % every == 0]
    numbers = [step * 10.0**power for power in powers for step in steps]
    return {math.log10(n): f"{n:g}" for n in numbers if low <= math.log10(n) <= high}


def _steps(axes: Any, grid: StepGrid, most: int) -> None:
    count = len(grid.steps)
    places = sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})
    axes.set_xticks(places, [str(grid.steps[place]) for place in places], fontsize=8)


def _legend(figure: Any, marks: set[str], any_ill: bool, stride: int) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colours = {"0": ZERO, "NaN or infinite": BROKEN, "does not apply": NOTHING}
    handles = [Patch(label=name, facecolor=colour) for name, colour in colours.items() if name in marks]
    if any_ill:
        handles.append(Line2D([], [], ls="", marker="$!$", color=BROKEN, label="with a finding"))
    if stride > 1:
        handles.append(Line2D([], [], ls="", label=f"{stride} steps a column, the largest RMS shown"))
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8.5)


def _name(layer: str, ill: bool) -> str:
    short = layer if len(layer) <= 34 else "…" + layer[-33:]
    return f"! {short}" if ill else short
