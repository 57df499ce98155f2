"""What a compiled loss says of its targets."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal


def check_targets(owner: str, model: keras.Model, y: Any) -> None:
    """Refuse class numbers that a model of one output has no class for.

    TensorFlow fails on them deep in its graph, JAX gives a loss that looks right.

    Args:
        owner: Who asks, for an error's sentence.
        model: A compiled model.
        y: Its targets, a NumPy array.

    Raises:
        ValueError: If the loss is the sparse cross-entropy, and a label is no class.
    """
    loss, outputs = getattr(model, "loss", None), getattr(model, "outputs", None) or []
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    sparse = sparse or loss is keras.losses.sparse_categorical_crossentropy
    if not sparse or len(outputs) != 1 or not isinstance(y, np.ndarray):
        return
    classes, ignored = outputs[0].shape[-1], getattr(loss, "ignore_class", None)
    wrong = y[~((y >= 0) & (y < classes) | (y == ignored))] if classes is not None else y[:0]
    if wrong.size:
        came = Came(str(np.unique(wrong)[:5].tolist()))
        raise refusal(owner, "y", f"class numbers from 0 to {classes - 1}", came)
