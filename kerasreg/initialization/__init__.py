"""Verbs that set a whole model's weights before it is trained."""

from kerasreg.initialization.calibrate import calibrate
from kerasreg.initialization.calibration_report import CalibratedKernel, CalibrationReport

__all__ = ["CalibratedKernel", "CalibrationReport", "calibrate"]
