"""A model's loss in its parts, from inside its own training and test steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.private import attached_metrics
from kerasreg._tap import replicas

# What no weight's regularizer gives: penalties on activations, and what layers add to the loss.
OTHER = "activations and add_loss"


class DataLoss(keras.metrics.Metric):
    """The mean over the examples of the loss without penalties; each row's mean penalty beside it.

    Args:
        weights: The weights of each row; one more row is for what no weight's regularizer gives.
    """

    def __init__(self, weights: Mapping[str, Sequence[keras.Variable]]):
        super().__init__(name="data_loss")
        # Past Keras' own __setattr__: a metric sets every variable that it holds to 0 when an epoch begins.
        vars(self)["_weights"] = {row: list(found) for row, found in weights.items()}
        self.rows = [*weights, OTHER]
        self.sums = self.add_variable((len(self.rows) + 1,), "zeros", name="sums")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, loss: Any, penalties: Sequence[Any], batch: Any) -> None:
        """Add a step: the loss it goes down, all penalties in the model, and its number of examples."""
        dtype = self.sums.dtype
        every = sum((ops.cast(ops.sum(penalty), dtype) for penalty in penalties), ops.zeros((), dtype))
        rows = [self._penalty(weights) for weights in self._weights.values()]
        # Keras gives each replica's step its part of the whole loss; the penalties are whole in each.
        whole = ops.cast(loss, dtype) * replicas.in_sync()
        parts = [whole - every, *rows, every - sum(rows)]
        batch = ops.cast(batch, dtype)
        self.sums.assign_add(batch * ops.stack(parts))
        self.count.assign_add(batch)

    def result(self) -> Any:
        """The mean; NaN where no step was counted."""
        return ops.where(self.count > 0, self.sums[0] / ops.maximum(self.count, 1.0), np.nan)

    def means(self) -> tuple[float, dict[str, float]] | None:
        """The data loss and each row's penalty; None where no step was counted."""
        count = float(ops.convert_to_numpy(ops.convert_to_tensor(self.count)))
        if not count:
            return None
        data, *rows = (
            float(total) / count for total in ops.convert_to_numpy(ops.convert_to_tensor(self.sums))
        )
        return data, dict(zip(self.rows, rows, strict=True))

    def _penalty(self, weights: Sequence[keras.Variable]) -> Any:
        found = [weight for weight in weights if weight.trainable and weight.regularizer is not None]
        terms = [ops.cast(w.regularizer(ops.convert_to_tensor(w)), self.sums.dtype) for w in found]
        return sum(terms, ops.zeros((), self.sums.dtype))


def attach(model: keras.Model, metric: DataLoss) -> None:
    """Have the model's steps, compiled anew, keep the metric; whatever was attached before is taken off."""
    detach(model)
    original = model.compute_loss

    @wraps(original)
    def compute_loss(x: Any = None, *args: Any, **kwargs: Any) -> Any:
        loss = original(x, *args, **kwargs)
        first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
        metric.update_state(loss, model.losses, ops.shape(first)[0])
        return loss

    compute_loss.parted = metric
    # Past Keras' own __setattr__, which would track it.
    object.__setattr__(model, "compute_loss", compute_loss)
    attached_metrics(model).append(metric)
    model.train_function = model.test_function = None


def detach(model: keras.Model) -> None:
    """Leave the model as it was."""
    metric = getattr(vars(model).get("compute_loss"), "parted", None)
    if metric is None:
        return
    object.__delattr__(model, "compute_loss")
    metrics = attached_metrics(model)
    metrics[:] = [found for found in metrics if found is not metric]
    model.train_function = model.test_function = None
