"""Batch norms that stay in inference mode, whatever `training` and `trainable` say."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras

from kerasreg._core.registry import PACKAGE

# The name that a saved model holds.
_NAME = "FrozenBatchNormalization"


class FrozenStatistics:
    """Mixed in before a batch-norm class: its call never trains.

    `layer.trainable = False` does that too in Keras, but `model.trainable = True` undoes it without a word,
    and gamma and beta stop with it, in a model whose optimizer may know them already.

    Attributes:
        affine_held: Whether gamma and beta were taken from training together with the statistics.
    """

    affine_held = False

    def call(self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Normalise with the moving statistics."""
        return super().call(inputs, *args, training=False, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The layer's own config, with what it was and how it was frozen."""
        was = keras.saving.get_registered_name(thawed_class(type(self)))
        return {**super().get_config(), "frozen": {"class": was, "affine_held": self.affine_held}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.BatchNormalization:
        """The layer as it was, frozen."""
        config = dict(config)
        frozen = config.pop("frozen")
        was = _find_class(cls, frozen["class"])
        layer = was.from_config(config)
        freeze(layer, affine_held=False)
        # Its config has switched it off already.
        layer.affine_held = frozen["affine_held"]
        return layer


def freeze(layer: keras.layers.BatchNormalization, affine_held: bool) -> None:
    """Freeze the layer's statistics, in its place in every model that holds it."""
    if not isinstance(layer, FrozenStatistics):
        layer.__class__ = _frozen_class(type(layer))
    if affine_held and layer.trainable:
        layer.trainable = False
        layer.affine_held = True
    elif not affine_held and layer.affine_held:
        layer.trainable, layer.affine_held = True, False


def thaw(layer: keras.layers.BatchNormalization) -> None:
    """Undo `freeze`."""
    if isinstance(layer, FrozenStatistics):
        freeze(layer, affine_held=False)
        layer.__class__ = thawed_class(type(layer))


def thawed_class(cls: type) -> type:
    """The class that a batch norm of this class has when it is not frozen."""
    return cls.__bases__[1] if issubclass(cls, FrozenStatistics) else cls


@cache
def _frozen_class(cls: type) -> type:
    # Weight files call a layer's weights after its class: they have to fit before and after.
    members = {"__module__": __name__, "__doc__": cls.__doc__, "__qualname__": cls.__qualname__}
    return _registered(type(cls.__name__, (FrozenStatistics, cls), members))


def _registered(cls: type) -> type:
    return keras.saving.register_keras_serializable(PACKAGE, _NAME)(cls)


def _find_class(cls: type, name: str) -> type:
    # Whoever clones a model need not have registered their classes.
    for known in (thawed_class(cls), keras.layers.BatchNormalization):
        if keras.saving.get_registered_name(known) == name:
            return known
    found = keras.saving.get_registered_object(name)
    if found is None:
        raise ValueError(
            f"A frozen batch norm of this model was a {name!r}, which Keras does not know here; "
            "register the class, or give it in custom_objects."
        )
    return found


# For the process that loads a frozen batch norm before it has frozen any.
_frozen_class(keras.layers.BatchNormalization)
