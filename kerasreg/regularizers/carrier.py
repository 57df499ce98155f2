"""Layers whose config tells the penalty of every weight below them.

Keras keeps a penalty in a layer's constructor argument. Many weights have none: those of a subclassed layer
or model, of a wrapper, of multi-head attention. A layer that carries gets a class in front of its own, of the
same name, that lists the penalties in `get_config` and puts them back once the weights exist again.
"""

from __future__ import annotations

import types
import warnings
from functools import cache, wraps
from typing import Any

import keras

from kerasreg._core.own_penalty import OwnPenalty
from kerasreg._core.private import own_weights
from kerasreg._core.registry import PACKAGE
from kerasreg._core.sublayers import with_sublayers

# The name that a saved model holds, and its config's key.
_NAME = "Regularized"
_KEY = "regularized"
_PENDING = "_kerasreg_pending"
_PLAIN = "_kerasreg_plain"


class CarriesRegularizers:
    """Mixed in before a layer's class: its config holds the regularizers of all weights below it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's own call; after the first one the weights are there."""
        outputs = super().__call__(*args, **kwargs)
        restore(self)
        return outputs

    def build_from_config(self, config: dict[str, Any]) -> None:
        """The layer's own; a model of a subclass is built by it when it is loaded."""
        super().build_from_config(config)
        restore(self)

    def load_own_variables(self, store: Any) -> None:
        """The layer's own; the last one to be called when a model is loaded."""
        restore(self)
        if vars(self).pop(_PENDING, None) is not None:
            warnings.warn(
                f"The penalties of {type(self).__name__} {self.name!r} were not put back, because it has "
                "other weights than when it was saved; give them again with kr.regularize.",
                stacklevel=2,
            )
        super().load_own_variables(store)

    @classmethod
    def from_config(cls, config: dict[str, Any], *args: Any, **kwargs: Any) -> keras.layers.Layer:
        """The layer as it was; the penalties wait for its weights."""
        config = dict(config)
        carried = config.pop(_KEY, None)
        own = plain_class(cls)
        if carried is None:
            return own.from_config(config, *args, **kwargs)
        if carried["class"] == _identity(own):
            layer = own.from_config(config, *args, **kwargs)
        else:
            layer = keras.saving.deserialize_keras_object({**carried["class"], "config": config})
        carry(layer, plain=True)
        # At once: whoever loads a model may have named its classes for the time of loading only.
        waiting = {int(i): keras.regularizers.get(value) for i, value in carried["regularizers"].items()}
        # Past Keras' own __setattr__, which would track it and walk through it when it saves.
        vars(layer)[_PENDING] = (carried["weights"], waiting)
        restore(layer)
        return layer


def carry(layer: keras.layers.Layer, plain: bool) -> None:
    """Have a layer's config tell the penalties of all weights below it, in its place in every model.

    Args:
        layer: The layer.
        plain: Whether it had no penalty so far, so that it may be put back one day.
    """
    if not isinstance(layer, CarriesRegularizers):
        vars(layer)[_PLAIN] = plain
        layer.__class__ = _carrying_class(type(layer))


def put_down(layer: keras.layers.Layer) -> None:
    """Undo `carry`, where the layer's constructor gives no penalty that it would have to take back."""
    if (
        type(layer) is not plain_class(type(layer))
        and vars(layer).get(_PLAIN)
        and _PENDING not in vars(layer)
    ):
        layer.__class__ = plain_class(type(layer))


def plain_class(cls: type) -> type:
    """The class that a layer of this class has when it carries nothing."""
    return cls.__bases__[1] if cls.__bases__[0] is CarriesRegularizers else cls


def can_be_saved(regularizer: Any) -> bool:
    """Whether Keras can save a regularizer: an object with a config of its own, or a registered function."""
    if isinstance(regularizer, types.FunctionType):
        name = keras.saving.get_registered_name(regularizer)
        return keras.saving.get_registered_object(name) is regularizer
    # That of the base class only raises.
    config = getattr(type(regularizer), "get_config", None)
    return config is not None and config is not keras.regularizers.Regularizer.get_config


@cache
def functions_are_taken() -> bool:
    """Whether Keras lets a function be a weight's regularizer, as it does from version 3.15 on."""
    try:
        keras.Variable(0.0).regularizer = float
    except ValueError:
        return False
    return True


def is_layers_own(variable: keras.Variable) -> bool:
    """Whether a penalty is a part of its layer, as that of a learned dropout rate, and comes back with it."""
    penalty = variable.regularizer
    if penalty is None or isinstance(penalty, keras.regularizers.Regularizer):
        return isinstance(penalty, OwnPenalty)
    return not can_be_saved(penalty)


def restore(layer: keras.layers.Layer) -> None:
    """Put the penalties that wait to the weights, if these are all there; else they go on waiting."""
    pending = vars(layer).get(_PENDING)
    if pending is None or [_shape(weight) for weight in layer.weights] != pending[0]:
        return
    vars(layer)[_PLAIN] = all(weight.regularizer is None or is_layers_own(weight) for weight in layer.weights)
    trained = {id(weight) for part in with_sublayers(layer) for weight in own_weights(part)}
    for index, weight in enumerate(layer.weights):
        if id(weight) in trained and not is_layers_own(weight):
            weight.regularizer = pending[1].get(index)
    del vars(layer)[_PENDING]


def _config(layer: keras.layers.Layer) -> dict[str, Any]:
    weights = layer.weights
    found = {index: weight.regularizer for index, weight in enumerate(weights) if not is_layers_own(weight)}
    # A copy that has no weights yet tells on what it was told.
    shapes, regularizers = vars(layer).get(_PENDING) or ([_shape(weight) for weight in weights], found)
    return {
        "class": _identity(plain_class(type(layer))),
        # By their places: names that Keras gives differ from process to process.
        "weights": shapes,
        "regularizers": {
            str(index): keras.regularizers.serialize(regularizer)
            for index, regularizer in regularizers.items()
            if regularizer is not None
        },
    }


def _shape(weight: keras.Variable) -> list[int]:
    return [int(size) for size in weight.shape]


def _identity(cls: type) -> dict[str, Any]:
    name = cls.__name__
    public = next((m for m in ("layers", "models") if getattr(getattr(keras, m), name, None) is cls), None)
    if public is not None:
        return {"module": f"keras.{public}", "class_name": name, "registered_name": None}
    registered = keras.saving.get_registered_name(cls)
    return {"module": cls.__module__, "class_name": name, "registered_name": registered}


@cache
def _carrying_class(cls: type) -> type:
    # With Keras' mark of a config made from the constructor's arguments, where the class has it.
    @wraps(cls.get_config)
    def get_config(self: keras.layers.Layer) -> dict[str, Any]:
        return {**super(carrying, self).get_config(), _KEY: _config(self)}

    # Weight files call a layer's weights after its class: they have to fit before and after.
    members = {
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
        "__qualname__": cls.__qualname__,
        "get_config": get_config,
    }
    carrying = type(cls.__name__, (CarriesRegularizers, cls), members)
    return keras.saving.register_keras_serializable(PACKAGE, _NAME)(carrying)


# For the process that loads a model before it has regularized any.
_carrying_class(keras.layers.Layer)
