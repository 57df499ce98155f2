"""A pipeline's random views of a batch, and the way back from what a model says about them.

A view's numbers are a function of (seed, sample, row), apart from those of a dataset or of a call: the same
for every batch size, and no state of the pipeline moves.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment import dispatch, draws, values
from kerasreg.augment.execute import chain_matrix, execute, size_after
from kerasreg.augment.pipeline import Pipeline
from kerasreg.augment.plan import Plan
from kerasreg.augment.warp import sizes, warp

# Keeps the draws apart from those of a pipeline with any seed that a person would type.
_KEY = 0x7669657773
# A place on the very edge of the frame is in it, whatever its last bits say; in shares of the size.
_SLACK = 1e-5


class Views:
    """The compiled views of one pipeline; kept as long as the pipeline is."""

    _kept: ClassVar[weakref.WeakKeyDictionary[Pipeline, Views]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, pipeline: Any, owner: str) -> Views:
        """The pipeline's views, made once."""
        if not isinstance(pipeline, Pipeline):
            raise arguments.refusal(owner, "pipeline", "a kerasreg.augment.Pipeline", pipeline)
        if pipeline not in cls._kept:
            cls._kept[pipeline] = cls(pipeline)
        return cls._kept[pipeline]

    def __init__(self, pipeline: Pipeline) -> None:
        # Not the pipeline itself: what is kept for it must not keep it.
        self._plan = pipeline.explain()
        self._check = _check_of(pipeline)
        self._lanes = self._plan.lanes
        self._kernels: dict[Any, Any] = {}

    def one_way(self) -> list[str]:
        """The names of the transforms that a prediction cannot be led back through."""
        return [step.name for step in self._plan.steps if not step.transform.invertible]

    def mixes(self) -> list[str]:
        """The names of the transforms that make one image of two."""
        return [step.name for step in self._plan.mixes]

    def check(self, images: np.ndarray) -> None:
        """Refuse what the pipeline would refuse."""
        self._check(images)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the views of images of this shape."""
        height, width = size_after(self._plan.geometry, shape[1:3])
        return shape[0], int(height), int(width), shape[3]

    def unchanged(self, images: np.ndarray) -> np.ndarray:
        """The images as they are, in the type and the units of the views."""
        units = self._plan.units
        if units.scale != (1.0,) or units.offset != (0.0,):
            images = units.carried(images)
        return tf.cast(images, self._plan.dtype).numpy()

    def draw(
        self, images: np.ndarray, seed: int, sample: int, first_row: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """One view of each image, and how it came about.

        Args:
            images: `(images, height, width, channels)`.
            seed: A whole number in [0, 2^31).
            sample: Which of the views.
            first_row: The first image's number in the whole input.

        Returns:
            The views, and the output-to-input matrices of each step, `(steps, images, 3, 3)`.
        """
        signature = (images.shape[1:], images.dtype)
        if signature not in self._kernels:
            scalar = tf.TensorSpec([], tf.int64)
            batch = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
            self._kernels[signature] = tf.function(
                partial(draw_views, self._plan, self._lanes), input_signature=[batch, scalar, scalar]
            )
        place = tf.constant(seed * 2**32 + sample, tf.int64), tf.constant(first_row, tf.int64)
        views, matrices = self._kernels[signature](images, *place)
        return views.numpy(), matrices.numpy()


def draw_views(
    plan: Plan, lanes: Sequence[tuple[int, int]], images: tf.Tensor, place: tf.Tensor, first: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The views of a batch, and the matrices of each step of the plan."""
    compiled = dispatch.compiler(images.shape)
    index = first + tf.range(tf.shape(images, out_type=tf.int64)[0])
    uniform = compiled(partial(draws.uniforms, _KEY, lanes))(place, index)
    size, matrices = sizes(images)[:2], []
    for segment in plan.segments:
        matrices.append(chain_matrix(segment.geometry, uniform, *size))
        size = size_after(segment.geometry, size)
    return execute(plan, images, uniform, compiled), tf.stack(matrices)


def lead_back(
    outputs: np.ndarray, matrices: np.ndarray, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What was said about the views, at the places that it was said about; bilinear between pixels.

    A pixel's place in the view is followed through the pipeline's steps. It counts where it is inside the
    frame after each of them: what left the frame, and came back as a fill, is not what the pixel showed.

    Args:
        outputs: Predictions for the views, `(images, height, width, channels)`, of the images' size or of
            another that divides the same frame.
        matrices: From `Views.draw`.
        image_size: Height and width of the images.

    Returns:
        float32 of the outputs' shape, and which pixels count, bool of shape `(images, height, width)`.
    """
    height, width = outputs.shape[1:3]
    # The outputs' pixels are as many times larger as there are fewer of them; both frames share their centre.
    scale = np.array([width / image_size[1], height / image_size[0], 1.0])
    inverse = scale[:, None] * np.linalg.inv(matrices.astype("float64")) / scale
    y, x = np.meshgrid(
        np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
    )
    places = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    half = np.array([width, height]) / 2 * (1 + _SLACK)
    counts = np.ones((len(outputs), height * width), bool)
    chain = np.eye(3)
    for step in inverse:
        chain = step @ chain
        x, y, w = np.moveaxis(chain @ places, 1, 0)
        # With w below 0 a place is beyond a perspective's horizon, and seen nowhere.
        counts &= (w > 0) & (np.abs(x) <= half[0] * w) & (np.abs(y) <= half[1] * w)
    chain = chain / chain[:, 2:, 2:]
    moved, _ = warp(tf.constant(outputs), tf.constant(chain, tf.float32), "nearest", projective=True)
    return moved.numpy().reshape(outputs.shape), counts.reshape(outputs.shape[:3])


def _check_of(pipeline: Pipeline) -> Any:
    value_range = pipeline.value_range
    channels = pipeline.explain().channels

    def check(images: np.ndarray) -> None:
        spec = tf.TensorSpec(images.shape, images.dtype)
        values.check_spec(spec, value_range)
        values.check_channels(spec, channels)
        if values.needs_look(spec.dtype, value_range):
            values.check_values(images, value_range)

    return check
