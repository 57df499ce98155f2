"""What a layer has learned, given to its counterpart."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasreg import layers
from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import own_seed_generators, own_weights, sublayers
from kerasreg.layers.frozen_batch_norm import FrozenStatistics
from kerasreg.migration.layer_counterparts import normalization_stages

Check = Callable[[keras.Variable, keras.Variable, keras.layers.Layer], None]


def transfer(old: keras.layers.Layer, new: keras.layers.Layer, check: Check) -> None:
    """Give a built layer the weights, seeds and other state of the one whose place it takes.

    Args:
        old: The layer as it was.
        new: Its counterpart, or a copy with counterparts below it.
        check: Called with each trained weight, its copy and the layer that made it.

    Raises:
        ValueError: If the two do not hold the same weights.
    """
    if isinstance(old, layers.ConcreteDropout):
        # The kernel's penalty is another one, on purpose.
        transfer(old.layer, new.layers[-1], lambda *_: None)
        return
    if isinstance(old, layers.Normalization):
        _transfer_statistics(old, new)
        return
    if isinstance(old, layers.TemperatureScaling):
        return
    _transfer_own(old, new)
    # A frozen one's counterpart is switched off, whatever it was itself; outer layers come first.
    if not isinstance(old, FrozenStatistics) and new.trainable != old.trainable:
        new.trainable = old.trainable
    for old_weight, new_weight in zip(own_weights(old), own_weights(new), strict=True):
        check(old_weight, new_weight, old)
    # A rate of 0 has no generator, and what makes no noise needs none.
    for mine, theirs in zip(own_seed_generators(old), own_seed_generators(new), strict=False):
        theirs.state.assign(np.array(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(mine.state))))
    below = sublayers(old), sublayers(new)
    if len(below[0]) != len(below[1]):
        came = Came(f"{type(old).__name__} '{old.name}', whose copy has other layers below it")
        raise refusal("to_keras", "model", "a model whose layers can be made anew from their config", came)
    for old_part, new_part in zip(*below, strict=True):
        transfer(old_part, new_part, check)


def _transfer_own(old: Any, new: Any) -> None:
    # The layer's own way: some keep more than variables, or work out more from them.
    store: dict[str, Any] = {}
    old.save_own_variables(store)
    if isinstance(old, layers.BatchNormalization):
        # Ours may count batches behind Keras' weights.
        store = {str(i): store[str(i)] for i in range(len(new.weights))}
    if store:
        # As copies: JAX deletes an array given to a step, whoever else holds it.
        new.load_own_variables({key: np.array(value) for key, value in store.items()})
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def _transfer_statistics(old: layers.Normalization, new: Any) -> None:
    if old.input_mean is not None:
        return
    parts = new.layers if isinstance(new, keras.Sequential) else [new]
    kinds = [part for part in parts if isinstance(part, keras.layers.Normalization)]
    found = normalization_stages(old)
    count = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(old.count))
    (measured,) = (part for part in kinds if part.input_mean is None)
    measured.load_own_variables({"0": found["mean"], "1": found["variance"], "2": np.array(count)})
