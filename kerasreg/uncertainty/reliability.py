"""Whether what is said with confidence c comes true with frequency c: the curve, its error, its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasreg._core.arguments import Came, choice, integer, refusal
from kerasreg._core.classes import Scored, scored
from kerasreg.metrics.confidence_bins import bin_of, calibration_error, equal_width_edges
from kerasreg.uncertainty.drawing import panel_on, saved

BINNINGS = ("equal_width", "equal_mass")


@dataclass(frozen=True)
class ReliabilityCurve:
    """Confidence and accuracy in bins of the confidence.

    Attributes:
        edges: The bins are (edges[b], edges[b + 1]], the first one with 0; of shape (bins + 1,).
        weight: The weight of each bin's samples, their number where none is given; of shape (bins,).
        confidence: Their mean confidence; NaN in an empty bin.
        accuracy: The share of them that is right; NaN in an empty bin.
    """

    edges: np.ndarray
    weight: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, sum_b n_b / N |accuracy_b - confidence_b|."""
        taken = self.weight > 0
        weight = self.weight[taken]
        confidence, right = weight * self.confidence[taken], weight * self.accuracy[taken]
        return float(calibration_error(weight, confidence, right, np))

    @property
    def maximum_error(self) -> float:
        """The maximum calibration error, the largest gap of a bin that holds something."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))


def reliability_curve(
    y_true: Any,
    y_pred: Any,
    bins: int = 15,
    binning: str = "equal_width",
    label: int | None = None,
    sample_weight: Any = None,
) -> ReliabilityCurve:
    """Confidence and accuracy in bins of the confidence.

    Args:
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Class probabilities of shape (..., classes); or of class 1 alone, (rows,) or (..., 1).
        bins: How many bins.
        binning: `"equal_width"` for bins of width 1 / bins, `"equal_mass"` for as many samples in each;
            equal confidences stay together, so that the order of the rows says nothing.
        label: A class, for its own probability against how often it comes true; None for the class with the
            largest probability, which is Guo's confidence.
        sample_weight: Weights of shape (...), or None.

    Raises:
        ValueError: If the labels are no class numbers, `y_pred` no probabilities, or shapes differ.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017; Nguyen and O'Connor, "Posterior
        calibration and exploratory analysis for natural language processing models", 2015, for equal mass.

    Example:
        >>> curve = reliability_curve([0, 1], [[0.75, 0.25], [0.75, 0.25]], bins=2)
        >>> curve.confidence.tolist(), curve.accuracy.tolist()
        ([nan, 0.75], [nan, 0.5])
    """
    return _curve("reliability_curve", y_true, y_pred, bins, binning, label, sample_weight)


def expected_calibration_error(
    y_true: Any,
    y_pred: Any,
    bins: int = 15,
    binning: str = "equal_width",
    label: int | None = None,
    sample_weight: Any = None,
) -> float:
    """ECE = sum_b n_b / N |accuracy_b - confidence_b| over bins b of the confidence.

    The confidence of a row is its largest class probability. With bins of equal mass this is the adaptive
    calibration error of the top class. Both are biased upwards where bins hold few rows. In training,
    `kr.metrics.ExpectedCalibrationError` adds up the same, batch by batch.

    Args:
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Class probabilities of shape (..., classes); or of class 1 alone, (rows,) or (..., 1).
        bins: How many bins.
        binning: `"equal_width"` or `"equal_mass"`; see `reliability_curve`.
        label: A class, for its own probability; None for the class with the largest.
        sample_weight: Weights of shape (...), or None.

    Returns:
        The error in [0, 1]; less is better.

    Raises:
        ValueError: If the labels are no class numbers, `y_pred` no probabilities, or shapes differ.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3; Nixon et al., "Measuring
        Calibration in Deep Learning", 2019.

    Example:
        >>> expected_calibration_error([0, 1], [[0.75, 0.25], [0.75, 0.25]])
        0.25
    """
    return _curve("expected_calibration_error", y_true, y_pred, bins, binning, label, sample_weight).error


def reliability_diagram(
    y_true: Any,
    y_pred: Any,
    bins: int = 15,
    binning: str = "equal_width",
    label: int | None = None,
    sample_weight: Any = None,
    *,
    ax: Any = None,
    path: Any = None,
) -> Any:
    """Draw accuracy over confidence, with the gap to the diagonal, and how many samples each bin holds.

    Args:
        y_true: Class numbers of shape (...) or (..., 1), or one-hot of shape (..., classes).
        y_pred: Class probabilities of shape (..., classes); or of class 1 alone, (rows,) or (..., 1).
        bins: How many bins.
        binning: `"equal_width"` or `"equal_mass"`; see `reliability_curve`.
        label: A class, for its own probability; None for the class with the largest.
        sample_weight: Weights of shape (...), or None.
        ax: A matplotlib `Axes` to draw the diagram into; None for a figure of its own, which has a panel more
            with the samples' share of each bin.
        path: Where to save the picture; it is not saved if None.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the labels are no class numbers, `y_pred` no probabilities, or shapes differ.

    Source:
        DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", 1983; Guo et al., 2017.

    Example:
        >>> figure = reliability_diagram([0, 1], [[0.75, 0.25], [0.75, 0.25]])
        >>> figure.axes[0].get_xlabel(), figure.axes[-1].get_xlabel()
        ('', 'confidence')
    """
    curve = _curve("reliability_diagram", y_true, y_pred, bins, binning, label, sample_weight)
    figure, diagram, shares = panel_on("reliability_diagram", ax, (4.4, 5.2), lower=True)
    taken = curve.weight > 0
    left, width = curve.edges[:-1][taken], np.diff(curve.edges)[taken]
    bars = {"align": "edge", "linewidth": 0.6, "edgecolor": "white"}
    accuracy, confidence = curve.accuracy[taken], curve.confidence[taken]
    diagram.bar(left, accuracy, width, color="C0", label="accuracy", **bars)
    diagram.bar(
        left, confidence - accuracy, width, bottom=accuracy, color="C3", alpha=0.3, label="gap", **bars
    )
    diagram.plot([0, 1], [0, 1], "--", color="0.35", lw=1, label="as often as it says")
    words = f"ECE {curve.error:.3f}, largest gap {curve.maximum_error:.3f}"
    of = "right" if label is None else f"class {label}"
    diagram.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"share that is {of}", title=words)
    diagram.title.set_fontsize(10)
    diagram.grid(alpha=0.25)
    diagram.set_axisbelow(True)
    diagram.legend(frameon=False, fontsize=8, loc="upper left")
    if shares is not None:
        shares.bar(left, curve.weight[taken] / curve.weight.sum(), width, color="0.55", **bars)
        shares.set(ylabel="of all rows")
        shares.grid(alpha=0.25)
        shares.set_axisbelow(True)
    (diagram if shares is None else shares).set_xlabel(
        "confidence" if label is None else f"probability of class {label}"
    )
    return saved(figure, path)


def _curve(
    owner: str, y_true: Any, y_pred: Any, bins: int, binning: str, label: int | None, sample_weight: Any
) -> ReliabilityCurve:
    bins = integer(owner, "bins", bins, low=1)
    choice(owner, "binning", binning, BINNINGS)
    rows = scored(owner, y_true, y_pred, sample_weight)
    confidence, right = _said_and_right(owner, rows, label)
    if binning == "equal_width":
        edges = equal_width_edges(bins)
    else:
        edges = _equal_mass_edges(confidence, rows.weights, bins)
    # In the predictions' own type: what a float32 calls 0.7 lies on the edge 0.7.
    number = bin_of(confidence, edges.astype(confidence.dtype), np)
    weight, said, true = (
        np.bincount(number, figures, minlength=bins)
        for figures in (rows.weights, rows.weights * confidence, rows.weights * right)
    )
    with np.errstate(invalid="ignore"):
        return ReliabilityCurve(np.array([0.0, *edges, 1.0]), weight, said / weight, true / weight)


def _said_and_right(owner: str, rows: Scored, label: int | None) -> tuple[np.ndarray, np.ndarray]:
    if label is None:
        return rows.values.max(axis=1), rows.values.argmax(axis=1) == rows.labels
    label, classes = integer(owner, "label", label, low=0), rows.values.shape[1]
    if label >= classes:
        raise refusal(owner, "label", f"None or a class from 0 to {classes - 1}", Came(str(label)))
    return rows.values[:, label], rows.labels == label


def _equal_mass_edges(confidence: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """The smallest confidences below which b / bins of the weight lies, b = 1 ... bins - 1."""
    order = np.argsort(confidence, kind="stable")
    below = np.cumsum(weights[order])
    # Multiplied out: numbers of rows stay whole numbers.
    places = np.searchsorted(below * bins, np.arange(1, bins) * below[-1])
    return confidence[order][places]
