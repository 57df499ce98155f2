"""Layers that normalise, layers that add noise, and one that calibrates."""

from kerasreg.layers import frozen_batch_norm  # noqa: F401 - registers what saved models name
from kerasreg.layers.alpha_dropout import AlphaDropout
from kerasreg.layers.batch_normalization import BatchNormalization
from kerasreg.layers.concrete_dropout import ConcreteDropout
from kerasreg.layers.drop_block import DropBlock2D
from kerasreg.layers.drop_path import DropPath
from kerasreg.layers.dropout import Dropout
from kerasreg.layers.gaussian_dropout import GaussianDropout
from kerasreg.layers.normalization import Normalization
from kerasreg.layers.recurrent import GRU, LSTM
from kerasreg.layers.spatial_dropout import SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from kerasreg.layers.temperature_scaling import TemperatureScaling

__all__ = [
    "GRU",
    "LSTM",
    "AlphaDropout",
    "BatchNormalization",
    "ConcreteDropout",
    "DropBlock2D",
    "DropPath",
    "Dropout",
    "GaussianDropout",
    "Normalization",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "TemperatureScaling",
]
