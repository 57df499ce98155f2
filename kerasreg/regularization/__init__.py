"""Penalties and decay on the weights of a model that exists already."""

from kerasreg.regularization.decay_exclusions import decay_exclusions
from kerasreg.regularization.regularize import regularize

__all__ = ["decay_exclusions", "regularize"]
