"""Penalties on the weights of a model that exists already."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from re import Pattern
from typing import Any

import keras

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import own_weights
from kerasreg._core.sublayers import with_sublayers
from kerasreg.regularization.compiled_steps import compile_steps_anew, take_weights_back
from kerasreg.regularization.contradictions import check_together
from kerasreg.regularization.patterns import asks_for, listing, matcher, names, nothing_fits, shown
from kerasreg.regularization.weights import Weight, carriers, model_weights
from kerasreg.regularizers.carrier import (
    CarriesRegularizers,
    can_be_saved,
    carry,
    functions_are_taken,
    is_layers_own,
    put_down,
)

_OWNER = "regularize"
# Whose constructor's arguments are known to mean what their names say.
_OURS = ("keras", "kerasreg")


def regularize(model: keras.Model, rules: Mapping[str | Pattern[str], Any]) -> keras.Model:
    """Penalise the weights of a built or trained model: `L = data loss + sum over weights of R(W)`.

    A rule maps a pattern of paths to a regularizer. Of the rules that fit a weight the first one counts. The
    rules are the whole: a weight that none of them fits has no penalty afterwards, whoever gave it one, and
    `regularize(model, {})` clears all. Penalties on activations are left alone, and what a layer has to add
    to the loss to work at all, such as the term by which `ConcreteDropout` learns its rate.

    A path is made of the layers' names and the weight's, `block/dense/kernel`; Keras' `variable.path` fits
    too. A string is a glob over the whole path, in which `*` passes slashes (`"*/kernel"`, `"conv*"`); one
    that fits nothing as a glob is tried as a regular expression over the whole path. A compiled regular
    expression is searched for. Weights called bias, beta, gamma or scale and lone numbers are left
    alone by patterns in whose last part their name is not written: `"*"` leaves biases, `"*/bias"` means
    them.

    The penalty is in force at once, in a model that was fitted already too, and in a running `fit`. Where the
    model is part of another one that was fitted, give the outer one.

    It goes through `save`, `load_model` (with kerasreg imported) and `clone_model`, in Functional, Sequential
    and subclassed models and layers. The layer whose config the file holds tells the penalties of all weights
    below it; the class of such a layer is one of the same name made from its own. If it has other weights
    when it is loaded, a warning says that the penalties were not put back. Weight files fit before and
    after; they hold no penalties, the model into which they are loaded keeps its own.

    **Frozen layers.** Keras adds up the penalties of weights that train. A penalty on a frozen weight is
    kept and saved, but counts only once the weight is set to train and the model compiled again; a warning
    names the weights.

    Args:
        model: A built model; it is changed in place, after all checks.
        rules: Patterns with their regularizers: Keras', ours, one of your own that Keras can save, a name
            that Keras knows such as `"l2"`, or None for no penalty.

    Returns:
        The same model.

    Raises:
        ValueError: If the model is not built, a pattern fits no weight, or only some that it does not name, a
            regularizer is none, cannot be saved, or gives no finite number for a weight that it fits, the
            weight is an integer or a statistic, or its constraint contradicts the penalty.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
        >>> model.set_weights([np.array([[3.0], [4.0]]), np.array([1.0])])
        >>> [float(loss) for loss in kr.regularize(model, {"*": kr.regularizers.L2(0.5)}).losses]
        [12.5]
    """
    take_weights_back(model)
    weights = model_weights(_OWNER, model)
    chosen = _chosen(rules, weights)
    _warn_of_what_is_lost(rules, weights, chosen)
    frozen = [w for w in weights if chosen.get(id(w.variable)) is not None and not w.variable.trainable]
    if frozen:
        warnings.warn(
            f"These weights are frozen, and their penalties count only once they train: {listing(frozen)}.",
            stacklevel=2,
        )
    # Those that some constructor penalises: its config would bring that back.
    before = {id(w.variable) for w in weights if w.trained and w.variable.regularizer is not None}
    for weight in weights:
        if weight.trained:
            weight.variable.regularizer = chosen.get(id(weight.variable))
    for layer in carriers(model):
        _have_it_saved(layer, before)
    compile_steps_anew(model)
    return model


def _chosen(rules: Any, weights: Sequence[Weight]) -> dict[int, Any]:
    """Each weight's regularizer by the id of its variable, where a rule fits; everything checked."""
    if not isinstance(rules, Mapping):
        raise refusal(_OWNER, "rules", "a dict from patterns of paths to regularizers", rules)
    chosen: dict[int, Any] = {}
    trained = [weight for weight in weights if weight.trained]
    for pattern, value in rules.items():
        fits = matcher(_OWNER, "rules", pattern, weights)
        regularizer = _regularizer(pattern, value)
        for weight in weights:
            # A pattern that passes a statistic by chance does not mean it.
            if not weight.trained and fits(weight) and names(pattern, weight.name):
                raise _not_for(weight, regularizer)
        meant = [w for w in trained if fits(w) and (regularizer is None or asks_for(pattern, w))]
        if not meant:
            passed = [weight for weight in trained if fits(weight)]
            if passed:
                came = Came(f"{shown(pattern)}, which fits {listing(passed)}")
                allowed = (
                    "patterns that name the biases, betas, gammas, scales or lone numbers that they mean"
                )
                remedy = f"write {'*/' + passed[0].name!r} to penalise them"
                raise refusal(_OWNER, "rules", allowed, came, remedy)
            raise nothing_fits(_OWNER, "rules", pattern, trained)
        for weight in meant:
            if id(weight.variable) not in chosen:
                _check(weight, regularizer)
                chosen[id(weight.variable)] = regularizer
    return chosen


def _regularizer(pattern: Any, value: Any) -> Any:
    allowed = "regularizers, as in kr.regularizers.L2(1e-4), or None"
    came = Came(f"{value!r} for {shown(pattern)}")
    try:
        found = keras.regularizers.get(value)
    except (ValueError, TypeError) as error:
        raise refusal(_OWNER, "rules", allowed, came) from error
    if found is None:
        return None
    if not callable(found):
        raise refusal(_OWNER, "rules", allowed, came)
    if not can_be_saved(found):
        remedy = "register it with @keras.saving.register_keras_serializable()"
        if isinstance(found, keras.regularizers.Regularizer):
            remedy = "give it a get_config that returns its arguments"
        raise refusal(_OWNER, "rules", "regularizers that Keras can save", came, remedy)
    if not isinstance(found, keras.regularizers.Regularizer) and not functions_are_taken():
        remedy = "make it a subclass of that class"
        raise refusal(
            _OWNER, "rules", "objects of keras.regularizers.Regularizer before Keras 3.15", came, remedy
        )
    return found


def _check(weight: Weight, regularizer: Any) -> None:
    if regularizer is None:
        return
    if not keras.backend.is_float_dtype(weight.variable.dtype):
        raise _not_for(weight, regularizer)
    check_together(_OWNER, weight, regularizer)
    penalty = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(regularizer(weight.variable.value)))
    if penalty.shape != () or not math.isfinite(penalty):
        came = Came(f"{penalty.tolist()!r} from {type(regularizer).__name__} on {weight.path!r}")
        raise refusal(_OWNER, "rules", "regularizers that give one finite number", came)


def _not_for(weight: Weight, regularizer: Any) -> ValueError:
    kind = str(weight.variable.dtype)
    if keras.backend.is_float_dtype(kind):
        kind = "the layer's own affair: a statistic, or penalised by the layer itself"
    came = Came(f"{type(regularizer).__name__} for {weight.path!r}, which is {kind}")
    return refusal(_OWNER, "rules", "penalties on trained weights of a floating-point type", came)


def _warn_of_what_is_lost(rules: Mapping[Any, Any], weights: list[Weight], chosen: dict[int, Any]) -> None:
    had = [w for w in weights if w.trained and w.variable.regularizer is not None]
    lost = [weight for weight in had if id(weight.variable) not in chosen]
    if rules and lost:
        warnings.warn(
            f"No rule fits these weights, which lose the penalty that they had: {listing(lost)}; "
            "a rule with None says so without a warning.",
            stacklevel=3,
        )


def _have_it_saved(layer: keras.layers.Layer, before: set[int]) -> None:
    """Have the layer's config tell what penalties its weights have now."""
    held = [variable for part in with_sublayers(layer) for variable in own_weights(part)]
    held = [variable for variable in held if not is_layers_own(variable)]
    if not any(v.regularizer is not None or id(v) in before for v in held):
        put_down(layer)
        return
    if not isinstance(layer, CarriesRegularizers) and _told_by_arguments(layer, held, before):
        return
    carry(layer, plain=not any(id(variable) in before for variable in held))
    if not any(variable.regularizer is not None for variable in held):
        put_down(layer)


def _told_by_arguments(layer: keras.layers.Layer, held: list[keras.Variable], before: set[int]) -> bool:
    """Set a layer's own `kernel_regularizer` and the like where Keras or we wrote it; is that all?"""
    if type(layer).__module__.partition(".")[0] not in _OURS:
        return False
    arguments: dict[int, str] = {}
    # A recurrent layer's arguments are its cell's.
    for maker in (layer, layer.cell) if isinstance(layer, keras.layers.RNN) else (layer,):
        for variable in own_weights(maker):
            argument = _argument(maker, variable.name)
            if argument is not None:
                setattr(maker, argument, variable.regularizer)
                arguments[id(variable)] = argument
    told = layer.get_config()

    def is_told(variable: keras.Variable) -> bool:
        argument = arguments.get(id(variable))
        if argument is None:
            return variable.regularizer is None and id(variable) not in before
        return argument in told and told[argument] == keras.regularizers.serialize(variable.regularizer)

    return all(is_told(variable) for variable in held)


def _argument(layer: keras.layers.Layer, name: str) -> str | None:
    stems = [name, name.removesuffix("_kernel"), *(["depthwise"] if name == "kernel" else [])]
    arguments = (f"{stem}_regularizer" for stem in stems)
    return next((argument for argument in arguments if hasattr(layer, argument)), None)
