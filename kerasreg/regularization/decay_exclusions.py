"""Weights that decoupled weight decay leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from re import Pattern
from typing import Any

import keras

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import built_for
from kerasreg.regularization.compiled_steps import compile_steps_anew, take_weights_back
from kerasreg.regularization.patterns import matcher, nothing_fits
from kerasreg.regularization.weights import model_weights
from kerasreg.regularizers.decay_carrier import exclude

_OWNER = "decay_exclusions"


def decay_exclusions(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    patterns: str | Pattern[str] | Sequence[str | Pattern[str]],
) -> keras.optimizers.Optimizer:
    """No decoupled weight decay for these weights: `w := w - rate decay w` is left out of their step.

    Keras' `exclude_from_weight_decay(var_names=...)` looks at a variable's last name only, forgets the
    exclusions when the optimizer is saved, and says nothing if no weight has such a name. Here the patterns
    are those of paths, as in `regularize`, except that `"*"` means every weight. They are in force at once,
    also in an optimizer that has trained already, on its own or inside a `LossScaleOptimizer`; and they go
    through `save`, `load_model` (with kerasreg imported) and `clone_model` with the optimizer that the model
    is compiled with. If the loaded one trains other weights, a warning says that they were not put back.
    Whatever was excluded before is not any more; `decay_exclusions(optimizer, model, [])` excludes nothing.

    Args:
        optimizer: With a `weight_decay`; it is changed in place. It may be compiled into the model before or
            after.
        model: A built model whose weights it trains, or will.
        patterns: One or several: globs, in which `*` passes slashes, or compiled regular expressions.

    Returns:
        The same optimizer.

    Raises:
        ValueError: If the optimizer has no weight decay or trains another model's weights, the model is not
            built, or a pattern fits no weight.

    Example:
        >>> import keras, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="out")])
        >>> optimizer = keras.optimizers.AdamW(weight_decay=0.01)
        >>> model.compile(kr.decay_exclusions(optimizer, model, ["*/bias"]), "mse")
        >>> optimizer.get_config()["decay_exclusions"]["excluded"]
        [1]
    """
    take_weights_back(model)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, keras.optimizers.Optimizer):
        raise refusal(_OWNER, "optimizer", "a keras.optimizers.Optimizer", optimizer)
    if inner.weight_decay is None:
        came = Came(f"{type(inner).__name__} with weight_decay=None")
        raise refusal(_OWNER, "optimizer", "an optimizer with a weight_decay", came)
    weights = model_weights(_OWNER, model)
    trained = [weight for weight in weights if weight.made_to_train]
    excluded = []
    for pattern in _listed(patterns):
        fits = matcher(_OWNER, "patterns", pattern, trained)
        found = [weight.variable for weight in trained if fits(weight)]
        if not found:
            raise nothing_fits(_OWNER, "patterns", pattern, trained)
        excluded += found
    knows = built_for(inner)
    if knows is not None and not {id(v) for v in knows} <= {id(weight.variable) for weight in weights}:
        came = Came(f"one that was built for {len(knows)} weights, not all of them of '{model.name}'")
        raise refusal(_OWNER, "optimizer", "one that trains the model's weights", came, "make a new one")
    exclude(inner, excluded, model.trainable_variables)
    compile_steps_anew(model)
    return optimizer


def _listed(patterns: Any) -> list[Any]:
    if isinstance(patterns, (str, Pattern)):
        return [patterns]
    if not isinstance(patterns, Sequence):
        raise refusal(_OWNER, "patterns", "a pattern of paths or a list of them", patterns)
    return list(patterns)
