"""Figures without pyplot: into the axes that were given, or on a figure of their own."""

from __future__ import annotations

from typing import Any

from kerasreg._core.arguments import refusal


def panel_on(owner: str, ax: Any, size: tuple[float, float], lower: bool = False) -> tuple[Any, Any, Any]:
    """A figure, the panel to draw on, and a low panel under it, or None.

    Args:
        owner: Whose argument `ax` is, for an error's sentence.
        ax: A matplotlib `Axes`, or None for a new figure.
        size: Of a new figure, in inches.
        lower: Whether a new figure has a second panel under the first, with the same axis.
    """
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        if not lower:
            return figure, figure.subplots(), None
        upper, under = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        return figure, upper, under
    if not hasattr(ax, "get_figure") or not hasattr(ax, "plot"):
        raise refusal(owner, "ax", "a matplotlib Axes or None", ax)
    return ax.get_figure(), ax, None


def saved(figure: Any, path: Any) -> Any:
    """The figure, after it was saved where a path is given."""
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
