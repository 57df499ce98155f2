"""Predictions that say how sure they are."""

from kerasreg.uncertainty.entropy import expected_entropy, mutual_information, predictive_entropy
from kerasreg.uncertainty.mc_predict import mc_predict
from kerasreg.uncertainty.prediction import Prediction

__all__ = [
    "Prediction",
    "expected_entropy",
    "mc_predict",
    "mutual_information",
    "predictive_entropy",
]
