"""A thousand images, seen as they are or never twice the same: what augmentation gains, and what it shows.

python examples/augmentation.py --data-dir /usr/share/datasets/fashion-mnist    ten minutes on two cores
python examples/augmentation.py                                                 on digits, without a network
python examples/augmentation.py --quick                                         does it run?

The same small convolutional net is trained on the same images under four pipelines, from none at all to
geometry, light and cut-outs together; rows of a seed begin with the same weights. Two pictures show what the
pipelines do: draws of training images, and a made-up scene whose masks, boxes and keypoints move along.
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
CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)
Data = dict[str, Any]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder with the four IDX files of Fashion-MNIST, else digits")
    parser.add_argument("--examples", type=int, default=1000, help="training images, as many of each class")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each pipeline, each on other images")
    parser.add_argument("--first-seed", type=int, default=1, help="of the first run")
    parser.add_argument("--steps", type=int, default=4000, help="batches of 50 in each run")
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON and the pictures")
    parser.add_argument("--quick", action="store_true", help="one seed and few steps: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.steps, args.examples = 1, 20, 100
    return args


def load(data_dir: str | None) -> Data:
    """Images, labels and names: clothes out of a folder, or digits."""
    name = "digits" if data_dir is None else "fashion_mnist"
    found: Data = {"name": name, "classes": CLOTHES if data_dir else tuple(map(str, range(10)))}
    for split in ("train", "test"):
        pairs = kr.datasets.load(name, split, data_dir, download=data_dir is None)
        images, labels = zip(*pairs.as_numpy_iterator(), strict=True)
        found[split] = np.stack(images), np.array(labels)
    return found


def pipelines(data: Data, seed: int) -> dict[str, kr.augment.Pipeline | None]:
    """From nothing to everything. A mirrored digit is another sign, a mirrored shoe is a shoe."""
    flip = [kr.augment.RandomFlip()] if data["name"] == "fashion_mnist" else []
    moves = [
        *flip,
        kr.augment.RandomRotation(8),
        kr.augment.RandomZoom(0.1),
        kr.augment.RandomTranslation(0.08),
        kr.augment.RandomShear(0.1),
    ]
    light = [kr.augment.RandomContrast(0.3), kr.augment.RandomBrightness(0.1)]
    lists = {
        "geometry": moves,
        "geometry and light": [*moves, *light],
        "with cut-outs too": [*moves, *light, kr.augment.RandomErasing((0.05, 0.2))],
    }
    # What stands outside these images is their black background.
    made = {
        name: kr.augment.Pipeline(steps, seed=seed, fill_mode="constant") for name, steps in lists.items()
    }
    return {"none": None, **made}


def chosen(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The places of as many images of each class, drawn by the seed."""
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(labels == kind))[: count // 10] for kind in range(10)]
    return rng.permutation(np.concatenate(each))


def build(images: np.ndarray, steps: int) -> keras.Model:
    normalization = kr.layers.Normalization(axis=None)
    normalization.adapt(images)
    layers = [keras.Input(images.shape[1:]), normalization]
    for filters, strides in ((16, 1), (32, 2), (32, 1), (64, 2)):
        layers += [
            keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False),
            kr.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    falling = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(falling), loss, metrics=["accuracy"], steps_per_execution=20)
    return model


def run(name: str, seed: int, data: Data, args: argparse.Namespace) -> dict[str, Any]:
    """One training; every pipeline of a seed sees the same images and begins with the same weights."""
    images, labels = data["train"]
    places = chosen(labels, args.examples, seed)
    images, labels = images[places], labels[places]
    tf.get_logger().setLevel("ERROR")  # It warns of as many traces as there are models.
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build(images, args.steps)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=seed)
    batches = batches.repeat().batch(50, drop_remainder=True)
    pipeline = pipelines(data, seed)[name]
    if pipeline is not None:
        batches = batches.apply(pipeline)
    model.fit(batches.prefetch(2), epochs=1, steps_per_epoch=args.steps, shuffle=False, verbose=0)
    found = {"pipeline": name, "seed": seed}
    for split, (x, y) in {"train": (images, labels), "test": data["test"]}.items():
        found[split] = model.evaluate(x, y, batch_size=500, verbose=0, return_dict=True)["accuracy"]
    return found


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means and standard errors of each pipeline; what it gains over none is paired by seed."""
    bare = {found["seed"]: found["test"] for found in runs if found["pipeline"] == "none"}
    rows = []
    for name in dict.fromkeys(found["pipeline"] for found in runs):
        mine = [found for found in runs if found["pipeline"] == name]
        test, error = _mean([found["test"] for found in mine])
        train, _ = _mean([found["train"] for found in mine])
        row = {"pipeline": name, "train": train, "test": test, "test error": error, "runs": len(mine)}
        if name != "none":
            row["gain"], row["gain error"] = _mean([found["test"] - bare[found["seed"]] for found in mine])
        rows.append(row)
    return rows


def _mean(values: list[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracies in per cent."""
    lines = [f"{'pipeline':20}{'train':>7}{'new images':>16}{'above none':>16}"]
    for row in rows:
        line = f"{row['pipeline']:20}{100 * row['train']:7.2f}"
        line += f"{100 * row['test']:8.2f}{_spread(row['test error']):8}"
        if "gain" in row:
            line += f"{100 * row['gain']:8.2f}{_spread(row['gain error']):8}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _spread(error: float) -> str:
    return "" if math.isnan(error) else f" +- {100 * error:4.2f}"


def lessons(rows: list[dict[str, Any]], data: Data, examples: int) -> str:
    """What was learned, from the figures themselves."""
    bare, *others = rows
    best = max(others, key=lambda row: row["gain"])
    lines = [
        f"What was learned, on {examples} images of {data['name']}:",
        f"- As they are, the net knows {bare['train']:.1%} of them and {bare['test']:.1%} of new ones.",
    ]
    for row in others:
        error = row["gain error"]
        sure = not math.isnan(error) and error > 0 and abs(row["gain"]) > 2 * error
        verdict = ("gains" if row["gain"] > 0 else "costs") if sure else "makes no difference that shows:"
        if math.isnan(error):
            verdict = "had, in a single run,"
        size = f"{100 * row['gain']:+.2f} points"
        size += "" if math.isnan(error) else f" (+- {100 * error:.2f})"
        lines.append(f"- {row['pipeline']} {verdict} {size}; it knows {row['train']:.1%} of its own.")
    if best["gain"] > 0:
        spared = best["gain"] / (1 - bare["test"])
        lines.append(f"- Best: {best['pipeline']}, which spares {spared:.0%} of the errors on new images.")
    else:
        lines.append("- Best: none, at so many steps and images.")
    return "\n".join(lines)


def scene(data: Data, seed: int) -> dict[str, Any]:
    """Two training images of different colours in one frame, with mask, boxes and keypoints of each."""
    rng = np.random.default_rng(seed)
    images, labels = data["train"]
    side = images.shape[1]
    size = 3 * side
    canvas = np.full((size, size, 3), 60, "float32")
    canvas += np.linspace(0, 60, size)[:, None, None]
    mask = np.zeros((size, size, 1), "uint8")
    boxes, points, kinds = [], [], []
    for number, (row, column) in enumerate(((0.25, 0.2), (1.6, 1.55))):
        at = rng.integers(len(images))
        thing = images[at, ..., 0].astype("float32") / 255
        top, left = int(row * side), int(column * side)
        tint = np.array([(235, 130, 60), (80, 160, 240)][number])
        there = canvas[top : top + side, left : left + side]
        there[:] = there * (1 - thing[..., None]) + tint * thing[..., None]
        solid = thing > 0.15
        mask[top : top + side, left : left + side][solid] = number + 1
        ys, xs = np.nonzero(solid)
        x0, x1, y0, y1 = left + xs.min(), left + xs.max() + 1, top + ys.min(), top + ys.max() + 1
        boxes.append((x0, y0, x1, y1))
        points += [(x0, y0, 1), (x1, y0, 1), (x1, y1, 1), (x0, y1, 1)]
        kinds.append(labels[at])
    return {
        "images": canvas.astype("uint8"),
        "segmentation_masks": mask,
        "bounding_boxes": {"boxes": np.array(boxes, "float32"), "labels": np.array(kinds, "int32")},
        "keypoints": np.array(points, "float32"),
    }


def pictures(data: Data, args: argparse.Namespace) -> list[Path]:
    """What the pipelines do, as two PNG files."""
    images, labels = data["train"]
    places = chosen(labels, 10, args.first_seed)[:4]
    everything = pipelines(data, args.first_seed)["with cut-outs too"]
    draws = everything.preview(images[places], labels[places], draws=6, class_names=data["classes"])
    scenes = [scene(data, seed) for seed in (1, 2)]
    stacked = tf.nest.map_structure(lambda *parts: np.stack(parts), *scenes)
    moves = kr.augment.Pipeline(
        [
            kr.augment.RandomFlip(),
            kr.augment.RandomRotation(25),
            kr.augment.RandomZoom(0.3),
            kr.augment.RandomTranslation(0.2),
            kr.augment.RandomHue(40),
            kr.augment.RandomContrast(0.4),
        ],
        seed=args.first_seed,
        bounding_box_format="xyxy",
        fill_mode="constant",
        fill_value=40,
    )
    targets = moves.preview(stacked, draws=4, class_names=data["classes"])
    found = []
    for name, figure in {"augmentation_draws": draws, "augmentation_targets": targets}.items():
        found.append(args.output / f"{name}.png")
        figure.savefig(found[-1], dpi=70)
    return found


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "augmentation_quick") if args.quick else RESULTS)
    data = load(args.data_dir)
    args.output.mkdir(parents=True, exist_ok=True)
    shown = pictures(data, args)
    print(f"pictures: {', '.join(map(str, shown))}")
    print(pipelines(data, 0)["with cut-outs too"].explain())
    plan = [
        (name, seed)
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        for name in pipelines(data, seed)
    ]
    bar, runs = keras.utils.Progbar(len(plan), unit_name="run"), []
    for done, (name, seed) in enumerate(plan, 1):
        runs.append(run(name, seed, data, args))
        bar.update(done)
    rows = summarize(runs)
    learned = lessons(rows, data, args.examples)
    print(table(rows))
    print(f"\n{learned}\n")
    if args.quick:
        print("A quick run shows that the example runs; its figures say nothing.\n")
    settings = {"dataset": data["name"], "examples": args.examples, "steps": args.steps, "seeds": args.seeds}
    path = args.output / "augmentation.json"
    # A single run has no spread, and JSON no NaN.
    known = [{key: value for key, value in row.items() if value == value} for row in rows]
    found = {"settings": settings, "rows": known, "runs": runs, "learned": learned.splitlines()}
    path.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
