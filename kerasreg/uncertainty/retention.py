"""How right a model is on what is left when it may say "I do not know"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.classes import as_floats, scored
from kerasreg.uncertainty.drawing import panel_on, saved
from kerasreg.uncertainty.entropy import entropy

# More than a screen has columns.
_DRAWN = 1000


@dataclass(frozen=True)
class RetentionCurve:
    """Accuracy on the rows that are kept, as the most uncertain ones are rejected.

    Attributes:
        rejected: The share of the rows that is rejected, 0, 1 / N, ... (N - 1) / N.
        accuracy: The accuracy on the rest, of the same shape.
        oracle: The accuracy if all wrong rows went first, which nothing betters.
    """

    rejected: np.ndarray
    accuracy: np.ndarray
    oracle: np.ndarray

    @property
    def area(self) -> float:
        """The mean accuracy over all rejected shares; that of all rows if the doubt says nothing."""
        return float(self.accuracy.mean())

    def at(self, rejected: float) -> float:
        """The accuracy when at least this share is rejected."""
        place = int(np.searchsorted(self.rejected, rejected - 1e-12))
        return float(self.accuracy[min(place, len(self.accuracy) - 1)])


def retention_curve(y_true: Any, y_pred: Any, uncertainty: Any = None) -> RetentionCurve:
    """Accuracy against the share of the rows that is rejected, the most uncertain first.

    Rows of the same uncertainty go in an order that is left open: the curve is the average over all of them.

    Args:
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Class probabilities of shape (..., classes); or of class 1 alone, (rows,) or (..., 1).
        uncertainty: A number for each row, larger for more doubt, such as `Prediction.mutual_information`;
            by default the entropy of `y_pred`.

    Raises:
        ValueError: If the labels are no class numbers, `y_pred` no probabilities, or shapes differ.

    Source:
        Nadeem, Zucker and Hanczar, "Accuracy-Rejection Curves (ARCs) for Comparing Classification Methods
        with a Reject Option", 2010.

    Example:
        >>> curve = retention_curve([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
        >>> curve.rejected.tolist(), curve.accuracy.tolist()
        ([0.0, 0.25, 0.5, 0.75], [0.75, 1.0, 1.0, 1.0])
    """
    owner = "retention_curve"
    rows = scored(owner, y_true, y_pred)
    if uncertainty is None:
        doubt = entropy(rows.values)
    else:
        doubt = as_floats(owner, "uncertainty", uncertainty, "numbers")
        if doubt.size != len(rows.labels):
            allowed = f"one number for each of {len(rows.labels)} rows"
            raise refusal(owner, "uncertainty", allowed, Came(f"shape {doubt.shape}"))
        doubt = doubt.reshape(-1)
    right = (rows.values.argmax(axis=1) == rows.labels).astype("float64")
    # From the least doubt on; each group of one doubt counts with its average.
    _, group = np.unique(doubt, return_inverse=True)
    group = group.reshape(-1)
    average = np.bincount(group, right) / np.bincount(group)
    total = len(right)
    kept = np.arange(total, 0, -1)
    accuracy = np.cumsum(average[np.sort(group)])[::-1] / kept
    oracle = np.minimum(right.sum(), kept) / kept
    return RetentionCurve(np.arange(total) / total, accuracy, oracle)


def plot_retention_curve(
    curves: RetentionCurve | Mapping[str, RetentionCurve], *, ax: Any = None, path: Any = None
) -> Any:
    """Draw accuracy against the rejected share, for one or several kinds of doubt about the same predictions.

    Args:
        curves: What `retention_curve` gave; several by name. The best curve is that of each one's own
            predictions, drawn once where they are the same.
        ax: A matplotlib `Axes` to draw into; None for a figure of its own.
        path: Where to save the picture; it is not saved if None.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `curves` holds something else.

    Example:
        >>> curve = retention_curve([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
        >>> figure = plot_retention_curve({"entropy": curve})
        >>> figure.axes[0].get_ylabel()
        'accuracy on the rest'
    """
    owner = "plot_retention_curve"
    named = curves if isinstance(curves, Mapping) else {"": curves}
    if not named or not all(isinstance(curve, RetentionCurve) for curve in named.values()):
        raise refusal(owner, "curves", "a RetentionCurve, or a dict of them by name", curves)
    figure, panel, _ = panel_on(owner, ax, (5.4, 3.6))
    oracles: list[np.ndarray] = []
    for i, (name, curve) in enumerate(named.items()):
        places = np.unique(np.linspace(0, len(curve.rejected) - 1, _DRAWN).round().astype(int))
        x = curve.rejected[places]
        words = f"{name}, mean {curve.area:.3f}" if name else f"mean {curve.area:.3f}"
        panel.plot(x, curve.accuracy[places], color=f"C{i}", lw=1.6, label=words)
        if not any(np.array_equal(curve.oracle, known) for known in oracles):
            first = not oracles
            oracles.append(curve.oracle)
            style = {"color": "0.35" if len(named) == 1 or first else f"C{i}", "lw": 1}
            panel.plot(x, curve.oracle[places], "--", label="wrong ones first" if first else None, **style)
            panel.axhline(curve.accuracy[0], ls=":", label="at random" if first else None, **style)
    panel.set(xlim=(0, 1), xlabel="share of the rows rejected", ylabel="accuracy on the rest")
    panel.grid(alpha=0.25)
    # Above: inside, every corner is somebody's curve.
    panel.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return saved(figure, path)
