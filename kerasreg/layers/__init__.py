"""Layers that normalise and layers that add noise."""

from kerasreg.layers.batch_normalization import BatchNormalization
from kerasreg.layers.dropout import Dropout
from kerasreg.layers.normalization import Normalization

__all__ = ["BatchNormalization", "Dropout", "Normalization"]
