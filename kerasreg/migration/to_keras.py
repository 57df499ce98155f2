"""Hand a model to somebody who has Keras, and not kerasreg."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Literal, overload

import keras

from kerasreg._core.arguments import Came, flag, refusal
from kerasreg._core.graph import is_graph, rebuilt
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import own_statistics, own_weights
from kerasreg.migration.bare_class import bare_class, is_ours, our_base
from kerasreg.migration.compiling import compile_like
from kerasreg.migration.conversion import Conversion
from kerasreg.migration.layer_counterparts import has_counterpart, is_noisy_at_inference, unlike_keras
from kerasreg.migration.migration_report import MigrationReport

_OWNER = "to_keras"
_ALLOWED = "a model that can predict the same without kerasreg"


@overload
def to_keras(model: keras.Model, report: Literal[False] = False, mc_off: bool = False) -> keras.Model: ...
@overload
def to_keras(
    model: keras.Model, report: Literal[True], mc_off: bool = False
) -> tuple[keras.Model, MigrationReport]: ...
def to_keras(
    model: keras.Model, report: bool = False, mc_off: bool = False
) -> keras.Model | tuple[keras.Model, MigrationReport]:
    """A new model that predicts the same with Keras' own layers, and is saved and loaded without kerasreg.

    Its predictions are the old one's but for rounding, with the same weights, statistics and states of random
    generators, none of them shared; names stay. What would predict something else is an error that names all
    such layers: `mc=True`, and classes of a user's own that are built on ours. What only trains otherwise is
    converted, and each such difference is told, in a warning or, with `report=True`, in the report:

    - `Dropout`, `SpatialDropout1D` to `3D`, `GaussianDropout`, `AlphaDropout`, `LSTM` and `GRU` become the
      layers of Keras on which they stand; `DropPath` becomes a `Dropout` with one draw for each row, which is
      the same. `DropBlock2D` and `DropPath(scale_by_keep=False)` become `Identity`: no noise any more.
    - `ConcreteDropout` becomes a `Dropout` at the rate that it has learned, the layer that it wraps, and the
      penalty on its kernel as weight decay.
    - `BatchNormalization` keeps its decay, and loses the ways to average and to normalise that are ours, and
      its guard against batches with NaN. A frozen one gets `trainable = False`.
    - `Normalization` keeps all digits of its mean: in float32 where one layer can hold them, else in two.
    - `TemperatureScaling` becomes a `Rescaling`.
    - `L1`, `L2`, `ElasticNet`, `GaussianPrior`, `LaplacePrior` and `Orthogonal` of matrices have equals in
      Keras, `MaxNorm` and `UnitNorm` to 1e-7, those set by `kr.regularize` too; initializers get one of the
      same variance. `GroupLasso`, `StudentTPrior`, schedules and the proximal constraints have none, and go.
    - It is compiled as the model was, with a new optimizer, without metrics that Keras does not have; not at
      all where it does not have the loss.

    A class of a user's own stays, and has to be at hand where the model is loaded.

    Args:
        model: A built Functional or Sequential model, trained or not, with nested models, shared layers and
            wrappers. It stays as it is.
        report: Whether to return a `MigrationReport` too, instead of a warning.
        mc_off: Whether layers with `mc=True` may become Keras', which are silent at inference: the new model
            predicts what the old one would with `mc=False`. `kr.mc_predict` samples it all the same.

    Returns:
        The new model; with `report=True`, a pair of it and the report.

    Raises:
        ValueError: If `model` is not such a model, or holds what predicts otherwise without kerasreg.

    Example:
        >>> import keras, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((8,)), kr.layers.DropPath(0.1, name="path"),
        ...                           keras.layers.Dense(2, kernel_regularizer=kr.regularizers.GroupLasso(),
        ...                                              name="dense")])
        >>> plain, report = kr.to_keras(model, report=True)
        >>> print(report)
        1 layer replaced by Keras' own, 1 difference in training
        path -> Dropout
        dense/kernel_regularizer: GroupLasso is gone: Keras has no such penalty
        >>> tuple(plain.layers[0].noise_shape)
        (None, 1)
    """
    report, mc_off = flag(_OWNER, "report", report), flag(_OWNER, "mc_off", mc_off)
    _check(model, mc_off)
    conversion = Conversion(model)
    new = rebuilt(_OWNER, model, conversion.replace, compiled=False)
    _refuse_what_is_left(new)
    differs = {**conversion.differs, **compile_like(new, model)}
    # In the model's order, not in that of rebuilding.
    order = [path for path in layer_paths(model).values() if path in conversion.replaced]
    found = MigrationReport({path: conversion.replaced[path] for path in order}, differs)
    if report:
        return new, found
    if differs:
        listed = "; ".join(f"{path}: {what}" for path, what in differs.items())
        warnings.warn(f"The model of Keras predicts the same, but trains otherwise: {listed}.", stacklevel=2)
    return new


def _check(model: Any, mc_off: bool) -> None:
    if not isinstance(model, keras.Model) or not model.built:
        remedy = "call it once on data, or give it an Input" if isinstance(model, keras.Model) else None
        came = Came(f"the unbuilt {type(model).__name__} '{model.name}'") if remedy else model
        raise refusal(_OWNER, "model", "a built keras.Model", came, remedy)
    paths = layer_paths(model)
    if not is_graph(model):
        parts = [path for layer, path in paths.items() if is_graph(layer)]
        remedy = "the Python of a call cannot be rewritten"
        if parts:
            remedy += f"; convert its functional parts: {', '.join(parts)}"
        came = Came(f"the subclassed {type(model).__name__} '{model.name}'")
        raise refusal(_OWNER, "model", "a Functional or a Sequential model", came, remedy)
    wrong = {path: why for layer, path in paths.items() if (why := _hindrance(layer, mc_off))}
    if wrong:
        came = Came(", ".join(f"'{path}' ({why})" for path, why in wrong.items()))
        noisy = any("mc=True" in why for why in wrong.values())
        remedy = "mc_off=True switches their noise at inference off" if noisy else "replace them first"
        raise refusal(_OWNER, "model", _ALLOWED, came, remedy)


def _hindrance(layer: keras.layers.Layer, mc_off: bool) -> str | None:
    cls = bare_class(layer)
    base = our_base(cls)
    if base is None:
        return None
    if cls is not base:
        return f"{cls.__name__}, built on kerasreg's {base.__name__}"
    if not has_counterpart(cls):
        return f"{cls.__name__}, which Keras does not have"
    if not mc_off and is_noisy_at_inference(layer):
        return f"{cls.__name__} with mc=True"
    return unlike_keras(layer)


def _refuse_what_is_left(new: keras.Model) -> None:
    """Refuse what a user's own Python makes anew with kerasreg."""
    left = dict(_left(new))
    if left:
        came = Came(", ".join(f"{what} at '{path}'" for path, what in left.items()))
        remedy = "its layer makes it in its own Python, which has to be edited"
        raise refusal(_OWNER, "model", _ALLOWED, came, remedy)


def _left(new: keras.Model) -> Iterator[tuple[str, str]]:
    for layer, path in {new: new.name, **layer_paths(new)}.items():
        base = our_base(type(layer))
        if base is not None:
            yield path, f"kerasreg's {base.__name__}"
        for variable in (*own_weights(layer), *own_statistics(layer)):
            for part in (variable.regularizer, variable.constraint):
                if is_ours(type(part)):
                    yield f"{path}/{variable.name}", f"kerasreg's {type(part).__name__}"
