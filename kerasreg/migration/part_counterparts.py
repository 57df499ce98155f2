"""Keras' regularizers, constraints and initializers for ours.

Each function gives the counterpart, or a `Gone` with the reason why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg import constraints, initializers, regularizers


@dataclass(frozen=True)
class Gone:
    """That Keras has nothing that is equal, and why."""

    why: str


@dataclass(frozen=True)
class Near:
    """What Keras has, and in what it is another thing."""

    part: Any
    but: str


def counterpart(part: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
    """Keras' object for one of ours, for weights of these shapes; others as they are."""
    if not type(part).__module__.startswith("kerasreg."):
        return part
    if isinstance(part, keras.regularizers.Regularizer):
        return _regularizer(part, shapes)
    if isinstance(part, keras.constraints.Constraint):
        return _constraint(part, shapes)
    if isinstance(part, keras.initializers.Initializer):
        return _initializer(part, shapes)
    return Gone(f"Keras has no {type(part).__name__}")


def _regularizer(part: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
    name, ours, theirs = type(part).__name__, regularizers, keras.regularizers
    if isinstance(getattr(part, "strength", None), ours.Schedule):
        return Gone(f"{name} is gone: a penalty of Keras has no schedule")
    if isinstance(part, ours.L1):
        return theirs.L1(part.strength)
    if isinstance(part, ours.L2):
        return theirs.L2(part.strength)
    if isinstance(part, ours.ElasticNet):
        return theirs.L1L2(l1=part.strength, l2=part.strength * part.beta)
    if isinstance(part, ours.GaussianPrior):
        return theirs.L2(1 / (2 * part.scale**2 * part.num_examples))
    if isinstance(part, ours.LaplacePrior):
        return theirs.L1(1 / (part.scale * part.num_examples))
    if isinstance(part, ours.Orthogonal):
        vectors = {shape[0 if part.mode == "rows" else 1] if len(shape) == 2 else 0 for shape in shapes}
        # Of one vector Keras takes the mean of no cosine.
        if not vectors or min(vectors) < 2:
            return Gone("Orthogonal is gone: Keras' is for matrices of two vectors or more")
        return theirs.OrthogonalRegularizer(part.strength, part.mode)
    return Gone(f"{name} is gone: Keras has no such penalty")


def _constraint(part: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
    name = type(part).__name__
    if not isinstance(part, (constraints.MaxNorm, constraints.UnitNorm)):
        return Gone(f"{name} is gone: Keras has no proximal step, and weights that are 0 need not stay so")
    ranks = {len(shape) for shape in shapes}
    axes = part.axis
    if axes is None:
        if len(ranks) != 1:
            return Gone(f"{name} is gone: Keras' needs an axis, and the weights have no common rank")
        axes = range(ranks.pop() - 1)
    # Keras hands the axes on as they are, and JAX takes no list.
    axes = axes[0] if len(axes) == 1 else tuple(axes)
    if isinstance(part, constraints.UnitNorm):
        return keras.constraints.UnitNorm(axes)
    return keras.constraints.MaxNorm(part.max_value, axes)


def _initializer(part: Any, shapes: Sequence[tuple[int, ...]]) -> Any:
    if isinstance(part, initializers.DeltaOrthogonal):
        # The mean square of gain Q / window, with Q's rows of length 1.
        near = keras.initializers.VarianceScaling(part.gain**2, "fan_out", "truncated_normal", _seed(part))
        return Near(near, "weights drawn anew have DeltaOrthogonal's variance, not its structure")
    mode = {"in": "fan_in", "out": "fan_out", "average": "fan_avg"}[part.fan]
    kind = part.distribution
    shapes = [shape for shape in shapes if len(shape) > 1]
    if not shapes:
        return Near(
            keras.initializers.VarianceScaling(part.gain**2, mode), "Keras counts the fans its own way"
        )
    if kind == "orthogonal":
        gains = [_orthogonal_gain(part.variance(shape), shape) for shape in shapes]
        near = keras.initializers.Orthogonal(gains[0], _seed(part))
        plain = part.kind in ("dense", "conv") and part.groups == 1 and not part.batch_axes
        if plain and part.input_axes is None and _agree(gains):
            return near
        return Near(near, "weights drawn anew are one orthogonal matrix, not one for each group or gate")
    # Keras counts some kernels' fans otherwise: what it divides by is multiplied in.
    scales = [part.variance(shape) * _keras_fan(shape, mode) for shape in shapes]
    distribution = {"normal": "untruncated_normal"}.get(kind, kind)
    found = keras.initializers.VarianceScaling(scales[0], mode, distribution, _seed(part))
    return found if _agree(scales) else Near(found, f"its variance is that for the shape {shapes[0]}")


def _seed(part: Any) -> Any:
    return part.seed if isinstance(part.seed, int) else None


def _agree(numbers: Sequence[float]) -> bool:
    return math.isclose(min(numbers), max(numbers), rel_tol=1e-6)


def _keras_fan(shape: Sequence[int], mode: str) -> float:
    window = math.prod(shape[:-2])
    fan_in, fan_out = window * shape[-2], window * shape[-1]
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    return max(1.0, n)


def _orthogonal_gain(variance: float, shape: Sequence[int]) -> float:
    """The gain of Keras' Orthogonal, whose mean square is gain^2 / max(rows, columns)."""
    return math.sqrt(variance * max(math.prod(shape[:-1]), shape[-1]))
