"""Batch norm after training: statistics measured anew, frozen, or folded into their neighbours."""

from kerasreg.batch_norm.fold import fold_batch_norm
from kerasreg.batch_norm.fold_report import FoldReport
from kerasreg.batch_norm.freeze import freeze_batch_norm
from kerasreg.batch_norm.reestimate import reestimate
from kerasreg.batch_norm.reestimation import Reestimation

__all__ = ["FoldReport", "Reestimation", "fold_batch_norm", "freeze_batch_norm", "reestimate"]
