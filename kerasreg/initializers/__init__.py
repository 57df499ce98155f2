"""Weight initialisers that keep the variance of a signal from layer to layer."""

from kerasreg.initializers.calibrated import Calibrated
from kerasreg.initializers.delta_orthogonal import DeltaOrthogonal
from kerasreg.initializers.for_layer import for_layer
from kerasreg.initializers.reinitialize import reinitialize

__all__ = ["Calibrated", "DeltaOrthogonal", "for_layer", "reinitialize"]
