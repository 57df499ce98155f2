"""What the runs of `batch_norm_ladder.py` say: a table beside the paper's, verdicts, a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter


class Row(NamedTuple):
    """A rung of the ladder, and what the paper says of it: steps to 72.2 %, and the best accuracy in %."""

    name: str
    batch_norm: bool
    rate_factor: int
    activation: str
    paper_steps: float
    paper_best: float
    color: str


ROWS = (
    Row("Baseline", False, 1, "relu", 31.0e6, 72.2, "black"),
    Row("BN-Baseline", True, 1, "relu", 13.3e6, 72.7, "tab:red"),
    Row("BN-x5", True, 5, "relu", 2.1e6, 73.0, "tab:blue"),
    Row("BN-x30", True, 30, "relu", 2.7e6, 74.8, "tab:cyan"),
    Row("BN-x5-Sigmoid", True, 5, "sigmoid", math.inf, 69.8, "tab:orange"),
    # In the paper's text only: no better than chance, which is one in a thousand.
    Row("Sigmoid without BN", False, 1, "sigmoid", math.inf, 0.1, "tab:gray"),
)


class Run(NamedTuple):
    """One training, and its test accuracy at every evaluation."""

    row: str
    base_rate: float
    seed: int
    accuracy: tuple[float, ...] = ()


def steps_to_reach(accuracy: Sequence[float], target: float, every: int) -> float:
    """The step of the first evaluation with `target` or more; infinity where none has it."""
    return next((every * i for i, value in enumerate(accuracy, 1) if value >= target), math.inf)


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def tabulate(runs: Sequence[Run], base_rate: float, every: int) -> dict[str, dict[str, Any]]:
    """For each row: steps to the best accuracy of the same seed's baseline, and its own best in %."""
    curves = {(run.row, run.seed): run.accuracy for run in runs if run.base_rate == base_rate}
    seeds = sorted({seed for _, seed in curves})
    table = {}
    for row in ROWS:
        steps = [steps_to_reach(curves[row.name, s], max(curves["Baseline", s]), every) for s in seeds]
        best = [100 * max(curves[row.name, s]) for s in seeds]
        table[row.name] = {"steps": spread(steps), "best": spread(best)}
    for figures in table.values():
        figures["ratio"] = table["Baseline"]["steps"]["median"] / figures["steps"]["median"]
    return table


def verdicts(table: dict[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """What the paper found, with the medians that speak for or against it, and whether they speak for it."""
    base, bn, x5, x30, *_ = (table[row.name]["steps"]["median"] for row in ROWS)
    best_base, *best_bn, best_sigmoid_bn, best_sigmoid = (table[row.name]["best"]["median"] for row in ROWS)
    bests = ", ".join(f"{best:.1f}" for best in best_bn)
    return [
        (bn <= base / 1.5, f"BN alone saves a third of the steps or more: {count(bn)} for {count(base)}"),
        (x5 <= bn / 1.5, f"5 times the rate saves a third of those or more: {count(x5)} for {count(bn)}"),
        (
            x5 <= x30 <= bn,
            f"30 times the rate lies between, or level: {count(x5)}, {count(x30)}, {count(bn)}",
        ),
        (min(best_bn) > best_base, f"with BN all ReLU rows end higher: {bests} % above {best_base:.1f} %"),
        (best_sigmoid <= 15, f"without BN the sigmoid stays at chance, 15 % at most: {best_sigmoid:.1f} %"),
        (best_sigmoid_bn >= 70, f"with BN it learns, 70 % at least: {best_sigmoid_bn:.1f} %"),
    ]


def count(steps: float) -> str:
    if steps == math.inf:
        return "never"
    return f"{steps / 1e6:.1f}e6" if steps >= 1e6 else f"{steps:.0f}"


def report(ladder: dict[str, Any]) -> str:
    """The table beside the paper's, and the verdicts."""

    def figures(values: dict[str, float], form: Callable[[float], str]) -> str:
        low, high = form(values["low"]), form(values["high"])
        return form(values["median"]) + (f" ({low} to {high})" if low != high else "")

    def ratio(value: float) -> str:
        return f"{value:.1f}x" if value else "-"

    lines = [("", "steps to the baseline's best", "", "best, %", "2015: steps", "", "best, %")]
    for row in ROWS:
        ours = ladder["table"][row.name]
        steps, best = figures(ours["steps"], count), figures(ours["best"], "{:.1f}".format)
        paper = (
            count(row.paper_steps),
            ratio(ROWS[0].paper_steps / row.paper_steps),
            f"{row.paper_best:.1f}",
        )
        lines.append((row.name, steps, ratio(ours["ratio"]), best, *paper))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    said = [f"{'reproduced' if holds else 'NOT REPRODUCED'}: {words}" for holds, words in ladder["verdicts"]]
    seeds = len(ladder["seeds"])
    title = f"base learning rate {ladder['base_rate']}, median of {seeds} seeds (lowest to highest)"
    return "\n".join([title, *table, *said])


def draw(ladders: Sequence[dict[str, Any]], runs: Sequence[Run], every: int, path: Path) -> None:
    """Accuracy against steps as a PNG: median and range, and a dot where the baseline's best is reached."""
    figure = Figure(figsize=(max(7.0, 5.4 * len(ladders)), 4.6), layout="constrained")
    panels = figure.subplots(1, len(ladders), sharey=True, squeeze=False)[0]
    for axes, ladder in zip(panels, ladders, strict=True):
        table, lowest = ladder["table"], 60
        target = table["Baseline"]["best"]["median"]
        axes.axhline(target, color="black", linestyle=":", linewidth=1)
        axes.text(1.05 * every, target + 0.4, "the baseline's best", clip_on=True)
        for size, row in zip(range(11, 5, -1), ROWS, strict=True):  # Dots that meet become rings.
            mine = [run for run in runs if run.row == row.name and run.base_rate == ladder["base_rate"]]
            curves = 100 * np.array([run.accuracy for run in mine if run.seed in ladder["seeds"]])
            steps = every * np.arange(1, curves.shape[1] + 1)
            axes.plot(steps, np.median(curves, axis=0), color=row.color, label=row.name)
            axes.fill_between(
                steps, *np.percentile(curves, [0, 100], axis=0), color=row.color, alpha=0.15, linewidth=0
            )
            axes.plot(
                table[row.name]["steps"]["median"], target, "o", color=row.color, markersize=size, zorder=3
            )
            if curves.max() < lowest:
                axes.text(
                    steps[-1], lowest + 0.5, f"{row.name}: {curves.max():.0f} % ", color=row.color, ha="right"
                )
        axes.set(title=f"base learning rate {ladder['base_rate']}", xlabel="training steps", xscale="log")
        axes.set(ylim=(lowest, None), xlim=(every, 1.08 * steps[-1]))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3 * len(ladders))
    figure.savefig(path, dpi=90)
