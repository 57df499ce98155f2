"""What is found about a network, in plain data."""

from kerasreg.diagnostics.check import check
from kerasreg.diagnostics.figures import Figures, KernelFigures
from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.loss_sensitivity import LossSensitivity, loss_sensitivity, plot_loss_sensitivity
from kerasreg.diagnostics.report import Report

__all__ = [
    "Figures",
    "Finding",
    "KernelFigures",
    "LossSensitivity",
    "Report",
    "check",
    "loss_sensitivity",
    "plot_loss_sensitivity",
]
