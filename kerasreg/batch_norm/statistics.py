"""A batch norm's statistics: which weights they are, and how all of a model's are set at once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg.layers.moments import Moments


def new_values(
    layer: keras.layers.BatchNormalization, found: Moments, batches: int
) -> list[tuple[keras.Variable, np.ndarray]]:
    """The layer's statistics as variables, each with its value for these moments.

    Batch renormalization holds standard deviations besides, sqrt(variance + epsilon), and `averaging` the
    number of batches, from which the next one's share in the averages follows.
    """
    deviation = np.sqrt(found.variance + layer.epsilon)
    values = [(layer.moving_mean, found.mean), (layer.moving_variance, found.variance)]
    if getattr(layer, "renorm", False):
        values += [(layer.renorm_mean, found.mean), (layer.renorm_stddev, deviation)]
        # Older versions of Keras average the variance here too.
        if getattr(layer, "moving_stddev", None) is not None:
            values.append((layer.moving_stddev, deviation))
    values += [(w, np.asarray(batches)) for w in layer.weights if w.name == "averaged_batches"]
    # `assign_all` looks for what does not fit.
    with np.errstate(over="ignore"):
        return [(weight, value.astype(numpy_of(weight).dtype)) for weight, value in values]


def assign_all(owner: str, values: list[tuple[keras.Variable, np.ndarray]]) -> None:
    """Assign each variable its value: all of them, or none."""
    for weight, value in values:
        # float16 ends at 65504.
        if not np.isfinite(value.astype("float64")).all():
            allowed = f"statistics that {weight.path} can hold in {weight.dtype}"
            raise refusal(owner, "data", f"batches with {allowed}", Came("larger ones"))
    before = [numpy_of(weight) for weight, _ in values]
    try:
        for weight, value in values:
            weight.assign(value)
    except BaseException:
        for (weight, _), value in zip(values, before, strict=True):
            weight.assign(value)
        raise


def numpy_of(weight: Any) -> np.ndarray:
    """A variable's value."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(weight)))
