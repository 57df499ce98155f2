"""Compile the new model as the old one was, as far as Keras has what that takes."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.registry import PACKAGE
from kerasreg.migration.part_counterparts import Gone, counterpart

_GONE = object()


def compile_like(new: keras.Model, model: keras.Model) -> dict[str, str]:
    """Compile `new` as `model` is, with a new optimizer; what is other than it was, by argument."""
    if not model.compiled:
        return {}
    # Losses and metrics of a user's own need not be serializable, nor take their config back.
    try:
        config = model.get_compile_config()
    except Exception as error:
        return {"compile": _not_compiled(f"Keras cannot serialize what it was compiled with ({error})")}
    differs: dict[str, str] = {}
    ours: dict[str, list[str]] = {}
    config = {key: _in_keras_terms(value, ours.setdefault(key, [])) for key, value in config.items()}
    for key in ("metrics", "weighted_metrics"):
        if ours.pop(key, None):
            differs[f"compile/{key}"] = f"without {_names(_found(model.get_compile_config()[key]))}"
            config[key] = _without(config[key], outputs=len(new.outputs))
    gone = {key: names for key, names in ours.items() if names}
    if gone:
        listed = ", ".join(f"{key} {_names(names)}" for key, names in gone.items())
        return {"compile": _not_compiled(f"Keras has no counterpart of {listed}")}
    try:
        new.compile_from_config(config)
    except Exception as error:
        return {"compile": _not_compiled(f"Keras cannot compile it from its config ({error})")}
    return differs


def _not_compiled(why: str) -> str:
    return f"the new model is not compiled: {why}".replace("\n", " ")


def _in_keras_terms(value: Any, gone: list[str]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_in_keras_terms(each, gone) for each in value)
    if not isinstance(value, dict):
        return value
    if str(value.get("registered_name")).startswith(f"{PACKAGE}>"):
        found = counterpart(keras.saving.deserialize_keras_object(value), [])
        if isinstance(found, Gone):
            gone.append(value["class_name"])
            return _GONE
        return keras.saving.serialize_keras_object(found)
    return {key: _in_keras_terms(each, gone) for key, each in value.items()}


def _found(value: Any) -> list[str]:
    names: list[str] = []
    _in_keras_terms(value, names)
    return names


def _names(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _without(value: Any, outputs: int) -> Any:
    """The metrics that are left; one for each of several outputs keep their places."""
    if value is _GONE:
        return None
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _without(each, 1) for key, each in value.items() if each is not _GONE}
    if isinstance(value, (list, tuple)):
        left = [_without(each, 1) for each in value if outputs > 1 or each is not _GONE]
        return type(value)(left)
    return value
