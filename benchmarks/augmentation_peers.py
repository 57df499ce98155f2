"""The same nine transforms in every library: what `benchmarks.augmentation` sets side by side.

Every contender is a function without arguments that makes float32 images of its batches of uint8 images, and
returns the seconds that one image took. Batches lie in memory, so that nobody pays for reading; each library
is given them in the form that it is fastest with. A dataset is timed while it flows: what it takes to begin
is paid before, and as many batches are on their way at the end as were at the beginning. Nothing heavy is
imported before it is needed: the workers of the process pool import this file.
"""

from __future__ import annotations

import gc
import importlib.util
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

CORES = 2
ROTATION, ZOOM, SHIFT, SHEAR = 15.0, 0.1, 0.1, 0.1
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.2, 0.2, 0.2, 18.0

Contender = Callable[[], float]
AHEAD = 6
"""Batches that flow before a dataset is timed."""


def images(size: int, batch: int) -> np.ndarray:
    """A batch of smooth images with some grain, uint8; made one by one, which takes little memory."""
    rng = np.random.default_rng(0)
    place = np.linspace(0, 7.999, size)
    low, share = place.astype(int), (place % 1).astype("float32")[:, None]
    found = np.empty((batch, size, size, 3), "uint8")
    for image in found:
        coarse = rng.integers(0, 256, (9, 9, 3)).astype("float32")
        rows = coarse[low] * (1 - share[..., None]) + coarse[low + 1] * share[..., None]
        smooth = rows[:, low] * (1 - share) + rows[:, low + 1] * share
        image[:] = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255)
    return found


def timed(work: Callable[[], None], count: int) -> Contender:
    """The seconds for one image of a piece of work on so many."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / count

    return run


def interleaved(contenders: dict[str, Contender], rounds: int) -> dict[str, float]:
    """The median images per second of each, turn by turn; the first turn, which compiles, does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            found = run()
            if turn:
                seconds[name].append(found)
    return {name: 1 / statistics.median(found) for name, found in seconds.items()}


# --- kerasreg ---------------------------------------------------------------------------------------------


def geometry() -> list[Any]:
    """Five of the nine."""
    from kerasreg import augment

    return [
        augment.RandomFlip(),
        augment.RandomRotation(ROTATION),
        augment.RandomZoom(ZOOM),
        augment.RandomTranslation(SHIFT),
        augment.RandomShear(SHEAR),
    ]


def colors() -> list[Any]:
    """The other four."""
    from kerasreg import augment

    return [
        augment.RandomBrightness(BRIGHTNESS),
        augment.RandomContrast(CONTRAST),
        augment.RandomSaturation(SATURATION),
        augment.RandomHue(HUE),
    ]


def in_tf_data(batch: np.ndarray, batches: int, change: Callable[[Any], Any]) -> Contender:
    """So many batches through a dataset that `change` has been applied to."""
    import tensorflow as tf

    dataset = change(tf.data.Dataset.from_tensors(batch).repeat())

    def run() -> float:
        flow = iter(dataset)
        for _ in range(min(AHEAD, batches)):
            next(flow)
        start = time.perf_counter()
        for _ in range(batches):
            next(flow)
        seconds = time.perf_counter() - start
        # What is still on its way must not run in the next one's time.
        del flow
        gc.collect()
        time.sleep(0.05)
        return seconds / (batches * len(batch))

    return run


def ours(batch: np.ndarray, batches: int, transforms: list[Any]) -> Contender:
    """A pipeline in tf.data."""
    from kerasreg.augment import Pipeline

    return in_tf_data(batch, batches, lambda dataset: dataset.apply(Pipeline(transforms, seed=0)))


def cast(batch: np.ndarray, batches: int) -> Contender:
    """Nothing but uint8 to float32 in tf.data: the floor."""
    import tensorflow as tf

    return in_tf_data(
        batch,
        batches,
        lambda dataset: dataset.map(lambda x: tf.cast(x, tf.float32), num_parallel_calls=tf.data.AUTOTUNE),
    )


def numbered(batch: np.ndarray, batches: int) -> Contender:
    """The cast, with every image told its place and its epoch as a pipeline does."""
    import tensorflow as tf

    from kerasreg.augment import stream

    return in_tf_data(
        batch,
        batches,
        lambda dataset: stream.map_numbered(
            dataset,
            True,
            lambda place, element: tf.cast(element, tf.float32),
            stream.Keys(),
            tf.data.AUTOTUNE,
            True,
        ),
    )


def called(batch: np.ndarray, batches: int, transforms: list[Any]) -> Contender:
    """A pipeline called on a batch that is a tensor already, call after call."""
    import tensorflow as tf

    from kerasreg.augment import Pipeline

    pipeline, images = Pipeline(transforms, seed=0), tf.constant(batch)

    def work() -> None:
        for _ in range(batches):
            pipeline(images)

    return timed(work, batches * len(batch))


# --- Keras ------------------------------------------------------------------------------------------------


def keras_layers() -> list[Any]:
    """The nine as Keras' preprocessing layers."""
    from keras import layers

    return [
        layers.RandomFlip("horizontal", seed=1),
        layers.RandomRotation(ROTATION / 360, seed=2),
        layers.RandomZoom(ZOOM, seed=3),
        layers.RandomTranslation(SHIFT, SHIFT, seed=4),
        layers.RandomShear(SHEAR, 0.0, seed=5),
        layers.RandomBrightness(BRIGHTNESS, seed=6),
        layers.RandomContrast(CONTRAST, value_range=(0, 255), seed=7),
        layers.RandomSaturation((0.5 - SATURATION / 2, 0.5 + SATURATION / 2), seed=8),
        layers.RandomHue(HUE / 180, value_range=(0, 255), seed=9),
    ]


def keras_randaugment() -> list[Any]:
    """Two operations a batch, of Keras."""
    from keras import layers

    return [layers.RandAugment(value_range=(0, 255), num_ops=2, seed=1)]


def keras_in_tf_data(batch: np.ndarray, batches: int, layers: list[Any]) -> Contender:
    """Keras' layers, one after the other, in one parallel map."""
    import tensorflow as tf

    def augment(x: Any) -> Any:
        for layer in layers:
            x = layer(x, training=True)
        return tf.cast(x, tf.float32)

    return in_tf_data(
        batch, batches, lambda dataset: dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    )


# --- albumentations ---------------------------------------------------------------------------------------


def has(module: str) -> bool:
    """Whether a peer is installed."""
    return importlib.util.find_spec(module) is not None


def albumentation() -> Callable[[np.ndarray], np.ndarray]:
    """The nine as a flip, one Affine and one ColorJitter, the form in which albumentations is fastest."""
    import albumentations as A
    import cv2

    slant = float(np.degrees(np.arctan(SHEAR)))
    compose = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                rotate=(-ROTATION, ROTATION),
                scale=(1 - ZOOM, 1 + ZOOM),
                keep_ratio=True,
                translate_percent={"x": (-SHIFT, SHIFT), "y": (-SHIFT, SHIFT)},
                shear={"x": (-slant, slant), "y": (0.0, 0.0)},
                border_mode=cv2.BORDER_REFLECT,
                p=1,
            ),
            A.ColorJitter(
                brightness=(1 - BRIGHTNESS, 1 + BRIGHTNESS),
                contrast=(1 - CONTRAST, 1 + CONTRAST),
                saturation=(1 - SATURATION, 1 + SATURATION),
                hue=(-HUE / 360, HUE / 360),
                p=1,
            ),
        ]
    )
    return lambda image: compose(image=image)["image"]


def _fill(change: Callable[[np.ndarray], np.ndarray], batch: np.ndarray, out: np.ndarray) -> None:
    for place, image in enumerate(batch):
        out[place] = change(image)  # which casts


def _opencv_threads(count: int) -> None:
    import cv2

    cv2.setNumThreads(count)


@contextmanager
def albumentations_serially(batch: np.ndarray, batches: int) -> Iterator[Contender]:
    """One process that lets OpenCV use both cores."""
    change, out = albumentation(), np.empty(batch.shape, "float32")

    def work() -> None:
        _opencv_threads(CORES)
        for _ in range(batches):
            _fill(change, batch, out)

    yield timed(work, batches * len(batch))


@contextmanager
def albumentations_in_threads(batch: np.ndarray, batches: int) -> Iterator[Contender]:
    """A thread for each core, a batch for each thread; OpenCV lets the interpreter's lock go."""
    changes = [albumentation() for _ in range(CORES)]
    outs = [np.empty(batch.shape, "float32") for _ in range(CORES)]

    def work(worker: int) -> None:
        for _ in range(worker, batches, CORES):
            _fill(changes[worker], batch, outs[worker])

    with ThreadPoolExecutor(CORES) as pool:

        def all_of_them() -> None:
            _opencv_threads(1)
            list(pool.map(work, range(CORES)))

        yield timed(all_of_them, batches * len(batch))


@contextmanager
def albumentations_in_processes(batch: np.ndarray, batches: int) -> Iterator[Contender]:
    """A process for each core, a batch for each process, images in shared memory: nothing is pickled."""
    context = multiprocessing.get_context("spawn")
    shared_in = SharedMemory(create=True, size=batch.nbytes)
    shared_out = [SharedMemory(create=True, size=4 * batch.nbytes) for _ in range(CORES)]
    np.ndarray(batch.shape, "uint8", shared_in.buf)[:] = batch
    pipes, workers = [], []
    try:
        for out in shared_out:
            here, there = context.Pipe()
            worker = context.Process(
                target=_serve, args=(there, batch.shape, shared_in.name, out.name), daemon=True
            )
            worker.start()
            pipes.append(here)
            workers.append(worker)

        def work() -> None:
            for number, pipe in enumerate(pipes):
                pipe.send(len(range(number, batches, CORES)))
            for pipe in pipes:
                pipe.recv()

        yield timed(work, batches * len(batch))
    finally:
        for pipe in pipes:
            pipe.send(None)
        for worker in workers:
            worker.join()
        for memory in (shared_in, *shared_out):
            memory.close()
            memory.unlink()


def _serve(pipe: Any, shape: tuple[int, ...], name_in: str, name_out: str) -> None:
    memory_in, memory_out = SharedMemory(name_in), SharedMemory(name_out)
    batch = np.ndarray(shape, "uint8", memory_in.buf)
    out = np.ndarray(shape, "float32", memory_out.buf)
    _opencv_threads(1)
    change = albumentation()
    while (count := pipe.recv()) is not None:
        for _ in range(count):
            _fill(change, batch, out)
        pipe.send(count)
    del batch, out
    memory_in.close()
    memory_out.close()


# --- kornia -----------------------------------------------------------------------------------------------


def kornia(batch: np.ndarray, batches: int) -> Contender:
    """The nine as a flip, one RandomAffine and one ColorJiggle, on batches in PyTorch."""
    import torch
    from kornia import augmentation as K

    torch.set_num_threads(CORES)
    slant = float(np.degrees(np.arctan(SHEAR)))
    change = torch.nn.Sequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(
            ROTATION,
            translate=(SHIFT, SHIFT),
            scale=(1 - ZOOM, 1 + ZOOM),
            shear=(-slant, slant),
            padding_mode="REFLECTION",
            p=1.0,
        ),
        K.ColorJiggle(BRIGHTNESS, CONTRAST, SATURATION, HUE / 360, p=1.0),
    )
    inputs = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())

    def work() -> None:
        with torch.no_grad():
            for _ in range(batches):
                change(inputs.to(torch.float32) / 255)

    return timed(work, batches * len(batch))
