"""Penalties R(W) on weights: L = data loss + lambda R(W)."""

from kerasreg.regularizers import carrier, decay_carrier  # noqa: F401 - registers what saved models name
from kerasreg.regularizers.group_lasso import GroupLasso
from kerasreg.regularizers.norms import L1, L2, ElasticNet
from kerasreg.regularizers.orthogonal import Orthogonal
from kerasreg.regularizers.priors import GaussianPrior, LaplacePrior, StudentTPrior
from kerasreg.regularizers.schedule import Schedule

__all__ = [
    "L1",
    "L2",
    "ElasticNet",
    "GaussianPrior",
    "GroupLasso",
    "LaplacePrior",
    "Orthogonal",
    "Schedule",
    "StudentTPrior",
]
