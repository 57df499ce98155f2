"""Who is at work: the model whose losses are being summed, and the optimizer whose step is being made.

A regularizer is handed a weight and a constraint is handed a weight; neither is told the step or the learning
rate. Four public methods of Keras are wrapped to remember, in this thread, on whose behalf they run:
`Layer.losses`, `Optimizer.apply`, `Model.make_train_function` and `Model.make_test_function`. Nothing is
wrapped before the first object exists that asks (`install`), and the wrapped methods return what they
returned.

On JAX the optimizer's step is not part of the state that a loss sees, so a number read from it would be a
constant of the compiled step. There a model with a schedule gets a counter among its non-trainable variables,
which `Model.compute_loss_and_updates` sets from the optimizer's step. It is not saved: the optimizer's step
is.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras
from keras import ops

from kerasreg._core.private import (
    in_stateless_scope,
    in_symbolic_scope,
    learning_rate_at,
    steps_taken,
    sublayers,
    track_counter,
)

_COUNTER = "_kerasreg_step"
_lock = threading.Lock()
_installed = False


class _AtWork(threading.local):
    def __init__(self) -> None:
        self.models: list[keras.Model] = []
        self.optimizers: list[keras.optimizers.Optimizer] = []
        self.steps_before: list[Any] = []


_at_work = _AtWork()


class Follower:
    """Something whose value depends on the step; `follow` tells it the model whose step it is."""

    _model: weakref.ref[keras.Model] | None = None

    def follow(self, model: keras.Model) -> None:
        """Take the steps of this model's optimizer, where none is at work."""
        self._model = weakref.ref(model)

    def current_step(self) -> Any:
        """The optimizer's step on whose behalf this is asked; 0 where there is none."""
        if _at_work.optimizers:
            return _at_work.optimizers[-1].iterations
        model = _at_work.models[-1] if _at_work.models else self._model and self._model()
        return 0 if model is None else _step_of(model)


@dataclass(frozen=True)
class OptimizerStep:
    """The step that an optimizer is making.

    Attributes:
        optimizer: The optimizer.
        before: How often it was applied before this step.
    """

    optimizer: keras.optimizers.Optimizer
    before: Any

    @property
    def updates(self) -> Any:
        """How often it updated the weights before this step."""
        gathered = self.optimizer.gradient_accumulation_steps
        return self.before // gathered if gathered else self.before

    @property
    def updates_weights(self) -> Any:
        """True, or a scalar tensor that is False in a step that only gathers gradients."""
        gathered = self.optimizer.gradient_accumulation_steps
        return ops.equal((self.before + 1) % gathered, 0) if gathered else True

    @property
    def learning_rate(self) -> Any:
        """The learning rate that this step is made with."""
        return learning_rate_at(self.optimizer, self.before)


class ReadsOptimizer:
    """A constraint that reads the optimizer at work, and is asked beforehand whether it can."""

    def check_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Raise if it cannot read this one."""
        raise NotImplementedError


def optimizer_step() -> OptimizerStep | None:
    """The step of the optimizer that runs in this thread, the inner one of two; None outside of a step."""
    if not _at_work.optimizers:
        return None
    return OptimizerStep(_at_work.optimizers[-1], _at_work.steps_before[-1])


@contextmanager
def on_behalf_of(model: keras.Model) -> Iterator[None]:
    """While inside, penalties are of this model's step. A layer without an optimizer changes nothing."""
    if getattr(model, "optimizer", None) is None:
        yield
        return
    _at_work.models.append(model)
    try:
        yield
    finally:
        _at_work.models.pop()


def install() -> None:
    """Wrap the methods, once."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
        losses = keras.layers.Layer.losses
        keras.layers.Layer.losses = property(_remember_model(losses.fget), doc=losses.__doc__)
        keras.optimizers.Optimizer.apply = _remember_optimizer(keras.optimizers.Optimizer.apply)
        for name in ("make_train_function", "make_test_function"):
            setattr(keras.Model, name, _prepare_first(getattr(keras.Model, name)))
        if keras.backend.backend() == "jax":
            keras.Model.compute_loss_and_updates = _count(keras.Model.compute_loss_and_updates)


def followers(model: keras.Model) -> list[Follower]:
    """What in a model's penalties depends on the step."""
    penalties = [variable.regularizer for variable in model.variables]
    penalties += [layer.activity_regularizer for layer in (model, *_below(model))]
    return [
        value
        for penalty in penalties
        for value in getattr(penalty, "__dict__", {}).values()
        if isinstance(value, Follower)
    ]


def _below(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for child in sublayers(layer):
        yield child
        yield from _below(child)


def _step_of(model: keras.Model) -> Any:
    counter = vars(model).get(_COUNTER)
    if counter is not None and in_stateless_scope():
        return counter.state
    if keras.backend.backend() == "jax" and in_stateless_scope() and not in_symbolic_scope():
        warnings.warn(
            f"The schedule in model {model.name!r} stands still: this training loop compiled its step before "
            "`model.make_train_function()` could give the model a step counter.",
            stacklevel=2,
        )
    return model.optimizer.iterations


def _remember_model(losses: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(losses)
    def remembered(layer: keras.layers.Layer) -> Any:
        with on_behalf_of(layer):
            return losses(layer)

    return remembered


def _remember_optimizer(apply: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(apply)
    def remembered(optimizer: keras.optimizers.Optimizer, *args: Any, **kwargs: Any) -> Any:
        # Some versions move the counter on before the constraints, others behind them.
        before = steps_taken(optimizer)
        _at_work.optimizers.append(optimizer)
        _at_work.steps_before.append(before)
        try:
            return apply(optimizer, *args, **kwargs)
        finally:
            _at_work.optimizers.pop()
            _at_work.steps_before.pop()

    return remembered


def _prepare_first(make: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(make)
    def prepared(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        if getattr(model, "optimizer", None) is not None:
            _check_optimizer(model)
            found = followers(model)
            for follower in found:
                follower.follow(model)
            if found and keras.backend.backend() == "jax":
                _set_counter(model)
        return make(model, *args, **kwargs)

    return prepared


def _check_optimizer(model: keras.Model) -> None:
    # An error in the middle of a step would be too late: on JAX the weights are out of the model by then.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if getattr(optimizer, "optimizers", None):
        return  # One for each variable, chosen later.
    for variable in model.trainable_variables:
        if isinstance(variable.constraint, ReadsOptimizer):
            variable.constraint.check_optimizer(optimizer)


class _Counter:
    """What `Layer.variables` takes for a source of state: something with a `state`."""

    def __init__(self) -> None:
        self.state = keras.Variable(0, dtype="int32", trainable=False, name="regularization_step")


def _set_counter(model: keras.Model) -> None:
    # In the middle of an epoch the variables' values are in the trainer's hands.
    model.jax_state_sync()
    counter = vars(model).get(_COUNTER)
    if counter is None:
        counter = _Counter()
        object.__setattr__(model, _COUNTER, counter)
        track_counter(model, counter)
    counter.state.assign(int(model.optimizer.iterations))


def _count(compute: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(compute)
    def counted(
        model: keras.Model,
        trainable_variables: list[Any],
        non_trainable_variables: list[Any],
        *args: Any,
        optimizer_variables: list[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        counter = vars(model).get(_COUNTER)
        if counter is not None and optimizer_variables is not None:
            mapping = list(zip(model.optimizer.variables, optimizer_variables, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                step = ops.cast(model.optimizer.iterations, "int32")
            non_trainable_variables = [
                step if variable is counter.state else value
                for variable, value in zip(
                    model.non_trainable_variables, non_trainable_variables, strict=True
                )
            ]
        return compute(
            model,
            trainable_variables,
            non_trainable_variables,
            *args,
            optimizer_variables=optimizer_variables,
            **kwargs,
        )

    return counted
