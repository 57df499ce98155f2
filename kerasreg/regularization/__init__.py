"""Penalties and decay on the weights of a model that exists already."""

from kerasreg.regularization.regularize import regularize

__all__ = ["regularize"]
