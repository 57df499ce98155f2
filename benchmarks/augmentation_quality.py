"""What `benchmarks.augmentation` measures beside speed: memory, compilation, what a chain of warps loses."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from benchmarks import augmentation_peers as peers

Row = dict[str, Any]
MOST_MEMORY, MOST_SECONDS = 2.0, 5.0
ANGLE = 17.0

# The peak of the resident size, in MiB.
MEMORY = """
import resource, sys
import tensorflow as tf
from benchmarks import augmentation_peers as peers
from kerasreg.augment import Pipeline

pixels, batch = int(sys.argv[1]), int(sys.argv[2])
pipeline = Pipeline(peers.geometry() + peers.colors(), seed=0)
images = tf.constant(peers.images(pixels, batch))
for draw in range(8):
    pipeline(images, draw=draw)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

# The first call, the second, and how many files XLA left of what it compiled in the meantime.
COMPILATION = """
import glob, os, sys, time
import tensorflow as tf
from benchmarks import augmentation_peers as peers
from kerasreg.augment import Pipeline

def compiled():
    return len(glob.glob(os.path.join(*sys.argv[3:], "*cpu_after_optimizations.txt")))

pixels, batch = int(sys.argv[1]), int(sys.argv[2])
tf.function(lambda x: x + 1, jit_compile=True)(tf.zeros([]))
pipeline = Pipeline(peers.geometry() + peers.colors(), seed=0)
images = peers.images(pixels, batch)
start, before = time.perf_counter(), compiled()
pipeline(images, draw=0)
first = time.perf_counter() - start
once = compiled() - before
start = time.perf_counter()
pipeline(images, draw=1)
second = time.perf_counter() - start
ragged = tf.data.Dataset.from_tensor_slices(images).repeat(2).take(2 * batch - 1).batch(batch)
dataset, counts = ragged.apply(pipeline), []
for _ in range(2):
    for out in dataset:
        pass
    counts.append(compiled() - before - once)
print(first - second, once, *counts)
"""


def memory(pixels: int, batch: int) -> list[Row]:
    """What so many more images in a batch add to the peak, beside their uint8 and float32 alone."""
    few, many = (float(_run(MEMORY, pixels, count)[0]) for count in (batch, 2 * batch))
    both = pixels * pixels * 3 * batch * (1 + 4) / 2**20
    case = f"{pixels} px, MiB: peak for {batch} images more in a batch, these in and out"
    peak = many - few
    row = _row(case, peak, both, peak / both, f"at most {MOST_MEMORY:g}", peak / both <= MOST_MEMORY)
    # Compiling can have taken more than the batch does, and then its peak hides the batch's: no figure.
    return [row if peak > 0 else {**row, "reached": "not seen"}]


def compilation(pixels: int, batch: int) -> list[Row]:
    """Seconds until the first batch, and what is compiled again in epochs with a ragged end."""
    seconds = float(_run(COMPILATION, pixels, batch)[0])
    with tempfile.TemporaryDirectory() as folder:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder}"
        _, once, first, second = map(float, _run(COMPILATION, pixels, batch, folder, XLA_FLAGS=flags))
    case = f"{pixels} px, s: to compile"
    again = f"{pixels} px, functions compiled: in a second epoch with a ragged end, by the first call"
    return [
        _row(case, seconds, 1.0, seconds, f"at most {MOST_SECONDS:g}", seconds <= MOST_SECONDS),
        _row(again, second - first, once, (second - first) / once, "0", second == first),
    ]


def round_trip(pixels: int) -> list[Row]:
    """A rotation and its inverse in one pipeline: the error in grey levels, and the PSNR beside a chain's."""
    import tensorflow as tf

    from kerasreg.augment import Pipeline, RandomRotation

    images = peers.images(pixels, 4)
    steps = [RandomRotation((ANGLE, ANGLE)), RandomRotation((-ANGLE, -ANGLE))]
    fused = np.asarray(Pipeline(steps)(tf.constant(images)))
    chain = np.asarray(Pipeline(steps, exact=True)(tf.constant(images)))
    error = float(np.abs(fused - images).max())
    case = f"{pixels} px, rotation by {ANGLE:g} and back"
    return [
        _row(
            f"{case}: largest error, that of a chain",
            error,
            float(np.abs(chain - images).max()),
            "",
            "at most 0.5",
            error <= 0.5,
        ),
        _row(f"{case}: PSNR in dB, that of a chain", _psnr(fused, images), _psnr(chain, images), ""),
    ]


def versions() -> dict[str, Any]:
    """Of everything in the run, and the cores."""
    names = ("tensorflow", "keras", "albumentations", "opencv-python-headless", "kornia", "torch")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return {"cores": os.cpu_count(), "versions": found}


def _psnr(images: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean(np.square(images.astype("float64") - truth))
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def _row(
    case: str, ours: float, other: float, ratio: float | str, goal: str = "", reached: bool | str = ""
) -> Row:
    return {"case": case, "ours": ours, "other": other, "ratio": ratio, "goal": goal} | {
        "reached": bool(reached) if goal else ""
    }


def _run(program: str, *values: Any, **environment: str) -> list[str]:
    command = [sys.executable, "-c", program, *map(str, values)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.split()
