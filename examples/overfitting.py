"""A net that learns a hundred digits by heart, and what cures it: L2, elastic net, dropout, augmentation.

python examples/overfitting.py            a few minutes on two cores
python examples/overfitting.py --quick    does it run?
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"

# What each cure switches on. Strengths, steps and rate were settled on seeds 101 to 105, not those reported.
CURES: dict[str, frozenset[str]] = {
    "bare": frozenset(),
    "L2": frozenset({"l2"}),
    "elastic net": frozenset({"elastic net"}),
    "dropout": frozenset({"dropout"}),
    "augmentation": frozenset({"augmentation"}),
    "all": frozenset({"elastic net", "dropout", "augmentation"}),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100, help="training digits, as many of each class")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each cure, each on other digits")
    parser.add_argument("--first-seed", type=int, default=1, help="of the first run")
    parser.add_argument("--steps", type=int, default=1600, help="batches of 32 in each run")
    parser.add_argument("--l2", type=float, default=1e-4, help="strength of L2")
    parser.add_argument("--elastic", type=float, default=1e-5, help="strength of the elastic net's L1")
    parser.add_argument("--beta", type=float, default=10.0, help="the elastic net's L2 for one of L1")
    parser.add_argument(
        "--dropout", type=float, default=0.5, help="rate of the dropout; half of it on the pixels"
    )
    parser.add_argument("--cures", nargs="+", choices=list(CURES), default=list(CURES), help="which to run")
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON file and the picture")
    parser.add_argument("--quick", action="store_true", help="one seed and few steps: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.steps, args.examples = 1, 40, 50
    return args


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All 1797 digits as 8x8 images in [0, 255], with their labels."""
    pairs = [
        pair for split in ("train", "test") for pair in kr.datasets.load("digits", split).as_numpy_iterator()
    ]
    return np.stack([image for image, _ in pairs]).astype("float32"), np.array([label for _, label in pairs])


def parted(y: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of as many digits of each class, drawn by the seed, and of all others."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(y == c))[: count // 10] for c in range(10)])
    return rng.permutation(chosen), np.setdiff1d(np.arange(len(y)), chosen)


def build(cure: frozenset[str], x: np.ndarray, args: argparse.Namespace) -> keras.Model:
    """The same net for every cure, with more weights than it has numbers to learn from."""
    normalization = kr.layers.Normalization(axis=None)
    normalization.adapt(x)
    rate = args.dropout if "dropout" in cure else 0.0
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            normalization,
            keras.layers.Flatten(),
            kr.layers.Dropout(rate / 2),
            keras.layers.Dense(512, "relu", kernel_initializer="he_normal", name="hidden1"),
            kr.layers.Dropout(rate),
            keras.layers.Dense(512, "relu", kernel_initializer="he_normal", name="hidden2"),
            kr.layers.Dropout(rate),
            keras.layers.Dense(10, name="out"),
        ]
    )
    if "l2" in cure:
        kr.regularize(model, {"*/kernel": kr.regularizers.L2(args.l2)})
    if "elastic net" in cure:
        kr.regularize(model, {"*/kernel": kr.regularizers.ElasticNet(args.elastic, beta=args.beta)})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # A rate that falls to zero, so that the last batches do not decide; and small steps, most of whose time
    # would be Python's.
    falling = keras.optimizers.schedules.CosineDecay(2e-3, args.steps)
    model.compile(keras.optimizers.Adam(falling), loss, metrics=["accuracy"], steps_per_execution=20)
    return model


def batches(cure: frozenset[str], x: np.ndarray, y: np.ndarray, seed: int) -> tf.data.Dataset:
    """Batches of 32 without end, each pass in an order of its own."""
    found = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat().batch(32)
    if "augmentation" in cure:
        transforms = [
            kr.augment.RandomRotation(12),
            kr.augment.RandomZoom(0.1),
            kr.augment.RandomTranslation(0.12),
            kr.augment.RandomShear(0.1),
        ]
        found = found.apply(kr.augment.Pipeline(transforms, seed=seed))
    return found.prefetch(2)


def run(name: str, seed: int, data: Any, args: argparse.Namespace) -> dict[str, Any]:
    """One training; all cures of a seed see the same digits and begin with the same weights."""
    all_x, all_y = data
    seen, new = parted(all_y, args.examples, seed)
    x, y = all_x[seen], all_y[seen]
    keras.utils.set_random_seed(seed)
    model = build(CURES[name], x, args)
    model.fit(
        batches(CURES[name], x, y, seed), epochs=1, steps_per_epoch=args.steps, shuffle=False, verbose=0
    )
    # On the digits as they are: what was cut off, turned or dropped while it trained is back.
    train = model.evaluate(x, y, batch_size=512, verbose=0, return_dict=True)["accuracy"]
    test = model.evaluate(all_x[new], all_y[new], batch_size=512, verbose=0, return_dict=True)["accuracy"]
    return {"cure": name, "seed": seed, "train": float(train), "test": float(test)}


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds with standard errors, and what each cure gains over the bare net, in pairs."""
    bare = {run["seed"]: run["test"] for run in runs if run["cure"] == "bare"}
    rows = []
    for name in dict.fromkeys(run["cure"] for run in runs):
        mine = [run for run in runs if run["cure"] == name]
        row = {"cure": name, "runs": len(mine)}
        for figure in ("train", "test"):
            row[figure], row[f"{figure} error"] = _mean([run[figure] for run in mine])
        row["gap"] = row["train"] - row["test"]
        if bare and name != "bare":
            row["gain"], row["gain error"] = _mean([run["test"] - bare[run["seed"]] for run in mine])
        rows.append(row)
    return rows


def _mean(values: list[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


def separation(row: dict[str, Any]) -> float:
    """How many standard errors of the paired differences a cure is above the bare net."""
    return row["gain"] / row["gain error"] if row["gain error"] > 0 else math.nan


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracies in per cent."""
    lines = [f"{'':13}  {'train':>6}  {'test':>13}  {'gap':>5}  {'above bare':>13}  standard errors"]
    for row in rows:
        line = (
            f"{row['cure']:13}  {row['train']:6.1%}"
            f"  {100 * row['test']:6.2f} +- {100 * row['test error']:4.2f}  {100 * row['gap']:5.2f}"
        )
        if "gain" in row:
            line += f"  {100 * row['gain']:5.2f} +- {100 * row['gain error']:4.2f}  {separation(row):8.1f}"
        lines.append(line)
    return "\n".join(lines)


def lessons(rows: list[dict[str, Any]]) -> str:
    """What was learned, from the figures themselves."""
    by_name = {row["cure"]: row for row in rows}
    bare = by_name.get("bare")
    if bare is None or len(rows) < 2:
        return "The bare net was not run: nothing to compare with."
    lines = [
        f"The bare net knows {bare['train']:.1%} of its digits by heart and {bare['test']:.1%} of new ones."
    ]
    for name, row in by_name.items():
        if name == "bare":
            continue
        far = separation(row)
        verdict = "helps" if far > 2 else "hurts" if far < -2 else "makes no difference that shows"
        size = f"{100 * row['gain']:+.2f} points"
        lines.append(
            f"{name} {verdict}: {size}, {far:.1f} standard errors, gap {100 * row['gap']:.2f} points."
        )
    best = max(rows, key=lambda row: row["test"])
    lines.append(f"Best on new digits: {best['cure']}, {best['test']:.2%}.")
    return "\n".join(lines)


def picture(rows: list[dict[str, Any]], path: Path, examples: int) -> None:
    """Train and test accuracy of each cure, the gap between them drawn as a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.6 * len(rows) + 1.6), layout="constrained")
    places = list(range(len(rows)))[::-1]
    for place, row in zip(places, rows, strict=True):
        axes.plot([100 * row["test"], 100 * row["train"]], [place, place], color="0.8", linewidth=6, zorder=1)
        axes.annotate(
            f"gap {100 * row['gap']:.1f}",
            (50 * (row["test"] + row["train"]), place),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color="0.35",
        )
    errors = [0.0 if math.isnan(row["test error"]) else 200 * row["test error"] for row in rows]
    tests = [100 * row["test"] for row in rows]
    axes.errorbar(
        tests,
        places,
        xerr=errors,
        fmt="o",
        color="tab:blue",
        capsize=3,
        label="new digits, +- 2 standard errors",
    )
    axes.plot([100 * row["train"] for row in rows], places, "s", color="tab:orange", label="its own digits")
    axes.set_yticks(places, [row["cure"] for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.3)
    axes.set_xlabel("accuracy, %")
    axes.set_title(f"{examples} training digits, {rows[0]['runs']} seeds")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "overfitting_quick") if args.quick else RESULTS)
    data = digits()
    plan = [
        (name, seed) for seed in range(args.first_seed, args.first_seed + args.seeds) for name in args.cures
    ]
    bar, runs = keras.utils.Progbar(len(plan), unit_name="run"), []
    for done, (name, seed) in enumerate(plan, 1):
        runs.append(run(name, seed, data, args))
        bar.update(done)
    rows = summarize(runs)
    print(f"{table(rows)}\n\nWhat was learned:\n{lessons(rows)}\n")
    if args.quick:
        print("A quick run shows that the example runs; its figures say nothing.\n")
    args.output.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in vars(args).items() if key not in ("output", "quick")}
    path = args.output / "overfitting.json"
    path.write_text(json.dumps({"settings": settings, "rows": rows, "runs": runs}, indent=2) + "\n")
    picture(rows, args.output / "overfitting.png", args.examples)
    print(f"written to {path} and {path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
