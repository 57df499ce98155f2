"""What the runs of `uncertainty_images.py` say: a table, what was learned, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

SCORES = {
    "entropy": "entropy",
    "mutual_information": "mutual information",
    "entropy_dropout_off": "entropy, dropout off",
}
COLORS = {"entropy": "C0", "mutual_information": "C1", "entropy_dropout_off": "0.6"}


def tabulate(content: dict[str, Any]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """For each kind of images and each figure the median AUROC over the nets, the lowest and the highest."""
    table: dict[str, dict[str, tuple[float, float, float]]] = {}
    for kind in dict.fromkeys(kind for net in content["nets"] for kind in net["auroc"]):
        nets = [net["auroc"][kind] for net in content["nets"] if kind in net["auroc"]]
        table[kind] = {}
        for score in SCORES:
            values = [net[score] for net in nets]
            table[kind][score] = (float(np.median(values)), min(values), max(values))
    return table


def report(content: dict[str, Any]) -> str:
    """The AUROCs, the turning digits, and what they teach."""
    nets = content["nets"]
    lines = [("AUROC of", *SCORES.values())]
    for kind, scores in tabulate(content).items():
        cells = (
            f"{middle:.3f}" + (f" ({low:.3f} to {high:.3f})" if low != high else "")
            for middle, low, high in scores.values()
        )
        lines.append((kind, *cells))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    accuracy = ", ".join(f"{net['accuracy']:.1%}" for net in nets)
    title = f"test accuracy {accuracy}; median of {len(nets)} nets (lowest to highest)"
    return "\n".join([title, *table, "", *lessons(content)])


def turned_means(nets: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The figures of the turned digits, averaged over the nets."""
    return [
        {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for rows in zip(*(net["turned"] for net in nets), strict=True)
    ]


def lessons(content: dict[str, Any]) -> list[str]:
    """What was learned, from the figures themselves."""
    table = {
        kind: {score: values[0] for score, values in scores.items()}
        for kind, scores in tabulate(content).items()
    }
    strangers = {kind: row for kind, row in table.items() if not kind.startswith("wrong")}
    best = max(strangers, key=lambda kind: strangers[kind]["mutual_information"])
    worst = min(strangers, key=lambda kind: strangers[kind]["mutual_information"])
    gains = {kind: row["mutual_information"] - row["entropy_dropout_off"] for kind, row in strangers.items()}
    most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    informed = [kind for kind, row in strangers.items() if row["mutual_information"] > row["entropy"]]
    upright, *turned = turned_means(content["nets"])
    doubted = max(turned, key=_doubt)
    trusted = min((row for row in turned if row["accuracy"] < 0.5), key=_doubt, default=doubted)
    wrong = ", ".join(str(net["wrong"]) for net in content["nets"])
    most_doubt, least_doubt = _doubt(doubted) / _doubt(upright), _doubt(trusted) / _doubt(doubted)
    return [
        "What was learned:",
        f"- Strangers are told from digits, best {best} (mutual "
        f"information {table[best]['mutual_information']:.3f}), worst {worst} "
        f"({table[worst]['mutual_information']:.3f}).",
        "- Against one pass without dropout, the mutual information gains most for "
        f"{most} ({gains[most]:+.3f}), least for {least} ({gains[least]:+.3f}).",
        f"- It beats the entropy of the same passes for {', '.join(informed) if informed else 'none'}.",
        f"- A digit turned by {doubted['degrees']:.0f} degrees is doubted {most_doubt:.0f} times as much as "
        f"upright; {doubted['accuracy']:.0%} are read right.",
        f"- Doubt is no proof: turned by {trusted['degrees']:.0f} degrees only {trusted['accuracy']:.0%} are "
        f"read right, with {least_doubt:.0%} of that doubt.",
        f"- So few test digits are misread ({wrong} of {content['images']['test digits']}) that their AUROC "
        "is a rough figure.",
    ]


def _doubt(row: dict[str, float]) -> float:
    return row["expected_entropy"] + row["mutual_information"]


def choose(kinds: dict[str, np.ndarray], said: dict[str, Any], labels: np.ndarray, each: int) -> list[Any]:
    """The rows of the picture: a title, and the images with what was said of them."""
    names, rng = list(kinds), np.random.default_rng(1)
    known = said[names[0]]
    order = np.argsort(known["entropy"], kind="stable")
    # A certain image of each class, as far as there is room, so that not all of them are the same digit.
    certain = [next(i for i in order if labels[i] == digit) for digit in range(each)]
    uncertain = list(order[::-1][:each])
    some = np.linspace(0, len(labels) - 1, each).astype(int)
    rows = [
        ("certain test digits", names[0], certain),
        ("uncertain test digits", names[0], uncertain),
        ("turned by 90 degrees", names[1], list(some)),
    ]
    for title, name in (("letters", names[2]), ("photographs", names[3]), ("shuffled pixels", names[4])):
        rows.append((title, name, list(rng.choice(len(kinds[name]), each, replace=False))))
    return rows


def draw(
    content: dict[str, Any],
    kinds: dict[str, np.ndarray],
    said: dict[str, Any],
    labels: np.ndarray,
    path: Path,
) -> None:
    """The images with the net's doubt about them; below, the turning digits and the AUROCs."""
    each = 9
    rows = choose(kinds, said, labels, each)
    figure = Figure(figsize=(10.6, 13.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.1, 1))
    upper.suptitle(
        "what the net takes each image for (red: wrongly), how surely, and the mutual information in nats",
        fontsize=11,
    )
    panels = upper.subplots(len(rows), each)
    for line, (title, name, chosen) in zip(panels, rows, strict=True):
        for axes, i in zip(line, chosen, strict=True):
            p = said[name]["probabilities"][i]
            information = said[name]["mutual_information"][i]
            axes.imshow(kinds[name][i, ..., 0], cmap="gray_r", vmin=0, vmax=255)
            wrong = name in list(kinds)[:2] and p.argmax() != labels[i]
            axes.set_title(
                f"{p.argmax()}: {p.max():.0%}\n{information:.2f}",
                fontsize=9,
                color="tab:red" if wrong else "black",
            )
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(title, fontsize=9)
    turning, bars = lower.subplots(1, 2)
    _draw_turning(turning, content["nets"])
    _draw_bars(bars, tabulate(content))
    figure.savefig(path, dpi=80)


def _draw_turning(axes: Any, nets: list[dict[str, Any]]) -> None:
    rows = turned_means(nets)
    degrees, accuracy, expected, information = (
        np.array([row[key] for row in rows])
        for key in ("degrees", "accuracy", "expected_entropy", "mutual_information")
    )
    names = ("mutual information", "expected entropy")
    # The colours of the bars beside it: C1 is the mutual information there too.
    shades = axes.stackplot(degrees, information, expected, colors=("C1", "lightsteelblue"))
    axes.set(xlabel="degrees turned", ylabel="doubt in nats", xlim=(0, 180), xticks=range(0, 181, 30))
    axes.set_title("test digits, turned: the entropy in its two parts", fontsize=10)
    right = axes.twinx()
    (line,) = right.plot(degrees, 100 * accuracy, "k.-")
    right.set(ylabel="accuracy, %", ylim=(0, 105))
    axes.legend(
        [*shades, line],
        [*names, "accuracy"],
        fontsize=8,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=3,
        frameon=False,
    )


def _draw_bars(axes: Any, table: dict[str, dict[str, tuple[float, float, float]]]) -> None:
    places = np.arange(len(table))[::-1]
    for k, (score, name) in enumerate(SCORES.items()):
        middle, low, high = np.array([scores[score] for scores in table.values()]).T
        axes.barh(
            places + 0.26 * (1 - k),
            middle,
            0.24,
            xerr=(middle - low, high - middle),
            color=COLORS[score],
            label=name,
            error_kw={"lw": 1},
        )
    axes.set_yticks(places, [_two_lines(kind) for kind in table], fontsize=8)
    axes.set(xlim=(0.5, 1.0), xlabel="AUROC (0.5 by chance)")
    axes.set_title("told from test digits", fontsize=10)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False)


def _two_lines(kind: str) -> str:
    words = kind.split()
    return (
        " ".join(words[: len(words) // 2]) + "\n" + " ".join(words[len(words) // 2 :]) if words[1:] else kind
    )
