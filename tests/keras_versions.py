"""What the versions of Keras do differently, as far as tests meet it."""

import inspect

import keras
import numpy as np

HAS_RENORM = "renorm" in inspect.signature(keras.layers.BatchNormalization).parameters
"""From 3.14 on."""


def _activity_per_row():
    layer = keras.layers.ActivityRegularization(l2=1.0)
    layer(np.ones((2, 1), "float32"))
    return float(layer.losses[0]) == 1.0


ACTIVITY_PER_ROW = _activity_per_row()
"""Whether a penalty on outputs is divided by the batch's size: from 3.14 on."""

LIST_OF_ONE = "ignore:The structure of .inputs. doesn:UserWarning"
"""A filter: Keras 3.10 warns where a model saved with a list of one input is given that input alone."""
