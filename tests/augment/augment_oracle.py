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
