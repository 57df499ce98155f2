"""Whether a process that trains for long stays as it was: memory, file handles, threads, objects.

One model is trained again and again, with every callback of ours and an augmentation pipeline, and predicts
in between. After each round, and a collection of garbage, everything is counted. What grows is told by the
median of all slopes between two rounds (Theil and Sen), so that no single round decides.
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import os
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerasreg as kr

SECONDS, QUICK_SECONDS = 560, 20
BATCH, COUNT = 16, 256
# What may be added in 1000 steps, and what not: one handle, thread or variable is one too many.
LIMITS = {
    "memory, MB": 1.0,
    "file handles": 0.0,
    "threads": 0.0,
    "keras variables": 0.0,
    "traced functions": 0.0,
    "Python objects": 100.0,
}


def counts() -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    objects = gc.get_objects()
    kinds = Counter(type(found).__name__ for found in objects)
    return {
        "memory, MB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "file handles": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "keras variables": sum(isinstance(found, keras.Variable) for found in objects),
        "traced functions": kinds["FuncGraph"] + kinds["ConcreteFunction"],
        "Python objects": len(objects),
    }


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """The median of the slopes between any two points: Theil (1950), Sen (1968)."""
    pairs = itertools.combinations(range(len(x)), 2)
    found = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in pairs if x[j] != x[i]]
    return float(np.median(found)) if found else 0.0


class Soak:
    """A small image classifier, its data, and one round of everything that one does with it."""

    def __init__(self, folder: Path, ours: bool, steps: int, epochs: int):
        keras.utils.set_random_seed(0)
        self.folder, self.ours, self.steps, self.epochs = folder, ours, steps, epochs
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (COUNT, 8, 8, 1)).astype("uint8")
        labels = rng.integers(0, 4, COUNT)
        names = kr.layers if ours else keras.layers
        self.model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
                names.BatchNormalization(),
                keras.layers.Flatten(),
                names.Dropout(0.3),
                keras.layers.Dense(4, activation="softmax"),
            ]
        )
        self.model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=1)
        data = tf.data.Dataset.from_tensor_slices((self.images, labels)).repeat().batch(BATCH)
        if ours:
            data = data.apply(kr.augment.Pipeline([kr.augment.RandomRotation(9)]))
        self.data = data

    def callbacks(self, number: int) -> list[keras.callbacks.Callback]:
        """New ones for each round, as each `fit` of a person's has."""
        if not self.ours:
            return []
        return [
            kr.callbacks.BackupAndRestore(self.folder / "backup"),
            kr.callbacks.ActivationStats(
                self.folder / f"log{number % 4}", gradients=True, histograms=True, per_channel=True, every=20
            ),
            kr.callbacks.PenaltyReport(),
        ]

    def round(self, number: int) -> int:
        """Train, predict, and predict with dropout; how many steps that were."""
        with contextlib.redirect_stdout(io.StringIO()):  # findings about numbers drawn at random
            self._fit(number)
        self.model.predict(self.images, verbose=0)
        if self.ours:
            kr.mc_predict(self.model, self.images[:32], samples=5, seed=number)
        for file in self.folder.rglob("*"):
            # TensorBoard's files of an hour would fill the disk, which is not what is asked here.
            if file.is_file():
                file.unlink()
        return self.steps * self.epochs

    def _fit(self, number: int) -> None:
        self.model.fit(
            self.data,
            steps_per_epoch=self.steps,
            epochs=self.epochs,
            shuffle=False,
            callbacks=self.callbacks(number),
            verbose=0,
        )


def soaked(ours: bool, seconds: float, steps: int, epochs: int) -> list[dict[str, Any]]:
    """Rounds until the time is over: what was held after each, and after how many steps."""
    measured: list[dict[str, Any]] = []
    total, begin = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), ours, steps, epochs)
        while time.perf_counter() - begin < seconds or len(measured) < 6:
            total += soak.round(len(measured))
            measured.append({"steps": total, **counts()})
            if len(measured) % 5 == 0:
                spent = time.perf_counter() - begin
                print(f"  {total} steps, {spent:.0f} s, {measured[-1]['memory, MB']:.0f} MB", flush=True)
    return measured


def rows(quick: bool) -> list[dict[str, Any]]:
    """For Keras alone and with everything of ours, what grew after the warm-up.

    Args:
        quick: Whether 20 seconds have to do.
    """
    seconds = QUICK_SECONDS if quick else SECONDS
    steps, epochs = (30, 2) if quick else (250, 4)
    found = []
    for ours, share in ((False, 0.15), (True, 0.85)):
        name = "with kerasreg" if ours else "Keras alone"
        print(name, flush=True)
        measured = soaked(ours, share * seconds, steps, epochs)
        # The first rounds fill caches: TensorFlow's, the allocator's, ours.
        warm = measured[len(measured) // 3 :]
        at = np.array([one["steps"] for one in warm], float)
        for what, limit in LIMITS.items():
            held = np.array([one[what] for one in warm], float)
            grown = slope(at, held) * 1000
            found.append(
                {
                    "training": name,
                    "of": what,
                    "steps": measured[-1]["steps"],
                    "rounds": len(measured),
                    "after warm-up": round(float(held[0]), 1),
                    "at the end": round(float(held[-1]), 1),
                    "per 1000 steps": round(grown, 4),
                    "limit": limit,
                    "flat": bool(grown <= limit),
                }
            )
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of the counts stayed flat with kerasreg in the process."""
    ours = [row for row in rows if row["training"] == "with kerasreg"]
    memory = next(row["per 1000 steps"] for row in ours if row["of"] == "memory, MB")
    return {
        "tried": len(ours),
        "held": sum(row["flat"] for row in ours),
        "of": f"counts of a process, flat over {ours[0]['steps']} steps: memory grew {memory:.2g} MB in 1000",
        "lost": "; ".join(row["of"] for row in ours if not row["flat"]),
    }
