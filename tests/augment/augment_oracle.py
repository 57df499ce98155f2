"""Random images, SciPy's bilinear resampling of them, and pipelines with nothing to compile."""

import numpy as np
import tensorflow as tf
from scipy.ndimage import map_coordinates

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.draws import call_epoch, uniforms
from kerasreg.augment.execute import execute

# SciPy's names: "reflect" repeats the edge pixel as ours does, and its "constant" and "wrap" do not
# interpolate across the border, its "grid-" forms do.
SCIPY_MODES = {"reflect": "reflect", "nearest": "nearest", "wrap": "grid-wrap", "constant": "grid-constant"}


def random_images(count=2, height=9, width=12, channels=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels)).astype(dtype)


def scipy_warp(image, matrix, mode):
    height, width, channels = image.shape
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    y, x = np.mgrid[:height, :width].astype(float)
    places = np.stack([x - center[0], y - center[1], np.ones_like(x)])
    x, y, _ = np.einsum("ij,jhw->ihw", np.float64(matrix), places)
    where = [y + center[1], x + center[0]]
    return np.stack(
        [
            map_coordinates(image[..., c].astype(float), where, order=1, mode=SCIPY_MODES[mode])
            for c in range(channels)
        ],
        axis=-1,
    )


def fixed(name, value, **more):
    """A transform that always draws this magnitude."""
    return getattr(augment, name)((value, value), **more)


def first_draw(transforms, images, **arguments):
    """The first draw of a pipeline, carried out operation by operation: nothing to compile."""
    pipeline = Pipeline(transforms, **arguments)
    return execute(pipeline.explain(), tf.constant(images), drawn(pipeline, len(images))).numpy()


def drawn(pipeline, count):
    """The uniform numbers of `pipeline(images, draw=0)`."""
    return uniforms(
        pipeline.seed,
        pipeline.explain().lanes,
        call_epoch(tf.constant(0, tf.int64)),
        tf.range(count, dtype=tf.int64),
    )


def resampled(image, matrix, mode, size, interpolation):
    """Any kernel by its formula in float64, tap by tap on an image padded by NumPy.

    Returns the pixels (0 outside a constant fill), the share from inside, and the places, y and x.
    """
    height, width, _ = image.shape
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    places = np.stack([x - (size[1] - 1) / 2, y - (size[0] - 1) / 2, np.ones_like(x)])
    x, y, w = np.einsum("ij,jhw->ihw", np.float64(matrix), places)
    w = np.maximum(w, 1e-6)
    x, y = x / w + (width - 1) / 2, y / w + (height - 1) / 2
    pixels, share = 0, 0
    for row, by_row in taps(y, interpolation):
        for column, by_column in taps(x, interpolation):
            at_row, in_row = outside(row, height, mode)
            at_column, in_column = outside(column, width, mode)
            weight = by_row * by_column * in_row * in_column
            pixels = pixels + weight[..., None] * image[at_row, at_column]
            share = share + weight
    return pixels, share, np.stack([y, x])


def taps(place, interpolation):
    if interpolation == "nearest":
        return [(np.floor(place + 0.5).astype(int), np.ones_like(place))]
    first = np.floor(place).astype(int)
    if interpolation == "bilinear":
        return [(first + k, np.maximum(1 - np.abs(place - first - k), 0)) for k in (0, 1)]
    found = []
    for k in (-1, 0, 1, 2):
        t = np.abs(place - first - k)
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        found.append((first + k, np.where(t <= 1, near, far)))
    return found


def outside(index, size, mode):
    inside = np.ones_like(index, float)
    if mode == "constant":
        inside = ((index >= 0) & (index < size)).astype(float)
    if mode == "wrap":
        index = index % size
    if mode == "reflect":
        index = index % (2 * size)
        index = np.minimum(index, 2 * size - 1 - index)
    return np.clip(index, 0, size - 1), inside
