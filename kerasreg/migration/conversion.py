"""Layers made anew from their configs, in which each part of ours has become Keras'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._core.graph import Replacement, is_graph
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import own_weights
from kerasreg._core.registry import PACKAGE
from kerasreg._core.sublayers import with_sublayers
from kerasreg.layers.frozen_batch_norm import FrozenStatistics
from kerasreg.migration.bare_class import bare_class, is_ours
from kerasreg.migration.layer_counterparts import counterpart_of
from kerasreg.migration.part_counterparts import Gone, Near, counterpart
from kerasreg.migration.state import transfer
from kerasreg.regularizers.carrier import is_layers_own

_PARTS = ("regularizer", "constraint", "initializer")


class Conversion:
    """Turns the layers of one model into Keras' and notes down what became of them.

    Attributes:
        replaced: From the path of each layer of ours to the name of Keras' layer.
        differs: From a path to what the new model does otherwise in training.
    """

    def __init__(self, model: keras.Model):
        self._paths = layer_paths(model)
        self.replaced: dict[str, str] = {}
        self.differs: dict[str, str] = {}
        self._changed = False
        # The weights whose penalty is one of an argument, where it is told what became of it.
        self._told: set[int] = set()

    def replace(self, layer: keras.layers.Layer) -> Replacement | None:
        """What `rebuilt` asks: the new layer, or None for a copy of the old one."""
        if is_graph(layer):
            return None
        self._changed = False
        value = self._layer(keras.saving.serialize_keras_object(layer), layer)
        if not self._changed:
            return None
        if is_ours(bare_class(layer)):
            new = keras.saving.deserialize_keras_object(value)
        else:
            # A user's class need not be known to Keras here.
            new = bare_class(layer).from_config(value["config"])
        return Replacement(new, finish=lambda: transfer(layer, new, self._check_penalty))

    def _layer(self, value: dict[str, Any], live: keras.layers.Layer) -> dict[str, Any]:
        """A serialized layer, given with the layer itself, in Keras' terms."""
        value = dict(value)
        value.pop("build_config", None)
        config = dict(value["config"])
        while value.get("registered_name") in (
            f"{PACKAGE}>Regularized",
            f"{PACKAGE}>FrozenBatchNormalization",
        ):
            self._changed = True
            # Whichever was put in front last is told first.
            if "Regularized" in value["registered_name"]:
                value |= config.pop("regularized")["class"]
            else:
                config.pop("frozen")
                config["trainable"] = False
                cls = bare_class(live)
                value |= _identity(cls)
                self._note_frozen(live)
        config = {key: self._argument(key, each, live) for key, each in config.items()}
        if not is_ours(bare_class(live)):
            return {**value, "config": config}
        self._changed = True
        found = counterpart_of(live, bare_class(live).__name__, config)
        self.replaced[self._path(live)] = _shown(found.value)
        if found.differs:
            self._note(self._path(live), found.differs)
        # What the model's graph holds beside the layer itself.
        rest = {key: each for key, each in value.items() if key not in (*found.value, "registered_name")}
        return {**rest, **found.value}

    def _argument(self, key: str, value: Any, live: keras.layers.Layer) -> Any:
        stem, _, part = key.rpartition("_")
        if part not in _PARTS or not stem:
            return self._walk(value, live, key)
        path = f"{self._path(live)}/{key}"
        weights = [] if stem == "activity" else _weights_of(live, stem)
        if part == "regularizer" and weights:
            told = [weight.regularizer for weight in weights]
            # What a weight has now counts: it may have been given since.
            if not any(map(is_layers_own, weights)) and all(same(told[0], each) for each in told):
                now = None if told[0] is None else keras.regularizers.serialize(told[0])
                self._changed |= now != value
                value = now
                self._told.update(id(weight) for weight in weights)
        return self._part(value, [tuple(weight.shape) for weight in weights], path)

    def _walk(self, value: Any, live: keras.layers.Layer, key: str) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self._walk(each, live, key) for each in value)
        if not isinstance(value, dict):
            return value
        if not ("class_name" in value and isinstance(value.get("config"), dict)):
            return {name: self._walk(each, live, name) for name, each in value.items()}
        child = _child(live, value)
        if child is not None:
            return self._layer(value, child)
        if _is_ours(value):
            return self._part(value, [], f"{self._path(live)}/{key}")
        return {**value, "config": {k: self._walk(each, live, k) for k, each in value["config"].items()}}

    def _part(self, value: Any, shapes: Sequence[tuple[int, ...]], path: str) -> Any:
        if not _is_ours(value):
            return value
        part = keras.saving.deserialize_keras_object(value)
        self._changed = True
        found = counterpart(part, shapes)
        if isinstance(found, Gone):
            self._note(path, found.why)
            return None if path.rpartition("_")[2] in _PARTS else value
        if isinstance(found, Near):
            self._note(path, found.but)
            found = found.part
        return keras.saving.serialize_keras_object(found)

    def _check_penalty(self, old: keras.Variable, new: keras.Variable, owner: keras.layers.Layer) -> None:
        """Note down a penalty for which Keras' config has no place."""
        if is_layers_own(old):
            return
        wanted = None if old.regularizer is None else counterpart(old.regularizer, [tuple(old.shape)])
        path = f"{self._path(owner)}/{old.name}"
        if isinstance(wanted, Gone):
            if id(old) not in self._told:
                self._note(path, wanted.why)
            if new.regularizer is None:
                return
            wanted = None
        if not same(wanted, new.regularizer):
            held = "none" if new.regularizer is None else type(new.regularizer).__name__
            had = "none" if old.regularizer is None else type(old.regularizer).__name__
            self._note(
                path, f"its penalty was {had} and is {held}: the layer's config has no place for it alone"
            )

    def _note_frozen(self, layer: Any) -> None:
        if isinstance(layer, FrozenStatistics) and layer.trainable:
            why = "frozen by trainable = False, so that gamma and beta no longer train either"
            self._note(self._path(layer), why)

    def _note(self, path: str, what: str) -> None:
        before = self.differs.get(path)
        self.differs[path] = f"{before}; {what}" if before and what not in before else what

    def _path(self, layer: keras.layers.Layer) -> str:
        return self._paths.get(layer, layer.name)


def same(first: Any, second: Any) -> bool:
    """Whether two regularizers, or none, are equal."""
    if first is None or second is None:
        return first is second
    return first is second or (
        type(first) is type(second)
        and hasattr(first, "get_config")
        and first.get_config() == second.get_config()
    )


def _weights_of(layer: keras.layers.Layer, stem: str) -> list[keras.Variable]:
    """The weights that an argument such as `kernel_regularizer`, of stem `kernel`, is about."""
    names = (stem, f"{stem}_kernel", *(["kernel"] if stem == "depthwise" else []))
    return [weight for part in with_sublayers(layer) for weight in own_weights(part) if weight.name in names]


def _child(layer: keras.layers.Layer, value: dict[str, Any]) -> keras.layers.Layer | None:
    """The layer below that a serialized object within a config is."""
    name = value["config"].get("name")
    found = [
        part
        for part in with_sublayers(layer)
        if part is not layer and part.name == name and type(part).__name__ == value["class_name"]
    ]
    return found[0] if found else None


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("registered_name")).startswith(f"{PACKAGE}>")


def _identity(cls: type) -> dict[str, Any]:
    public = getattr(keras.layers, cls.__name__, None) is cls
    registered = keras.saving.get_registered_name(cls)
    return {
        "module": "keras.layers" if public else cls.__module__,
        "class_name": cls.__name__,
        "registered_name": None if public else registered,
    }


def _shown(value: dict[str, Any]) -> str:
    if value["class_name"] != "Sequential":
        return value["class_name"]
    return " + ".join(stage["class_name"] for stage in value["config"]["layers"])
