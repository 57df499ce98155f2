"""One training with everything random in it, which can be killed anywhere and started again.

python tests/reliability/resumable.py FOLDER --die-in step --at 12 [--signal SIGKILL]
"""

import argparse
import os
import signal
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kerasreg as kr

# Keras' epoch is a stretch of so many steps; the data's is 36 images long, and ends in the middle of one.
COUNT, BATCH, STEPS, EPOCHS = 36, 8, 5, 4
# One for all trainings of a process: it is compiled once.
PIPELINE = kr.augment.Pipeline(
    [kr.augment.RandomTranslation(0.2), kr.augment.RandomBrightness(0.3)],
    index_key="index",
    epoch_key="epoch",
)
# What can be killed: a step of `fit`, or the writing of a backup before the new file has its name.
PLACES = ("step", "backup")
_L = keras.layers


def build():
    """Every kind of average, schedule and noise, compiled."""
    keras.utils.set_random_seed(1)
    penalty = kr.regularizers.L2(kr.regularizers.Schedule.warmup(1e-2, steps=20))
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            _L.Rescaling(1 / 128, offset=-1, name="scale"),
            _L.Flatten(name="flat"),
            _L.Dense(12, "relu", kernel_regularizer=penalty, name="first"),
            kr.layers.BatchNormalization(averaging="debiased", name="debiased"),
            kr.layers.Dropout(0.2, name="ours"),
            _L.Dropout(0.2, seed=5, name="theirs"),
            kr.layers.BatchNormalization(averaging="cumulative", name="cumulative"),
            kr.layers.DropPath(0.2, name="path"),
            _L.BatchNormalization(name="moving"),
            _L.Dense(3, name="last"),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(1e-2, STEPS * EPOCHS)
    model.compile(
        keras.optimizers.Adam(rate, use_ema=True, ema_overwrite_frequency=7),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def batches(start):
    """Shuffled and augmented images without an end, from one of them on."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, 6, 6, 1)).astype("uint8")
    labels = rng.integers(0, 3, COUNT)

    def load(place):
        return {"images": tf.gather(images, place["index"]), **place}, tf.gather(labels, place["index"])

    numbered = kr.augment.indices(COUNT, shuffle=True, seed=2, start=start).map(load)
    data = numbered.batch(BATCH, drop_remainder=True).apply(PIPELINE)
    return data.map(lambda element, label: (element["images"], label))


def train(folder, extra=(), **backup_arguments):
    """Begin, or go on where the folder's backup stands; the model and the callback that watched."""
    arguments = {"delete_checkpoint": False, **backup_arguments}
    backup = kr.callbacks.BackupAndRestore(Path(folder) / "backup", **arguments)
    stats = kr.callbacks.ActivationStats(Path(folder) / "log", every=4)
    model = build()
    model.fit(
        batches(backup.epoch * STEPS * BATCH),
        steps_per_epoch=STEPS,
        epochs=EPOCHS,
        shuffle=False,
        callbacks=[backup, stats, *extra],
        verbose=0,
    )
    return model, stats


def state(model):
    """Every number that a training changes: weights, averages, optimizer, random state."""
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)) for variable in variables]


class Die(keras.callbacks.Callback):
    """Sends its own process a signal at the end of a step, counted over all epochs."""

    def __init__(self, at, number):
        super().__init__()
        self.at, self.number, self.seen = at, number, -1

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.at:
            os.kill(os.getpid(), self.number)


def die_in_backup(at, number):
    """Have the process killed with backup number `at` written and not yet in its place."""
    replace, seen = os.replace, [0]

    def dying(source, target):
        if str(target).endswith(".weights.h5"):
            seen[0] += 1
            if seen[0] == at:
                os.kill(os.getpid(), number)
        replace(source, target)

    os.replace = dying


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-in", choices=PLACES, required=True)
    parser.add_argument("--at", type=int, required=True, help="number of the step or of the backup")
    parser.add_argument("--signal", default="SIGKILL")
    args = parser.parse_args()
    number = signal.Signals[args.signal]
    if args.die_in == "backup":
        die_in_backup(args.at, number)
    train(args.folder, [Die(args.at, number)] if args.die_in == "step" else [])
    print("survived")


if __name__ == "__main__":
    main()
