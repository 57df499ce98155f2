"""A model's plain prediction, compiled: no noise, no state read or written but its weights."""

from __future__ import annotations

import inspect
import operator
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import refusal
from kerasreg._core.interception import intercept
from kerasreg._core.noise_source import supply
from kerasreg._core.paths import layer_paths
from kerasreg._core.pure_call import compile_pure
from kerasreg._core.tensors import wide_dtype


class Inference:
    """Runs batches of rows through a model with every noise off, `mc=True` and `training=True` too."""

    _kept: ClassVar[weakref.WeakKeyDictionary[keras.Model, Inference]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, model: keras.Model, owner: str) -> Inference:
        """The model's compiled prediction, made anew where a layer has changed since."""
        if not isinstance(model, keras.Model) or not model.built:
            raise refusal(
                owner, "model", "a built keras.Model", model, "call it once on data, or give it an Input"
            )
        kept = cls._kept.get(model)
        if kept is None or not kept.fits(model):
            kept = cls._kept[model] = cls(model)
        return kept

    def __init__(self, model: keras.Model):
        # Weak: what is kept for a model must not keep the model.
        self._model = weakref.ref(model)
        self._layers = list(layer_paths(model))
        takes_training = "training" in inspect.signature(model.call).parameters
        self._arguments = {"training": False} if takes_training else {}
        self._function = compile_pure(model, self._call)
        self.structure: Any = None

    def fits(self, model: keras.Model) -> bool:
        """Whether these are still the model's layers."""
        layers = list(layer_paths(model))
        return len(layers) == len(self._layers) and all(map(operator.is_, layers, self._layers))

    def run(self, x: Any) -> list[np.ndarray]:
        """Each output for a batch, flattened in the order of `structure`, float32 or float64."""
        return [np.asarray(ops.convert_to_numpy(y)) for y in self._function(x)]

    def _call(self, x: Any) -> list[Any]:
        with ExitStack() as silence:
            for layer in self._layers:
                if getattr(layer, "mc", False):
                    silence.enter_context(supply(layer, None))
            silence.enter_context(intercept(_in_inference_mode))
            outputs = self._model()(x, **self._arguments)
        self.structure = keras.tree.map_structure(lambda y: 0, outputs)
        return [ops.cast(y, wide_dtype(y.dtype)) for y in keras.tree.flatten(outputs)]


def _in_inference_mode(layer: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
    return proceed(*args, **({**kwargs, "training": False} if kwargs.get("training") is True else kwargs))
