"""Predictions that say how sure they are, and whether they are right to be."""

from kerasreg.layers import TemperatureScaling
from kerasreg.uncertainty.entropy import expected_entropy, mutual_information, predictive_entropy
from kerasreg.uncertainty.gaussian_mixture import gaussian_mixture_log_likelihood, model_precision
from kerasreg.uncertainty.mc_predict import mc_predict
from kerasreg.uncertainty.prediction import Prediction
from kerasreg.uncertainty.proper_scores import brier_score, negative_log_likelihood
from kerasreg.uncertainty.reliability import (
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
    reliability_diagram,
)
from kerasreg.uncertainty.retention import RetentionCurve, plot_retention_curve, retention_curve
from kerasreg.uncertainty.tta_predict import tta_predict

__all__ = [
    "Prediction",
    "ReliabilityCurve",
    "RetentionCurve",
    "TemperatureScaling",
    "brier_score",
    "expected_calibration_error",
    "expected_entropy",
    "gaussian_mixture_log_likelihood",
    "mc_predict",
    "model_precision",
    "mutual_information",
    "negative_log_likelihood",
    "plot_retention_curve",
    "predictive_entropy",
    "reliability_curve",
    "reliability_diagram",
    "retention_curve",
    "tta_predict",
]
