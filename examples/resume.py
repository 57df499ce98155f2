"""A training that is killed again and again, and ends bit for bit like one that was left alone.

python examples/resume.py
python examples/resume.py --kills 5 --seed 7
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

BATCH, STEPS = 64, 10
# How a training backs itself up, by the name of the callback.
OURS, KERAS = "kerasreg", "keras"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=3, help="how often the training is killed")
    parser.add_argument("--epochs", type=int, default=12, help=f"of {STEPS} steps each, a backup after each")
    parser.add_argument("--seed", type=int, default=0, help="decides at which steps it is killed")
    parser.add_argument("--output", default="runs/resume", help="folder for logs, backups and figures")
    parser.add_argument("--quick", action="store_true", help="one kill, few steps, not Keras' own callback")
    parser.add_argument(
        "--train", choices=[OURS, KERAS], help=argparse.SUPPRESS
    )  # what it starts itself with
    return parser.parse_args()


def train(folder: Path, epochs: int, callback: str) -> None:
    """Begin a training, or go on with it: what each of the processes does that are killed."""
    import keras
    import numpy as np
    import tensorflow as tf

    import kerasreg as kr

    images, labels = kr.datasets.load("digits", "train").batch(2000).get_single_element()
    namespace = {OURS: kr.callbacks, KERAS: keras.callbacks}[callback]
    backup = namespace.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    metadata = folder / "backup" / "training_metadata.json"
    begun = json.loads(metadata.read_text())["epoch"] if metadata.exists() else 0
    if callback == OURS:
        begun = backup.epoch

    numbers = kr.augment.indices(len(labels), shuffle=True, seed=1, start=begun * STEPS * BATCH)
    pipeline = kr.augment.Pipeline(
        [kr.augment.RandomRotation(8), kr.augment.RandomTranslation(0.08)],
        seed=2,
        fill_mode="nearest",
        index_key="index",
        epoch_key="epoch",
    )
    batches = (
        numbers.map(
            lambda x: {"images": tf.gather(images, x["index"]), "labels": tf.gather(labels, x["index"]), **x}
        )
        .batch(BATCH, drop_remainder=True)
        .apply(pipeline)
        .map(lambda x: (x["images"], x["labels"]))
        .prefetch(2)
    )

    keras.utils.set_random_seed(3)
    penalty = kr.regularizers.L2(kr.regularizers.Schedule.warmup(1e-3, steps=50))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 128, offset=-1),
            keras.layers.Flatten(),
            keras.layers.Dense(64, kernel_regularizer=penalty),
            kr.layers.BatchNormalization(update_rate=0.1),
            keras.layers.ReLU(),
            kr.layers.Dropout(0.3),
            keras.layers.Dense(10),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(3e-3, STEPS * epochs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, use_ema=True), loss)
    tell = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: print("step", flush=True))
    stats = kr.callbacks.ActivationStats(log_dir=folder / "log")
    print(f"begin {begun * STEPS}", flush=True)
    model.fit(
        batches,
        steps_per_epoch=STEPS,
        epochs=epochs,
        shuffle=False,
        callbacks=[backup, stats, tell],
        verbose=0,
    )

    test_images, test_labels = kr.datasets.load("digits", "test").batch(360).get_single_element()
    guessed = model.predict(test_images, verbose=0).argmax(axis=-1)
    variables = [*model.variables, *model.optimizer.variables]
    arrays = [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)) for variable in variables]
    np.savez(
        folder / "final.npz",
        accuracy=(guessed == test_labels.numpy()).mean(),
        **{f"array_{number}": array for number, array in enumerate(arrays)},
    )


def run(args: argparse.Namespace, folder: Path, callback: str, kill_after: int | None) -> tuple[int, int]:
    """One process: where it began, and how many steps it did before its end, or before it was killed."""
    command = [sys.executable, str(Path(__file__).resolve()), "--train", callback, "--output", str(folder)]
    command += ["--epochs", str(args.epochs)]
    begun = done = 0
    errors = folder.with_suffix(".stderr")
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        for line in process.stdout:
            if line.startswith("begin"):
                begun = int(line.split()[1])
            done += line.strip() == "step"
            if kill_after is not None and done > kill_after:
                process.send_signal(signal.SIGKILL)
                break
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(
            f"the training in {folder} ended by itself, see {errors}:\n{errors.read_text()[-2000:]}"
        )
    return begun, done


def train_under_fire(args: argparse.Namespace, folder: Path, callback: str, kills: list[int]) -> int:
    """Start a training until it comes to its end; how many steps were done twice."""
    total, kills = 0, list(kills)
    while True:
        start = time.perf_counter()
        kill_after = kills.pop(0) if kills else None
        begun, done = run(args, folder, callback, kill_after)
        total += done
        fate = "killed by SIGKILL" if kill_after is not None else "came to its end"
        seconds = time.perf_counter() - start
        print(f"  began at step {begun:3}, did {done:3} steps, {fate} ({seconds:.0f} s)", flush=True)
        if kill_after is None:
            return total - args.epochs * STEPS


def steps_shown(folder: Path) -> set[int]:
    """The steps that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It tells of every restart, which is what is wanted here.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    reader = EventAccumulator(str(folder / "log"))
    reader.Reload()
    (tag, *_) = [tag for tag in reader.Tags()["scalars"] if tag.startswith("activation_rms/")]
    steps = [event.step for event in reader.Scalars(tag)]
    if len(set(steps)) != len(steps):
        raise SystemExit(f"TensorBoard shows steps twice in {folder}")
    return set(steps)


def compare(folder: Path, whole: Path) -> dict[str, float]:
    """How far two trainings' ends are from each other."""
    import numpy as np

    found, wanted = np.load(folder / "final.npz"), np.load(whole / "final.npz")
    names = [name for name in wanted.files if name != "accuracy"]
    different = [name for name in names if not np.array_equal(found[name], wanted[name])]
    # A count of draws is a whole number, and says nothing of how far apart two nets are.
    real = [name for name in different if wanted[name].dtype.kind == "f"]
    furthest = max((np.abs(found[name] - wanted[name]).max() for name in real), default=0.0)
    return {
        "variables": len(names),
        "different": len(different),
        "largest_difference": float(furthest),
        "accuracy": float(found["accuracy"]),
    }


def main() -> None:
    args = parse()
    folder = Path(args.output)
    if args.train:
        train(folder, args.epochs, args.train)
        return
    if args.quick:
        args.kills, args.epochs = 1, 3
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draw = random.Random(args.seed)
    # Each of them some epochs further than the one before, and in the middle of one.
    share = max(args.epochs * STEPS // (args.kills + 1), STEPS + 2)
    kills = [share - STEPS + draw.randrange(1, STEPS) for _ in range(args.kills)]

    print("left alone", flush=True)
    whole = folder / "whole"
    train_under_fire(args, whole, OURS, [])
    trainings = {"kr.callbacks.BackupAndRestore": OURS, "keras.callbacks.BackupAndRestore": KERAS}
    rows = []
    for name, callback in list(trainings.items())[: 1 if args.quick else 2]:
        print(f"killed {args.kills} times, with {name}", flush=True)
        place = folder / callback
        again = train_under_fire(args, place, callback, kills)
        missing = steps_shown(whole) - steps_shown(place)
        rows.append(
            {"callback": name, "steps_twice": again, **compare(place, whole), "missing": len(missing)}
        )
    accuracy = compare(whole, whole)["accuracy"]
    (folder / "resume.json").write_text(json.dumps({"accuracy": accuracy, "killed": rows}, indent=2) + "\n")

    print(f"\n{'':32} {'steps done':>10} {'variables':>10} {'largest':>10} {'steps missing':>14} {'test':>8}")
    print(
        f"{'':32} {'twice':>10} {'different':>10} {'difference':>10} {'in TensorBoard':>14} {'accuracy':>8}"
    )
    print(f"{'left alone':32} {'':10} {'':10} {'':10} {'':14} {accuracy:8.1%}")
    for row in rows:
        different = f"{row['different']} of {row['variables']}"
        print(
            f"{row['callback']:32} {row['steps_twice']:10} {different:>10} {row['largest_difference']:10.2g} "
            f"{row['missing']:14} {row['accuracy']:8.1%}"
        )
    print("\nWhat was learned:")
    ours = rows[0]
    if ours["different"] or ours["missing"]:
        raise SystemExit(f"- The killed training is another one: {ours}")
    print(
        f"- Killed {args.kills} times; {ours['steps_twice']} steps were done twice; all {ours['variables']} "
        "variables (weights, averages, optimizer, random state) end bit for bit as if nothing had happened."
    )
    for row in rows[1:]:
        print(
            f"- Keras' own backup leaves the dropout's random state out: {row['different']} variables end "
            f"elsewhere, by up to {row['largest_difference']:.2g}."
        )


if __name__ == "__main__":
    main()
