"""Optimizers whose config tells which weights do not decay.

Keras keeps that in the optimizer's memory only. An optimizer that carries gets a class in front of its own,
of the same name, that lists the weights in `get_config` and leaves them out again once it is built.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import keras

from kerasreg._core.private import built_for
from kerasreg._core.registry import PACKAGE

# The name that a saved model holds, and its config's key.
_NAME = "DecayExclusions"
_KEY = "decay_exclusions"
_PENDING = "_kerasreg_pending"
_EXCLUDED = "_kerasreg_excluded"


class CarriesExclusions:
    """Mixed in before an optimizer's class: its config tells which weights do not decay."""

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """The optimizer's own; from here on it knows its weights."""
        super().build(variables)
        pending = vars(self).pop(_PENDING, None)
        if pending is None:
            return
        if [list(variable.shape) for variable in variables] != pending["weights"]:
            warnings.warn(
                f"The exclusions from weight decay of {type(self).__name__} {self.name!r} were not put back, "
                "because it trains other weights than when it was saved; give them again with "
                "kr.decay_exclusions.",
                stacklevel=2,
            )
            return
        exclude(self, [variables[index] for index in pending["excluded"]], variables)

    def get_config(self) -> dict[str, Any]:
        """The optimizer's own, with what does not decay."""
        return {**super().get_config(), _KEY: _config(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], *args: Any, **kwargs: Any) -> keras.optimizers.Optimizer:
        """The optimizer as it was; the exclusions wait for its weights."""
        config = dict(config)
        carried = config.pop(_KEY, None)
        own = _plain_class(cls)
        if carried is None:
            return own.from_config(config, *args, **kwargs)
        if carried["class"] == _identity(own):
            optimizer = own.from_config(config, *args, **kwargs)
        else:
            optimizer = keras.saving.deserialize_keras_object({**carried["class"], "config": config})
        optimizer.__class__ = _carrying_class(type(optimizer))
        vars(optimizer)[_PENDING] = carried
        return optimizer


def exclude(
    optimizer: keras.optimizers.Optimizer,
    excluded: Sequence[keras.Variable],
    variables: Sequence[keras.Variable],
) -> None:
    """Have these of the variables that it trains, or will train, not decay; and have its config tell it."""
    optimizer.exclude_from_weight_decay(var_list=list(excluded))
    vars(optimizer).pop(_PENDING, None)
    if not excluded:
        optimizer.__class__ = _plain_class(type(optimizer))
        vars(optimizer).pop(_EXCLUDED, None)
        return
    if not isinstance(optimizer, CarriesExclusions):
        optimizer.__class__ = _carrying_class(type(optimizer))
    # Past Keras' own __setattr__, which would take the weights for state of the optimizer's.
    vars(optimizer)[_EXCLUDED] = {id(variable) for variable in excluded}, list(variables)


def _config(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    identity = {"class": _identity(_plain_class(type(optimizer)))}
    pending = vars(optimizer).get(_PENDING)
    if pending is not None:
        return {**pending, **identity}
    ids, planned = vars(optimizer).get(_EXCLUDED, (set(), []))
    variables = built_for(optimizer)
    if variables is None:
        variables = [variable for variable in planned if variable.trainable]
    return {
        **identity,
        # By their places: names that Keras gives differ from process to process.
        "weights": [list(variable.shape) for variable in variables],
        "excluded": [i for i, variable in enumerate(variables) if id(variable) in ids],
    }


def _plain_class(cls: type) -> type:
    return cls.__bases__[1] if cls.__bases__[0] is CarriesExclusions else cls


def _identity(cls: type) -> dict[str, Any]:
    if getattr(keras.optimizers, cls.__name__, None) is cls:
        return {"module": "keras.optimizers", "class_name": cls.__name__, "registered_name": None}
    registered = keras.saving.get_registered_name(cls)
    return {"module": cls.__module__, "class_name": cls.__name__, "registered_name": registered}


@cache
def _carrying_class(cls: type) -> type:
    members = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__qualname__": cls.__qualname__}
    carrying = type(cls.__name__, (CarriesExclusions, cls), members)
    return keras.saving.register_keras_serializable(PACKAGE, _NAME)(carrying)


# For the process that loads an optimizer before it has changed any.
_carrying_class(keras.optimizers.AdamW)
