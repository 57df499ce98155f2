"""Metrics to watch while training."""

from kerasreg.metrics.calibration import ExpectedCalibrationError

__all__ = ["ExpectedCalibrationError"]
