"""How TensorBoard's scalars are named and laid out: by figure, and all layers of a figure in one chart."""

from __future__ import annotations

import re
from collections.abc import Collection

from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent

# What is not a figure of the layer's output has its own name in front.
_OF_WEIGHTS = frozenset(
    {"gradient_norm", "weight_norm", "update_ratio", "batch_norm_drift", "skipped_batches"}
)
# Each category's charts, what is looked at first in front.
_CATEGORIES = {
    "Signal: each layer's output": {
        "rms": "RMS",
        "mean": "mean",
        "std": "standard deviation",
        "min": "smallest output",
        "max": "largest output",
        "range": "RMS of the channels' ranges",
    },
    "Silent and saturated units": {
        "dead": "share of channels silent in the whole window",
        "zeros": "share of zeros",
        "saturated": "share of outputs at a bound",
    },
    "Learning": {
        "gradient_norm": "norm of the gradient",
        "update_ratio": "norm of the update over norm of the weights",
        "weight_norm": "norm of the weights",
    },
    "Batch normalisation": {
        "batch_norm_drift": "distance of the moving from the batch's statistics",
        "skipped_batches": "batches skipped as poisoned",
    },
    "Broken numbers": {"nonfinite": "NaN and infinite outputs"},
}


def scalar_tag(figure: str, layer: str) -> str:
    """The name of a chart; TensorBoard groups by what stands before the first slash.

    Example:
        >>> scalar_tag("rms", "block/conv"), scalar_tag("update_ratio", "block/conv")
        ('activation_rms/block/conv', 'update_ratio/block/conv')
    """
    return f"{_group(figure)}/{layer}"


def scalar_layout(figures: Collection[str]) -> Layout:
    """The charts of the page "Custom scalars": one for each figure, with a line for each layer.

    Args:
        figures: The figures that there are; a chart of any other would be empty.
    """
    categories = []
    for title, named in _CATEGORIES.items():
        charts = [_chart(figure, name) for figure, name in named.items() if figure in figures]
        if charts:
            categories.append(Category(title=title, chart=charts))
    known = {figure for named in _CATEGORIES.values() for figure in named}
    others = [_chart(figure, figure) for figure in sorted(set(figures) - known)]
    if others:
        categories.append(Category(title="Other figures", chart=others))
    return Layout(category=categories)


def _chart(figure: str, title: str) -> Chart:
    # A regular expression: lines of layers that are seen later come in by themselves.
    return Chart(title=title, multiline=MultilineChartContent(tag=[f"^{re.escape(_group(figure))}/.*"]))


def _group(figure: str) -> str:
    return figure if figure in _OF_WEIGHTS else f"activation_{figure}"
