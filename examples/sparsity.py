"""195 useless inputs beside 5 true ones: who finds them, along which path, and what a net without them costs.

python examples/sparsity.py            about two minutes
python examples/sparsity.py --quick    does it run?

L1 in the loss leaves no weight exactly 0; the same penalty as a proximal step does, with SGD and with Adam.
The path of the weights against lambda is compared with scikit-learn's, and a net's dead units are removed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"
INPUTS, TRUE, TARGETS = 200, 5, 4
UNSEEN = 1000
# Updates in one epoch: the data are small, a call of Python is not.
UPDATES = 100
OPTIMIZERS: dict[str, Callable[[int], Any]] = {
    "SGD": lambda updates: keras.optimizers.SGD(0.2, momentum=0.5),
    "Adam": lambda updates: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(0.05, updates, alpha=0.01)
    ),
}
PENALTIES: dict[str, dict[str, Any]] = {
    "L1 in the loss": {"kernel_regularizer": kr.regularizers.L1(0.05)},
    "SoftThreshold": {"kernel_constraint": kr.constraints.SoftThreshold(0.05)},
    "GroupSoftThreshold": {"kernel_constraint": kr.constraints.GroupSoftThreshold(0.1, axis=1)},
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=400, help="training examples")
    parser.add_argument("--epochs", type=int, default=15, help=f"of {UPDATES} updates, for each training")
    parser.add_argument("--lambdas", type=int, default=20, help="points of the path")
    parser.add_argument("--width", type=int, default=512, help="units of the net's hidden layers")
    parser.add_argument("--seed", type=int, default=0, help="of data and weights")
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON file and the picture")
    parser.add_argument("--quick", action="store_true", help="few points, units and steps: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.lambdas, args.width = 3, 4, 32
    return args


def make_data(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, four linear targets and a crooked one; the first five inputs are all that matters."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, INPUTS))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = rng.uniform(0.5, 2.0, (TRUE, TARGETS)) * rng.choice([-1.0, 1.0], (TRUE, TARGETS))
    linear = x[:, :TRUE] @ weights + 0.5 * rng.normal(size=(rows, TARGETS))
    crooked = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) - x[:, 4]
    return (
        x.astype("float32"),
        (linear - linear.mean(axis=0)).astype("float32"),
        (crooked - crooked.mean()).astype("float32")[:, None],
    )


def train(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int, **options: Any) -> None:
    """Full batches, many updates in one call."""
    tiled = np.tile(x, (UPDATES, 1)), np.tile(y, (UPDATES, 1))
    model.fit(*tiled, batch_size=len(x), epochs=epochs, shuffle=False, verbose=0, **options)


def linear_model(outputs: int, optimizer: Any, **penalty: Any) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((INPUTS,)), keras.layers.Dense(outputs, use_bias=False, **penalty, name="linear")]
    )
    model.compile(optimizer, "mse", steps_per_execution=UPDATES)
    return model


def compare(x: np.ndarray, y: np.ndarray, args: argparse.Namespace, bar: Any) -> list[dict[str, Any]]:
    """Each penalty with each optimizer: which inputs are exactly 0."""
    rows = []
    for penalty, settings in PENALTIES.items():
        for name, optimizer in OPTIMIZERS.items():
            keras.utils.set_random_seed(args.seed)
            model = linear_model(TARGETS, optimizer(args.epochs * UPDATES), **settings)
            train(model, x, y, args.epochs)
            weights = model.get_weights()[0]
            dead = (weights == 0).all(axis=1)
            rows.append(
                {
                    "penalty": penalty,
                    "optimizer": name,
                    "useless inputs exactly 0": int(dead[TRUE:].sum()),
                    "true inputs kept": int((~dead[:TRUE]).sum()),
                    "largest weight of each input": np.abs(weights).max(axis=1).tolist(),
                }
            )
            bar.add(1)
    return rows


class Record(keras.callbacks.Callback):
    """The weights at the end of every so many epochs."""

    def __init__(self, every: int, bar: Any):
        super().__init__()
        self.every, self.bar, self.weights = every, bar, []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the weights where a lambda ends."""
        if (epoch + 1) % self.every == 0:
            self.weights.append(self.model.get_weights()[0].ravel())
            self.bar.add(1)


def path(x: np.ndarray, y: np.ndarray, beta: float, args: argparse.Namespace, bar: Any) -> dict[str, Any]:
    """The weights against lambda, in one training whose strength is a schedule, and scikit-learn's."""
    from sklearn.linear_model import enet_path, lasso_path

    largest = 2 * np.abs(x.T @ y).max() / len(x)
    lambdas = np.geomspace(largest, largest / 50, args.lambdas)
    epochs = 1 if args.quick else 4
    ends = [epochs * UPDATES * i - 1 for i in range(1, len(lambdas))]
    strength = kr.regularizers.Schedule.piecewise(ends, lambdas.tolist())
    model = linear_model(
        1,
        keras.optimizers.SGD(0.15),
        kernel_initializer="zeros",
        kernel_constraint=kr.constraints.SoftThreshold(strength, beta=beta),
    )
    record = Record(epochs, bar)
    train(model, x, y[:, None], epochs * len(lambdas), callbacks=[record])
    # Keras' squared error is twice scikit-learn's; lambda beta = alpha (1 - l1_ratio).
    wide = x.astype("float64"), y.astype("float64")
    l1_ratio = 1 / (1 + 2 * beta)
    if beta:
        _, truth, _ = enet_path(*wide, l1_ratio=l1_ratio, alphas=lambdas / 2 / l1_ratio, tol=1e-8)
    else:
        _, truth, _ = lasso_path(*wide, alphas=lambdas / 2, tol=1e-8)
    ours = np.array(record.weights)
    return {
        "beta": beta,
        "lambdas": lambdas.tolist(),
        "weights": ours.tolist(),
        "scikit-learn": truth.T.tolist(),
        "largest difference": float(np.abs(ours - truth.T).max()),
    }


def net(
    x: np.ndarray, y: np.ndarray, unseen: tuple[np.ndarray, np.ndarray], args: argparse.Namespace, bar: Any
) -> dict[str, Any]:
    """A net whose units fall away, and the smaller one."""
    keras.utils.set_random_seed(args.seed)
    group, dense = kr.constraints.GroupSoftThreshold, keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input((INPUTS,), name="inputs"),
            dense(args.width, "relu", kernel_constraint=group(0.05, axis=1), name="hidden1"),
            # A unit that nothing reads is as good as none.
            dense(args.width, "relu", kernel_constraint=group(0.02, axis=1), name="hidden2"),
            dense(1, kernel_constraint=kr.constraints.SoftThreshold(0.01), name="out"),
        ]
    )
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, 4 * args.epochs * 10))
    model.compile(optimizer, "mse", steps_per_execution=10)
    tiled = np.tile(x, (10, 1)), np.tile(y, (10, 1))
    for _ in range(4):
        model.fit(*tiled, batch_size=len(x), epochs=args.epochs, shuffle=False, verbose=0)
        bar.add(1)
    small, report = kr.shrink(model, report=True)
    batch = np.tile(x, (5 if args.quick else 20, 1))
    predictions = [np.asarray(m.predict_on_batch(batch)) for m in (model, small)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(5 if args.quick else 21):
        for m, seen in zip((model, small), times, strict=True):
            start = time.perf_counter()
            m.predict_on_batch(batch)
            seen.append(time.perf_counter() - start)
    before, after = (statistics.median(seen) for seen in times)
    dead = set(report.unused_inputs.get("inputs", []))
    return {
        "report": report.to_dict(),
        "text": str(report),
        "useless inputs exactly 0": len(dead - set(range(TRUE))),
        "true inputs kept": TRUE - len(dead & set(range(TRUE))),
        "error": float(np.mean((predictions[0][: len(y)] - y) ** 2)),
        "error on unseen rows": float(
            np.mean((np.asarray(small.predict_on_batch(unseen[0])) - unseen[1]) ** 2)
        ),
        "variance": float(y.var()),
        "largest difference": float(np.abs(predictions[0] - predictions[1]).max()),
        "batch": len(batch),
        "milliseconds": [1e3 * before, 1e3 * after],
    }


def draw(rows: list[dict[str, Any]], paths: list[dict[str, Any]], file: Path) -> None:
    """The two paths with scikit-learn's points, and the weights by size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for panel, found, title in zip(panels, paths, ("lasso", "elastic net"), strict=False):
        weights, truth = np.array(found["weights"]), np.array(found["scikit-learn"])
        for i in reversed(range(INPUTS)):
            color = f"C{i}" if i < TRUE else "0.75"
            label = f"true input {i + 1}" if i < TRUE else "useless ones" if i == TRUE else None
            panel.plot(found["lambdas"], weights[:, i], color=color, lw=1.6 if i < TRUE else 0.6, label=label)
            if i < TRUE:
                panel.plot(found["lambdas"], truth[:, i], "o", color=color, ms=3.5, mfc="white")
        panel.set_xscale("log")
        panel.invert_xaxis()
        panel.set_xlabel("lambda")
        panel.set_title(f"{title}: lines ours, circles scikit-learn's", fontsize=10)
    panels[0].set_ylabel("weight")
    handles, labels = panels[0].get_legend_handles_labels()
    order = np.argsort(labels)
    names, lines = [labels[i] for i in order], [handles[i] for i in order]
    figure.legend(lines, names, loc="outside lower left", ncols=6, fontsize=8, frameon=False)
    floor = 1e-6
    for i, row in enumerate(rows):
        sizes = np.sort(row["largest weight of each input"])[::-1]
        panels[2].plot(
            range(1, INPUTS + 1),
            np.maximum(sizes, floor),
            color=f"C{i // 2}",
            ls="-" if i % 2 == 0 else "--",
            label=f"{row['penalty']}, {row['optimizer']}",
        )
    panels[2].axvline(TRUE + 0.5, color="0.6", lw=0.8)
    panels[2].set_yscale("log")
    panels[2].set_xlabel("inputs by size (the line: the 5 true ones)")
    panels[2].set_ylabel("largest weight; exact zeros at the floor")
    panels[2].set_title("what the optimizer leaves of each input", fontsize=10)
    panels[2].legend(fontsize=8, frameon=False)
    figure.savefig(file, dpi=100)


def learned(rows: list[dict[str, Any]], paths: list[dict[str, Any]], shrunk: dict[str, Any]) -> str:
    """What came out, from the figures themselves."""
    lines = [f"{'penalty':20}{'optimizer':11}useless inputs exactly 0   true inputs kept"]
    for row in rows:
        zero, kept = row["useless inputs exactly 0"], row["true inputs kept"]
        lines.append(
            f"{row['penalty']:20}{row['optimizer']:11}{zero:>4} of {INPUTS - TRUE}{kept:>20} of {TRUE}"
        )
    lasso, elastic = (found["largest difference"] for found in paths)
    before, after = shrunk["milliseconds"]
    lines += [
        "",
        f"path against scikit-learn, largest difference of any weight: lasso {lasso:.1e}, "
        f"elastic net {elastic:.1e}",
        "",
        shrunk["text"],
        f"the smaller net's outputs differ by {shrunk['largest difference']:.1e} at most; its error is "
        f"{shrunk['error']:.3f}, {shrunk['error on unseen rows']:.3f} on unseen rows, at a variance of "
        f"{shrunk['variance']:.2f}",
        f"{shrunk['batch']} rows in {before:.1f} ms -> {after:.1f} ms ({before / after:.1f}x)",
        "",
        "A gradient never ends at 0: that takes a proximal step, in the metric that the optimizer steps in.",
    ]
    return "\n".join(lines)


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "sparsity_quick") if args.quick else RESULTS)
    every = make_data(args.rows + UNSEEN, args.seed)
    x, linear, crooked = (part[: args.rows] for part in every)
    print(
        f"{args.rows} rows, {TRUE} true inputs, {INPUTS - TRUE} useless ones; "
        f"Keras on {keras.backend.backend()}"
    )
    bar = keras.utils.Progbar(len(PENALTIES) * len(OPTIMIZERS) + 2 * args.lambdas + 4, unit_name="part")
    rows = compare(x, linear, args, bar)
    paths = [path(x, linear[:, 0], beta, args, bar) for beta in (0.0, 0.5)]
    shrunk = net(x, crooked, (every[0][args.rows :], every[2][args.rows :]), args, bar)
    print(f"\nWhat was learned:\n{learned(rows, paths, shrunk)}")
    if args.quick:
        print("\nA quick run shows that the example runs; its figures say nothing.")
    args.output.mkdir(parents=True, exist_ok=True)
    name = f"sparsity-{keras.backend.backend()}"
    facts = {"rows": args.rows, "epochs": args.epochs, "seed": args.seed, "keras": keras.version()}
    text = json.dumps({**facts, "comparison": rows, "paths": paths, "net": shrunk})
    (args.output / f"{name}.json").write_text(text + "\n")
    draw(rows, paths, args.output / f"{name}.png")
    print(f"\nwritten to {args.output}/{name}.json and .png")


if __name__ == "__main__":
    main()
