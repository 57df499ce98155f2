"""A forward pass in which batch norms normalise with the batch and say what they were given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kerasreg._core.interception import intercept
from kerasreg._core.private import get_mask, set_mask
from kerasreg._core.tensors import shape_fits, wide_dtype
from kerasreg._core.tracing import current_trace
from kerasreg.batch_norm.kinds import calls_as_keras_does
from kerasreg.layers.batch_moments import BatchMoments, batch_moments

Figures = dict[str, list[BatchMoments]]


def measuring_pass(model: keras.Model, paths: Mapping[keras.layers.Layer, str]) -> Callable[[Any], Figures]:
    """A function from a batch to the moments of what reaches the layers in `paths`, one for each call.

    These layers normalise with the batch, all else is in inference mode: no dropout, no augmentation. A layer
    that runs inside a loop or a function transform is not seen.
    """
    takes_training = "training" in inspect.signature(model.call).parameters
    arguments = {"training": False} if takes_training else {}

    def measure(x: Any) -> Figures:
        figures: Figures = {}
        trace = current_trace()

        def handler(
            layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
        ) -> Any:
            if layer not in paths or current_trace() != trace:
                return proceed(*args, **kwargs)
            found, outputs = _normalize(layer, proceed, args, kwargs)
            figures.setdefault(paths[layer], []).append(found)
            return outputs

        with intercept(handler):
            model(x, **arguments)
        return figures

    return measure


def _normalize(
    layer: keras.layers.BatchNormalization, proceed: Callable[..., Any], args: tuple, kwargs: dict
) -> tuple[BatchMoments, Any]:
    given = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    inputs = given["inputs"]
    mask = given.get("mask")
    mask = get_mask(inputs) if mask is None else mask
    # In the type in which they reach the layer.
    inputs = ops.cast(inputs, layer.compute_dtype)
    x = ops.cast(inputs, wide_dtype(inputs.dtype))
    rank = len(x.shape)
    feature = layer.axis % rank
    axes = tuple(axis for axis in range(rank) if axis != feature)
    found = batch_moments(x, axes, None if mask is None else _spread(mask, x.shape, feature))
    # The layer itself says of what type its output is, and which mask goes on with it.
    own = calls_as_keras_does(layer)
    outputs = proceed(*args, **{**kwargs, "training": not own})
    if own:
        mask = get_mask(outputs)
        outputs = ops.cast(_affine(layer, x, found, feature), outputs.dtype)
        set_mask(outputs, mask)
    count = ops.broadcast_to(found.count, ops.shape(found.mean))
    return BatchMoments(*(ops.reshape(figure, (-1,)) for figure in (count, *found[1:]))), outputs


def _affine(layer: keras.layers.BatchNormalization, x: Any, found: BatchMoments, feature: int) -> Any:
    shape = tuple(-1 if axis == feature else 1 for axis in range(len(x.shape)))

    def laid_out(weight: Any) -> Any:
        return ops.reshape(ops.cast(weight, x.dtype), shape)

    # Nothing to measure in a batch that is masked throughout.
    measured = found.count > 0
    mean = ops.where(measured, found.mean, laid_out(layer.moving_mean))
    variance = ops.where(measured, found.variance, laid_out(layer.moving_variance))
    scale = ops.rsqrt(variance + layer.epsilon)
    y = (x - mean) * (scale * laid_out(layer.gamma) if layer.scale else scale)
    return y + laid_out(layer.beta) if layer.center else y


def _spread(mask: Any, shape: tuple[int | None, ...], feature: int) -> Any:
    """A mask with as many axes as the inputs, of size 1 where it says the same for all."""
    first = shape[: len(mask.shape)]
    sizes = [1 if own == 1 else size for own, size in zip(mask.shape, first, strict=True)]
    if not shape_fits(mask.shape, sizes):
        mask = ops.expand_dims(mask, feature)
    return ops.reshape(mask, (*ops.shape(mask), *[1] * (len(shape) - len(mask.shape))))
