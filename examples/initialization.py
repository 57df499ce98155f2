"""Thirty layers under eight initialisations: the signal through depth, the gradient back, and who learns.

python examples/initialization.py            about six minutes
python examples/initialization.py --quick    does it run?
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"
# He and Calibrated are the same weights for a ReLU: one is dashed, so that both are seen.
STYLES = {"calibrate": {"lw": 2.6, "alpha": 0.8}, "He": {"lw": 2.2}, "Calibrated": {"lw": 1.4, "ls": "--"}}
LABELS = {
    "zeros": "zeros",
    "constant": "constant 0.05",
    "N(0, 0.01)": "normal, standard deviation 0.01",
    "N(0, 1)": "normal, standard deviation 1",
    "Glorot": "glorot_uniform",
    "He": "he_normal",
    "Calibrated": "Calibrated(activation)",
    "calibrate": "glorot_uniform, then kr.calibrate",
}


def initializers(activation: str) -> dict[str, Callable[[int], Any]]:
    """For each name what makes the initializer of the layer with this number."""
    return {
        "zeros": lambda seed: keras.initializers.Zeros(),
        "constant": lambda seed: keras.initializers.Constant(0.05),
        "N(0, 0.01)": lambda seed: keras.initializers.RandomNormal(stddev=0.01, seed=seed),
        "N(0, 1)": lambda seed: keras.initializers.RandomNormal(stddev=1.0, seed=seed),
        "Glorot": lambda seed: keras.initializers.GlorotUniform(seed=seed),
        "He": lambda seed: keras.initializers.HeNormal(seed=seed),
        "Calibrated": lambda seed: kr.initializers.Calibrated(activation, seed=seed),
        "calibrate": lambda seed: keras.initializers.GlorotUniform(seed=seed),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--activations", nargs="+", default=["relu", "gelu"], help="names of Keras activations"
    )
    parser.add_argument("--depth", type=int, default=30, help="hidden layers")
    parser.add_argument("--width", type=int, default=128, help="units in each")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the digits")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each net")
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON file and the picture")
    parser.add_argument("--quick", action="store_true", help="few layers, units and steps: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.depth, args.width, args.epochs, args.seeds = 6, 32, 1, 1
        args.activations = args.activations[:1]
    return args


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits as rows of pixels in [0, 255], with their labels."""
    pairs = list(kr.datasets.load("digits", split).as_numpy_iterator())
    images = np.stack([image for image, _ in pairs]).reshape(len(pairs), -1).astype("float32")
    return images, np.array([label for _, label in pairs])


def build(make: Callable[[int], Any], activation: str, features: int, args: argparse.Namespace, seed: int):
    """A plain deep net; its output layer is the same in every one."""
    layers = [
        keras.layers.Dense(args.width, activation, kernel_initializer=make(1000 * seed + i), name=f"h{i}")
        for i in range(args.depth)
    ]
    out = keras.layers.Dense(
        10, kernel_initializer=kr.initializers.Calibrated(activation, seed=seed), name="out"
    )
    model = keras.Sequential([keras.Input((features,), name="digits"), *layers, out])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-4, clipnorm=1.0), loss, metrics=["accuracy"])
    return model


def study(name: str, activation: str, data: Any, args: argparse.Namespace) -> dict[str, Any]:
    """One initialisation: the look before training, then the accuracies."""
    (x, y), (test_x, test_y) = data
    accuracies, report = [], None
    for seed in range(args.seeds):
        keras.utils.set_random_seed(seed)
        model = build(initializers(activation)[name], activation, x.shape[1], args, seed)
        if name == "calibrate":
            kr.calibrate(model, x[:256], exclude=["out"])
        if seed == 0:
            report = kr.check(model, x[:256], y[:256])
        model.fit(x, y, batch_size=32, epochs=args.epochs, verbose=0)
        accuracies.append(float(model.evaluate(test_x, test_y, verbose=0, return_dict=True)["accuracy"]))
    rows = [row for row in report.figures.kernels if row.layer != "out"]
    return {
        "initialisation": name,
        "activation": activation,
        "signal": [row.output_rms for row in rows],
        "gradient": [row.gradient for row in rows],
        "findings": list(dict.fromkeys(f"{found.code} in {found.layer}" for found in report.findings)),
        "accuracies": accuracies,
    }


def summary(findings: list[str]) -> list[str]:
    """One entry for each code: the first layer, and how many more."""
    layers: dict[str, list[str]] = {}
    for code, layer in (finding.split(" in ") for finding in findings):
        layers.setdefault(code, []).append(layer)
    return [
        f"{code} in {found[0]}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
        for code, found in layers.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """First and last layer's signal, last to first layer's gradient, accuracy, findings."""
    header = ("activation", "initialisation", "signal, first", "last layer", "gradient, first", "last layer")
    cells = [(*header, "test accuracy", "kr.check says")]
    for row in rows:
        mean, spread = np.mean(row["accuracies"]), np.std(row["accuracies"])
        ends = (row["signal"][0], row["signal"][-1], row["gradient"][0], row["gradient"][-1])
        said = ", ".join(summary(row["findings"])) or "-"
        cells.append(
            (
                row["activation"],
                row["initialisation"],
                *(f"{value:.1e}" for value in ends),
                f"{mean:.1%} +- {spread:.1%}",
                said,
            )
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def verdict(rows: list[dict[str, Any]]) -> str:
    """Where calibrating by data beat the initializer, and where not, from the figures themselves."""
    lines = []
    for activation in dict.fromkeys(row["activation"] for row in rows):
        mean = {r["initialisation"]: np.mean(r["accuracies"]) for r in rows if r["activation"] == activation}
        best = max(("Glorot", "He", "Calibrated"), key=mean.__getitem__)
        gap = mean["calibrate"] - mean[best]
        word = "helps" if gap > 0.01 else "does not help" if gap < 0.01 and gap > -0.01 else "hurts"
        lines.append(
            f"{activation}: kr.calibrate {word} against {best} "
            f"({mean['calibrate']:.1%} against {mean[best]:.1%})"
        )
    lines.append(
        "Where it cannot help: zeros and constants (one scale per kernel breaks no symmetry), nets with a "
        "normalisation after each layer (it takes the scale out again), shallow nets (nothing has built up)."
    )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Signal forwards and gradient backwards, a row of panels for each activation."""
    from matplotlib.figure import Figure

    activations = list(dict.fromkeys(row["activation"] for row in rows))
    figure = Figure(figsize=(9.0, 0.6 + 2.9 * len(activations)), layout="constrained")
    panels = figure.subplots(len(activations), 2, squeeze=False, sharex=True)
    for line, activation in zip(panels, activations, strict=True):
        for i, row in enumerate(r for r in rows if r["activation"] == activation):
            style = {"color": f"C{i}", **STYLES.get(row["initialisation"], {"lw": 1.3})}
            places = range(1, len(row["signal"]) + 1)
            for panel, key in zip(line, ("signal", "gradient"), strict=True):
                values = [v if v and math.isfinite(v) else math.nan for v in row[key]]
                panel.plot(places, values, marker=".", ms=4, label=row["initialisation"], **style)
        line[0].set_ylabel(f"{activation}: RMS of the sums")
        line[1].set_ylabel("norm of the gradient")
        for panel in line:
            panel.set_yscale("log")
            # What lies beyond has long been lost.
            low, high = panel.get_ylim()
            panel.set_ylim(max(low, 1e-16), min(high, 1e16))
            panel.grid(alpha=0.25)
        note(line, [r for r in rows if r["activation"] == activation])
    panels[0][0].set_title("forward, before training", fontsize=10)
    panels[0][1].set_title("backward, before training", fontsize=10)
    for panel in panels[-1]:
        panel.set_xlabel("layer")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    figure.savefig(path, dpi=90)


def note(line: Any, rows: list[dict[str, Any]]) -> None:
    """Say what a logarithm cannot show."""
    for panel, key, y in zip(line, ("signal", "gradient"), (0.06, 0.5), strict=True):
        zero = [row["initialisation"] for row in rows if not any(row[key])]
        lost = [row["initialisation"] for row in rows if not any(map(math.isfinite, row[key]))]
        told = [f"{', '.join(names)}: {what}" for names, what in ((zero, "0"), (lost, "infinite")) if names]
        panel.text(0.98, y, "\n".join(told), transform=panel.transAxes, ha="right", va="center", fontsize=8)


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "initialization_quick") if args.quick else RESULTS)
    keras.utils.set_random_seed(0)
    (x, y), (test_x, test_y) = digits("train"), digits("test")
    if args.quick:
        x, y = x[:320], y[:320]
    normalization = kr.layers.Normalization()
    normalization.adapt(x)
    data = tuple(
        (np.asarray(keras.ops.convert_to_numpy(normalization(part))), labels)
        for part, labels in ((x, y), (test_x, test_y))
    )
    print(f"digits: {len(x)} training, {len(test_x)} test images; {args.depth} layers of {args.width} units")
    bar, rows = keras.utils.Progbar(len(args.activations) * len(LABELS), unit_name="net"), []
    for activation in args.activations:
        for name in LABELS:
            rows.append(study(name, activation, data, args))
            bar.add(1)
    for name, meaning in LABELS.items():
        print(f"  {name}: {meaning}")
    print(f"\n{table(rows)}\n\nWhat was learned:\n{verdict(rows)}")
    if args.quick:
        print("\nA quick run shows that the example runs; its figures say nothing.")
    args.output.mkdir(parents=True, exist_ok=True)
    facts = {"depth": args.depth, "width": args.width, "epochs": args.epochs, "seeds": args.seeds}
    # JSON knows no NaN.
    text = json.dumps({**facts, "rows": rows}, indent=1, allow_nan=True)
    (args.output / "initialization.json").write_text(
        text.replace("NaN", "null").replace("Infinity", "null") + "\n"
    )
    draw(rows, args.output / "initialization.png")
    print(f"\nwritten to {args.output}/initialization.json and .png")


if __name__ == "__main__":
    main()
