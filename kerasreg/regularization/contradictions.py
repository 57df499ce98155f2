"""Penalties and constraints on one weight that cannot both be meant."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg import constraints, regularizers
from kerasreg._core.arguments import Came, refusal
from kerasreg.regularization.weights import Weight

_PRIORS = (regularizers.GaussianPrior, regularizers.LaplacePrior, regularizers.StudentTPrior)
_SQUARES = (regularizers.L2, regularizers.GaussianPrior, keras.regularizers.L2)
_ABSOLUTES = (
    regularizers.L1,
    regularizers.ElasticNet,
    regularizers.GroupLasso,
    keras.regularizers.L1,
    keras.regularizers.L1L2,
)
_UNIT_NORMS = (constraints.UnitNorm, keras.constraints.UnitNorm)
# Proximal steps: each is the exact form of a penalty, and the prior that goes with it.
_PROXIMAL = (constraints.SoftThreshold, constraints.GroupSoftThreshold)


def check_together(owner: str, weight: Weight, regularizer: Any) -> None:
    """Refuse a penalty that the weight's constraint contradicts.

    Raises:
        ValueError: If the constraint keeps the penalty constant, is itself the step of a penalty of this
            kind, or stands for another prior.
    """
    constraint = weight.variable.constraint
    kind = type(regularizer).__name__
    if isinstance(constraint, _UNIT_NORMS) and isinstance(regularizer, _SQUARES):
        why = "holds its norm at 1, so that the penalty would be a constant"
    elif isinstance(constraint, _PROXIMAL) and isinstance(regularizer, _PRIORS):
        why = "is the step of another prior, a Laplace one"
    elif isinstance(constraint, _PROXIMAL) and isinstance(regularizer, _ABSOLUTES):
        why = "takes the step of such a penalty already, so that it would count twice"
    else:
        return
    came = Came(f"{kind} on {weight.path!r}, whose constraint {type(constraint).__name__} {why}")
    allowed = "penalties that agree with the weights' constraints"
    raise refusal(owner, "rules", allowed, came, "give one of the two")
