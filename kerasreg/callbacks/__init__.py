"""Callbacks that show what a network does while it trains."""

from kerasreg.callbacks.activation_stats import ActivationStats

__all__ = ["ActivationStats"]
