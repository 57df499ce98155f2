"""A model's loss in its parts, from inside its own training and test steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._core.private import attached_metrics
from kerasreg._tap import replicas

_STEPS = ("train_function", "test_function")
_ATTRIBUTE = "_kerasreg_parted"
# What no weight's regularizer gives: penalties on activations, and what layers add to the loss.
OTHER = "activations and add_loss"


class _Parted(NamedTuple):
    """A compiled step that keeps a metric."""

    metric: DataLoss
    step: Callable[..., Any]


@dataclass
class _Attached:
    """What is attached to a model, and the steps that it had before."""

    metric: DataLoss
    plain: dict[str, Callable[..., Any] | None]
    training: Callable[..., Any] | None = None


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

    def has(self, weights: Mapping[str, Sequence[keras.Variable]]) -> bool:
        """Whether its rows are these."""
        return _ids(self._weights) == _ids(weights)

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


def _ids(weights: Mapping[str, Sequence[keras.Variable]]) -> dict[str, list[int]]:
    return {row: [id(weight) for weight in found] for row, found in weights.items()}


def _keeps_steps() -> bool:
    return keras.backend.backend() == "tensorflow"


def attach(model: keras.Model, weights: Mapping[str, Sequence[keras.Variable]]) -> DataLoss:
    """Have the model's steps keep the metric; whatever was attached before is taken off.

    On TensorFlow the steps with the metric are compiled once, as it keeps what it has traced for ever: they
    hang on the plain ones, and whoever makes those anew (`compile`, `kr.regularize`) is rid of both. On JAX
    they are compiled each time: while one step of a model lives, its cache takes the next for the same.

    Args:
        model: The model, inside the scope in which its variables are made.
        weights: The weights of each row.

    Returns:
        The metric.
    """
    detach(model)
    plain = {name: getattr(model, name) if _keeps_steps() else None for name in _STEPS}
    known = {name: getattr(step, _ATTRIBUTE, None) for name, step in plain.items()}
    metric = next((parted.metric for parted in known.values() if parted and parted.metric.has(weights)), None)
    metric = metric or DataLoss(weights)
    original = model.compute_loss

    @wraps(original)
    def compute_loss(x: Any = None, *args: Any, **kwargs: Any) -> Any:
        loss = original(x, *args, **kwargs)
        first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
        metric.update_state(loss, model.losses, ops.shape(first)[0])
        return loss

    compute_loss.parted = _Attached(metric, plain)
    # Past Keras' own __setattr__, which would track it.
    object.__setattr__(model, "compute_loss", compute_loss)
    attached_metrics(model).append(metric)
    for name, parted in known.items():
        setattr(model, name, parted.step if parted and parted.metric is metric else None)
    return metric


def begin(model: keras.Model) -> None:
    """Remember the training step of a `fit` that begins: where it is made anew, nothing old comes back."""
    attached = getattr(vars(model).get("compute_loss"), "parted", None)
    if attached is not None and _keeps_steps():
        attached.training = model.train_function


def detach(model: keras.Model, ended: bool = False) -> None:
    """Leave the model as it was.

    Args:
        model: The model.
        ended: Whether what it was attached for came to its end, so that the compiled steps can be kept.
    """
    attached = getattr(vars(model).get("compute_loss"), "parted", None)
    if attached is None:
        return
    object.__delattr__(model, "compute_loss")
    metrics = attached_metrics(model)
    metrics[:] = [found for found in metrics if found is not attached.metric]
    found = {name: getattr(model, name) for name in _STEPS}
    ended = ended and _keeps_steps()
    if not ended or (attached.training is not None and found["train_function"] is not attached.training):
        model.train_function = model.test_function = None
        return
    for name, step in found.items():
        setattr(model, name, attached.plain[name])
        if step is None:
            continue
        if attached.plain[name] is None:
            # Not traced before it is called.
            getattr(model, f"make_{name}")(force=True)
        # A function of a user's own may take no attribute; then the next time it is compiled anew.
        with suppress(AttributeError):
            setattr(getattr(model, name), _ATTRIBUTE, _Parted(attached.metric, step))
