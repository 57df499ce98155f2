"""Callbacks that show what a network does while it trains."""

from kerasreg.callbacks.activation_stats import ActivationStats
from kerasreg.callbacks.penalty_report import PenaltyReport

__all__ = ["ActivationStats", "PenaltyReport"]
