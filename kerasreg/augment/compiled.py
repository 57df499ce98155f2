"""A plan's one step on a batch: drawn, carried out and compiled once for each kind of batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kerasreg.augment import dispatch, draws, elements
from kerasreg.augment.execute import execute
from kerasreg.augment.targets.follow import Targets
from kerasreg.augment.warp import sizes

Parts = dict[str, Any]
"""What a plan has to know of an element, by Keras' names."""


class Compiled:
    """The parts of an element after the plan, given what the draws are for; no checks."""

    def __init__(self, targets: Targets, key: int) -> None:
        self._targets = targets
        self._key = key
        self.functions: dict[Any, Any] = {}

    def __call__(
        self,
        parts: Parts,
        epoch: tf.Tensor,
        index: tf.Tensor,
        widest: tf.Tensor | None = None,
        frame: tf.Tensor | None = None,
    ) -> Parts:
        """The parts, augmented.

        Args:
            parts: From `Targets.split`: the images, one or a batch, and what moves with them.
            epoch: int64, a scalar or one for each image.
            index: int64, the number of each image in its epoch, a scalar for a single one.
            widest: The size to which a smaller batch is padded while it is worked on, scalar int64.
            frame: For a single image that is part of one, see `files.Opened`.
        """
        images = parts[elements.KEY]
        if images.shape.rank == 3:
            single = self(_each(lambda part: part[None], parts), epoch, index[None], None, frame)
            return _each(lambda part: part[0], single)
        size = tf.shape(images, out_type=tf.int64)[0]
        function = self._function(parts, epoch.shape.rank, frame is not None)
        if frame is not None:
            return function(parts, epoch, index, size, frame)
        if widest is None or images.shape[0] is not None:
            return function(parts, epoch, index, size)
        missing = tf.cast(widest - size, tf.int32)
        real = (parts, epoch, index) if epoch.shape.rank else (parts, index)
        padded = tf.cond(missing > 0, lambda: _pad(real, missing), lambda: real)
        whole = function(padded[0], padded[1] if epoch.shape.rank else epoch, padded[-1], size)
        return _each(lambda part: part[:size], whole)

    def _function(self, parts: Parts, epochs: int, framed: bool) -> Any:
        """The compiled function for parts of these shapes and dtypes, and an epoch of this rank."""
        specs = _each(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), parts)
        described = ((tuple(path), spec) for path, spec in keras.tree.flatten_with_path(specs))
        signature = (epochs, framed, *described)
        if signature not in self.functions:
            scalar, numbers = tf.TensorSpec([], tf.int64), tf.TensorSpec([None], tf.int64)
            frame = [tf.TensorSpec([4], tf.int32)] * framed
            self.functions[signature] = tf.function(
                partial(augment_batch, self._targets, self._key),
                input_signature=[specs, numbers if epochs else scalar, numbers, scalar, *frame],
            )
        return self.functions[signature]


def augment_batch(
    targets: Targets,
    key: int,
    parts: Parts,
    epoch: tf.Tensor,
    index: tf.Tensor,
    size: tf.Tensor,
    frame: tf.Tensor | None = None,
) -> Parts:
    """Draw for the images of these numbers in an epoch, and carry out the plan.

    Args:
        targets: The plan, and what it does beside the images.
        key: The pipeline's seed.
        parts: From `Targets.split`, all batched.
        epoch: int64, a scalar or one for each image.
        index: int64 of shape `(images,)`, each image's number in the epoch.
        size: Scalar int64, how many of the images are real; those behind them are padding.
        frame: Where images lie that are parts of others, see `execute`.
    """
    images, plan = parts[elements.KEY], targets.plan
    compiled = dispatch.compiler(images.shape)
    uniform = compiled(partial(draws.uniforms, key, plan.lanes))(epoch, index)
    pairs = {}
    if plan.mixes:
        pairs = compiled(partial(targets.find_pairs, sizes(images)[:2]))(uniform, size)
    followed = targets.follow(parts, uniform, pairs, compiled)
    return {elements.KEY: execute(plan, images, uniform, compiled, pairs, frame), **followed}


def _each(function: Callable[[Any], Any], parts: Any) -> Any:
    return tf.nest.map_structure(function, parts)


def _pad(parts: Any, missing: tf.Tensor) -> Any:
    return _each(lambda part: tf.pad(part, [[0, missing], *[[0, 0]] * (part.shape.rank - 1)]), parts)
