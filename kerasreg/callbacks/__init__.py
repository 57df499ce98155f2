"""Callbacks that show what a network does while it trains, and bring a training back that was killed."""

from kerasreg.callbacks.activation_stats import ActivationStats
from kerasreg.callbacks.backup_and_restore import BackupAndRestore
from kerasreg.callbacks.penalty_report import PenaltyReport

__all__ = ["ActivationStats", "BackupAndRestore", "PenaltyReport"]
