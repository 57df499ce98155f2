"""The weights of a built model by path, and which layer's config can tell their penalty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import own_statistics, own_weights, sublayers
from kerasreg.regularizers.carrier import is_layers_own


@dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Attributes:
        variable: The Keras variable.
        path: Where it is, from the model's children down: `block/dense/kernel`.
        owner: The layer that made it.
        made_to_train: Whether its layer made it for the optimizer, frozen or not; moving averages are not.
    """

    variable: keras.Variable
    path: str
    owner: keras.layers.Layer
    made_to_train: bool

    @property
    def trained(self) -> bool:
        """Whether it is made to train, without a penalty that is a part of its layer."""
        return self.made_to_train and not is_layers_own(self.variable)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.variable.name

    @property
    def names(self) -> tuple[str, str]:
        """The paths by which a pattern may find it: from the model's children down, and Keras' own."""
        return self.path, self.variable.path


def model_weights(owner: str, model: Any) -> list[Weight]:
    """Every weight of a built model once, in the model's order.

    Raises:
        ValueError: If `model` is not a built Keras model, or has no weights.
    """
    if not isinstance(model, keras.Model) or not model.built:
        remedy = "call it once on data, or give it an Input" if isinstance(model, keras.Model) else None
        came = Came(f"the unbuilt {type(model).__name__} '{model.name}'") if remedy else model
        raise refusal(owner, "model", "a built keras.Model", came, remedy)
    found: dict[int, Weight] = {}
    for layer, path in {model: "", **layer_paths(model)}.items():
        for variables, made in ((own_weights(layer), True), (own_statistics(layer), False)):
            for variable in variables:
                full = f"{path}/{variable.name}" if path else variable.name
                found.setdefault(id(variable), Weight(variable, full, layer, made))
    if not found:
        came = Came(f"'{model.name}', which has none")
        raise refusal(owner, "model", "a model with weights", came, "build all of its layers first")
    return list(found.values())


def carriers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers whose configs make up a model's: between them they hold each of its weights.

    A Functional or Sequential model's config is its layers' configs. Whatever else holds layers makes them in
    its own Python.
    """
    if not _is_its_layers(model):
        yield model
        return
    for layer in sublayers(model):
        if isinstance(layer, keras.Model):
            yield from carriers(layer)
        else:
            yield layer


def _is_its_layers(model: keras.Model) -> bool:
    if not isinstance(model, (keras.Sequential, keras.Function)):
        return False
    try:
        return "layers" in model.get_config()
    # One of its layers cannot be saved, whoever asks.
    except NotImplementedError:
        return True
