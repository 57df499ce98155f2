"""Weight initialisers that keep the variance of a signal from layer to layer."""

from kerasreg.initializers.calibrated import Calibrated

__all__ = ["Calibrated"]
