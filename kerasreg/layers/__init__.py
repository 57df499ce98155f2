"""Layers that normalise and layers that add noise."""

from kerasreg.layers import frozen_batch_norm  # noqa: F401 - registers what saved models name
from kerasreg.layers.batch_normalization import BatchNormalization
from kerasreg.layers.dropout import Dropout
from kerasreg.layers.normalization import Normalization

__all__ = ["BatchNormalization", "Dropout", "Normalization"]
