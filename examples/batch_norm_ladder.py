"""The table of the 2015 batch-norm paper, run small: what does batch normalisation save?

python examples/batch_norm_ladder.py --data-dir /usr/share/datasets/fashion-mnist --jobs 2
python examples/batch_norm_ladder.py --out examples/results   # the runs we publish, read again: needs no data

Ioffe and Szegedy ("Batch Normalization", 2015, section 4.2) took an Inception network for ImageNet, put batch
normalisation in, multiplied the learning rate by 5 and by 30, exchanged ReLU for the sigmoid, and counted the
steps until each network was as accurate as the first one at its best. Here a plain network of eight 3 x 3
convolutions (Glorot weights, global average pooling) climbs the same ladder on Fashion-MNIST, pooled to
14 x 14: 20 000 training images, 6000 steps of SGD with momentum 0.9, batches of 32, rate * exp(-4 t / 6000).
Accuracy is that on all 10 000 test images, every 100 steps.

The rows differ in batch normalisation, rate and activation alone: all have the same schedule and standardised
inputs, none has dropout or L2. The paper's x5 and x30 changed more: no dropout, a fifth of L2, a rate that
decays 6 times faster, other shuffling and fewer distortions. The moving averages have update_rate 0.1, so
that early evaluations see the network and not averages that lag behind it.

Finished runs are kept in the result file, so that the same command after a cut goes on where it was.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from ladder_report import ROWS, Row, Run, draw, report, tabulate, verdicts

import kerasreg as kr


class Setting(NamedTuple):
    """What all runs share."""

    dataset: str
    train_images: int
    steps: int
    every: int
    base_rates: tuple[float, ...]


FULL = Setting("fashion_mnist", 20_000, 6000, 100, (0.005, 0.02))
QUICK = Setting("digits", 640, 60, 20, (0.02,))


@functools.cache
def load(dataset: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Images in [0, 1], those of 28 x 28 as the means of 2 x 2 pixels, and their labels."""
    try:
        pairs = kr.datasets.load(dataset, split, data_dir, download=dataset == "digits")
    except AssertionError:  # TFDS says so that nothing was prepared in its folder.
        raise SystemExit(
            f"Fashion-MNIST is not in {data_dir or 'the folder of tensorflow-datasets'}: give the folder "
            "with its four IDX files as --data-dir (Debian's package dataset-fashion-mnist has them in "
            "/usr/share/datasets/fashion-mnist), or fetch it once with `python -c "
            "\"import tensorflow_datasets as tfds; tfds.load('fashion_mnist')\"` and leave --data-dir out."
        ) from None
    batches = pairs.batch(1000).as_numpy_iterator()
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    images = images.astype("float32") / 255
    if images.shape[1:3] == (28, 28):
        images = images.reshape(-1, 14, 2, 14, 2, 1).mean(axis=(2, 4))
    return images, labels


def build(images: np.ndarray, row: Row) -> keras.Model:
    """The network for such images; batch normalisation stands before the nonlinearity and brings the bias."""
    normalization = kr.layers.Normalization()
    normalization.adapt(images)
    layers: list[keras.layers.Layer] = [keras.Input(images.shape[1:]), normalization]
    for filters, strides in ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1)):
        bias = not row.batch_norm
        layers.append(keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=bias))
        if row.batch_norm:
            layers.append(kr.layers.BatchNormalization(update_rate=0.1))
        layers.append(keras.layers.Activation(row.activation))
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])


def schedule(rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of step t: rate * exp(-4 t / steps)."""
    return keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=steps, decay_rate=math.exp(-4))


def train(run: Run, setting: Setting, data_dir: str | None) -> Run:
    """The run with its accuracies."""
    tf.get_logger().setLevel("ERROR")  # It warns of as many traces as there are models.
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    row = next(row for row in ROWS if row.name == run.row)
    images, labels = load(setting.dataset, f"train[:{setting.train_images}]", data_dir)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=run.seed)
    test = tf.data.Dataset.from_tensor_slices(load(setting.dataset, "test", data_dir))
    model = build(images, row)
    model.compile(
        keras.optimizers.SGD(schedule(run.base_rate * row.rate_factor, setting.steps), momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=setting.every,  # The steps are small: one call for many.
    )
    history = model.fit(
        batches.repeat().batch(32).prefetch(tf.data.AUTOTUNE),
        steps_per_epoch=setting.every,  # So that an "epoch" ends with each evaluation.
        epochs=setting.steps // setting.every,
        validation_data=test.batch(1000).cache(),
        shuffle=False,
        verbose=0,
    )
    return run._replace(accuracy=tuple(round(value, 4) for value in history.history["val_accuracy"]))


def finish(runs: Sequence[Run], setting: Setting, data_dir: str | None, jobs: int) -> Iterator[Run]:
    """Each run as it ends; `jobs` of them at once, in processes that share the cores."""
    work = functools.partial(train, setting=setting, data_dir=data_dir)
    if jobs == 1:
        yield from map(work, runs)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    limit = tf.config.threading.set_intra_op_parallelism_threads
    with multiprocessing.get_context("spawn").Pool(jobs, limit, (threads,)) as pool:
        yield from pool.imap_unordered(work, runs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="the folder with Fashion-MNIST's IDX files; else TFDS' own folder")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="one run of every row for each"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--out", type=Path, help="the folder for batch_norm_ladder.json and .png")
    parser.add_argument("--quick", action="store_true", help="digits, one seed, few steps: does it run?")
    return parser.parse_args()


def finished(path: Path, setting: Setting) -> list[Run]:
    """The runs that the result file holds."""
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    if content["setting"] != json.loads(json.dumps(setting._asdict())):
        raise SystemExit(f"{path} holds runs of another setting: name another folder as --out, or remove it.")
    return [Run(**{**run, "accuracy": tuple(run["accuracy"])}) for run in content["runs"]]


def save(path: Path, setting: Setting, runs: Sequence[Run], ladders: Sequence[dict[str, Any]]) -> None:
    content = {
        "setting": setting._asdict(),
        "keras": keras.__version__,
        "kerasreg": kr.__version__,
        "ladders": ladders,
        "runs": [run._asdict() for run in sorted(runs)],
    }
    partial = path.with_suffix(".partial")
    # JSON has no infinity, which stands for "never".
    partial.write_text(json.dumps(content, indent=1).replace("Infinity", "null") + "\n")
    partial.replace(path)  # Whoever cuts us off finds the old file or the new one.


def main() -> None:
    args = parse()
    setting = QUICK if args.quick else FULL
    seeds = args.seeds[:1] if args.quick else sorted(set(args.seeds))
    folder = args.out or Path("runs", "batch_norm_ladder_quick" if args.quick else "batch_norm_ladder")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "batch_norm_ladder.json"

    runs = finished(path, setting)
    known = {run[:3] for run in runs}
    wanted = [Run(row.name, rate, seed) for rate in setting.base_rates for seed in seeds for row in ROWS]
    missing = [run for run in wanted if run[:3] not in known]
    if missing:
        # Where there are no data, better said here than in a worker.
        load(setting.dataset, "test", args.data_dir)
        print(f"runs to go: {len(missing)} of {len(wanted)}, {setting.steps} steps each")
        bar = keras.utils.Progbar(len(missing), unit_name="run")
        for run in finish(missing, setting, args.data_dir, args.jobs):
            runs.append(run)
            save(path, setting, runs, ladders=[])
            bar.add(1)

    ladders = []
    for rate in setting.base_rates:
        table = tabulate([run for run in runs if run.seed in seeds], rate, setting.every)
        ladders.append({"base_rate": rate, "seeds": seeds, "table": table})
        ladders[-1]["verdicts"] = [] if args.quick else verdicts(table)
        print(f"\n{report(ladders[-1])}")
    save(path, setting, runs, ladders)
    draw(ladders, runs, setting.every, path.with_suffix(".png"))
    told = [reproduced for ladder in ladders for reproduced, _ in ladder["verdicts"]]
    print(f"\nWhat was learned: {sum(told)} of {len(told)} claims of 2015 are reproduced." if told else "")
    if args.quick:
        print("A quick run shows that the example runs; it says nothing about batch normalisation.")
    print(f"\nwritten to {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
