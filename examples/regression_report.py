"""What `uncertainty_regression.py` found: a table beside the published figures, lessons, a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

# RMSE, its standard error over 20 splits, log-likelihood, its standard error.
Published = Mapping[str, tuple[float, float, float, float]]
# Of a normal distribution, that many standard deviations around the mean hold this share.
INTERVALS = {0.5: 0.67449, 0.9: 1.64485}


def with_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean over the splits, and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)


def summarize(splits: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each figure."""
    names = ("rmse", "log_likelihood", "rmse_dropout_off", "log_likelihood_dropout_off")
    return {name: with_error([record[name] for record in splits]) for name in names}


def coverage(splits: Sequence[dict[str, Any]]) -> dict[float, float]:
    """How many of the test prices lie within each interval of a normal with variance std^2 + 1 / tau."""
    gaps = [
        np.abs(np.subtract(r["price"], r["mean"])) / np.sqrt(np.square(r["std"]) + 1 / r["tau"])
        for r in splits
    ]
    return {share: float(np.mean(np.concatenate(gaps) <= far)) for share, far in INTERVALS.items()}


def by_doubt(splits: Sequence[dict[str, Any]], parts: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean standard deviation over the passes and the RMSE, of as many equal parts of all test rows."""
    std = np.concatenate([r["std"] for r in splits])
    error = np.concatenate([np.subtract(r["price"], r["mean"]) for r in splits])
    groups = np.array_split(np.argsort(std, kind="stable"), parts)
    return (
        np.array([std[group].mean() for group in groups]),
        np.array([np.sqrt(np.mean(error[group] ** 2)) for group in groups]),
    )


def report(content: dict[str, Any], published: Published) -> str:
    """The table beside the published figures, what was chosen, and what it teaches."""
    splits = content["splits"]
    ours = summarize(splits)
    lines = [("Boston housing, mean and standard error of the splits", "RMSE in 1000 $", "log-likelihood")]
    for name, end in (
        ("this run, Monte Carlo dropout", ""),
        ("this run, dropout off, same tau", "_dropout_off"),
    ):
        lines.append(
            (name, *("{:.2f} +- {:.2f}".format(*ours[part + end]) for part in ("rmse", "log_likelihood")))
        )
    for name, (rmse, rmse_error, ll, ll_error) in published.items():
        lines.append((name, f"{rmse:.2f} +- {rmse_error:.2f}", f"{ll:.2f} +- {ll_error:.2f}"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    chosen = [
        f"{name} chosen on the validation data: "
        + ", ".join(
            f"{value:g} ({count}x)" for value, count in sorted(Counter(r[key] for r in splits).items())
        )
        for name, key in (("rate", "rate"), ("tau", "tau"))
    ]
    return "\n".join([*table, *chosen, "", *lessons(content)])


def lessons(content: dict[str, Any]) -> list[str]:
    """What was learned, from the figures themselves."""
    splits = content["splits"]
    gain = {
        part: with_error([r[part] - r[f"{part}_dropout_off"] for r in splits])
        for part in ("rmse", "log_likelihood")
    }
    covered = coverage(splits)
    _, errors = by_doubt(splits, 5)
    noise = np.mean([1 / r["tau"] for r in splits])
    spread = np.mean(np.concatenate([np.square(r["std"]) for r in splits]))
    largest = max(content["taus"])
    at_edge = sum(r["tau"] == largest for r in splits)
    found = [
        "What was learned:",
        "- Averaging the passes instead of switching the dropout off changes the "
        "RMSE by {:+.2f} +- {:.2f} and the log-likelihood by {:+.2f} +- {:.2f} (at the passes' tau).".format(
            *gain["rmse"], *gain["log_likelihood"]
        ),
        f"- Doubt goes with error: the RMSE is {errors[0]:.2f} on the fifth of the test rows on which the "
        f"passes agree most and {errors[-1]:.2f} on the fifth on which they agree least.",
        f"- Of the predicted variance {spread / (spread + noise):.0%} is the passes', the rest 1 / tau; "
        + " and ".join(f"the {share:.0%} interval holds {held:.0%}" for share, held in covered.items())
        + " of the test prices.",
        f"- {at_edge} of {len(splits)} splits choose the largest tau of the grid.",
    ]
    return found


def draw(content: dict[str, Any], published: Published, path: Path) -> None:
    """Each split beside the published means; predicted prices with their doubt; doubt against error."""
    splits = content["splits"]
    figure = Figure(figsize=(12.0, 7.4), layout="constrained")
    panels = figure.subplots(2, 2)
    for axes, part, place, name in (
        (panels[0][0], "rmse", 0, "RMSE in 1000 $"),
        (panels[0][1], "log_likelihood", 2, "log-likelihood in nats"),
    ):
        _draw_splits(
            axes, splits, part, [(label, *row[place : place + 2]) for label, row in published.items()]
        )
        axes.set_title(f"{name}: splits, mean +- standard error", fontsize=10)
    _draw_prices(panels[1][0], splits[0])
    std, error = by_doubt(splits, 5)
    axes = panels[1][1]
    axes.bar(range(1, 6), error, color="C1", width=0.7)
    for i, (of_passes, height) in enumerate(zip(std, error, strict=True), 1):
        axes.text(i, height, f"sd {of_passes:.2f}", ha="center", va="bottom", fontsize=9)
    axes.set(xlabel="fifths of all test rows, from agreeing to disagreeing passes")
    axes.set(ylabel="RMSE in 1000 $", ylim=(0, 1.12 * error.max()))
    axes.set_title("error, and standard deviation over the passes", fontsize=10)
    figure.savefig(path, dpi=90)


def _draw_splits(axes: Any, splits: Sequence[dict[str, Any]], part: str, published: Sequence[tuple]) -> None:
    rows = [
        ("Monte Carlo dropout", [r[part] for r in splits], "C1"),
        ("dropout off", [r[f"{part}_dropout_off"] for r in splits], "0.5"),
    ]
    height = len(rows) + len(published)
    labels = []
    for place, (name, values, color) in zip(range(height, 0, -1), rows, strict=False):
        axes.plot(values, [place] * len(values), "o", color=color, alpha=0.45, ms=5, mew=0)
        mean, error = with_error(values)
        axes.errorbar(mean, place + 0.25, xerr=error, fmt="D", color=color, capsize=3, ms=6)
        labels.append((place, name))
    for place, (name, mean, error) in zip(range(len(published), 0, -1), published, strict=True):
        axes.errorbar(mean, place, xerr=error, fmt="D", color="C0", capsize=3, ms=6)
        labels.append((place, name.replace(", 20", ",\n20")))
    axes.set_yticks(*zip(*labels, strict=True), fontsize=8)
    axes.set_ylim(0.4, height + 0.7)
    axes.grid(axis="x", alpha=0.3)


def _draw_prices(axes: Any, record: dict[str, Any]) -> None:
    order = np.argsort(record["mean"])
    mean, std, price = (np.array(record[key])[order] for key in ("mean", "std", "price"))
    whole = np.sqrt(std**2 + 1 / record["tau"])
    places = np.arange(1, len(order) + 1)
    axes.fill_between(
        places, mean - 2 * whole, mean + 2 * whole, color="C0", alpha=0.2, lw=0, label="with the noise, 2 sd"
    )
    axes.fill_between(
        places, mean - 2 * std, mean + 2 * std, color="C1", alpha=0.55, lw=0, label="of the passes, 2 sd"
    )
    axes.plot(places, mean, color="C1", lw=1.5, label="mean")
    axes.plot(places, price, "k.", ms=6, label="price")
    axes.set(xlabel="test districts, by predicted price", ylabel="price in 1000 $")
    axes.set_title(f"the test data of split {record['split']}", fontsize=10)
    axes.legend(fontsize=8, loc="upper left", frameon=False)
