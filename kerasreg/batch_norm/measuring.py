"""A forward pass in which batch norms normalise with the batch and say what they were given."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._core.interception import intercept
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import get_mask, set_mask
from kerasreg._core.pure_call import compile_pure
from kerasreg._core.tensors import shape_fits, wide_dtype
from kerasreg._core.tracing import current_trace
from kerasreg.batch_norm.kinds import calls_as_keras_does
from kerasreg.layers.batch_moments import BatchMoments, batch_moments, flat

Figures = dict[str, list[BatchMoments]]


class Measuring:
    """A compiled pass over a batch, in which batch norms normalise with the batch and are measured.

    All else is in inference mode: no dropout, no augmentation. Each shape of a batch is compiled once, for as
    long as the model, its layers and which of them are frozen stay.

    Args:
        model: A built model.
        paths: The batch norms to measure, with their paths.

    Attributes:
        hidden: Paths of layers that were called inside a loop or a function transform, which no value leaves.
    """

    _kept: ClassVar[weakref.WeakKeyDictionary[keras.Model, Measuring]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, model: keras.Model, paths: Mapping[keras.layers.Layer, str]) -> Measuring:
        """The model's pass, made anew where its layers have changed since."""
        layers = [(layer, type(layer), layer in paths) for layer in layer_paths(model)]
        kept = cls._kept.get(model)
        if kept is None or kept._layers != layers:
            kept = cls._kept[model] = cls(model, paths)
            kept._layers = layers
        return kept

    def __init__(self, model: keras.Model, paths: Mapping[keras.layers.Layer, str]):
        # Weak: what is kept for a model must not keep the model.
        self._model = weakref.ref(model)
        self._paths = dict(paths)
        self._layers: list[tuple[keras.layers.Layer, type, bool]] = []
        takes_training = "training" in inspect.signature(model.call).parameters
        self._arguments = {"training": False} if takes_training else {}
        self._compiled = compile_pure(model, self._measure)
        self.hidden: set[str] = set()

    def __call__(self, x: Any) -> Figures:
        """From each layer's path to the moments of what reaches it in a batch, one for each call."""
        return self._compiled(x)

    def _measure(self, x: Any) -> Figures:
        figures: Figures = {}
        trace = current_trace()

        def handler(layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
            path = self._paths.get(layer)
            if path is None:
                return proceed(*args, **kwargs)
            if current_trace() != trace:
                self.hidden.add(path)
                return proceed(*args, **kwargs)
            found, outputs = _normalize(layer, proceed, args, kwargs)
            figures.setdefault(path, []).append(found)
            return outputs

        with intercept(handler):
            self._model()(x, **self._arguments)
        return figures


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
    return flat(found._replace(count=count)), outputs


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
