"""How far an optimizer's step moves each weight for a gradient of 1: the inverse of the metric it steps in.

An optimizer whose update is w := w - s g, with s of the weights' shape or one number for all, makes the
steepest step in the metric sum_i d_i^2 / s_i. A proximal step has to be made in the same metric, or what it
converges to is not the minimum of loss plus penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import accumulates_only, optimizer_slot
from kerasreg._core.tensors import wide_dtype

_KNOWN = "SGD, Adam, AdamW, Nadam, Adamax, RMSprop or Adagrad"


def checked_metric(owner: str, optimizer: keras.optimizers.Optimizer) -> Callable[[Any, Any, Any, str], Any]:
    """What works an optimizer's step sizes out.

    Raises:
        ValueError: If it is none of those whose metric is known, or averages the weights.
    """
    came = Came(type(optimizer).__name__)
    # Told by the method itself, so that a subclass that steps as its parent does is known too.
    made_by = _STEP_SIZES.get(type(optimizer).update_step)
    if made_by is None:
        remedy = "its step has no metric that is known in which weights could be thresholded"
        raise refusal(f"a model with {owner}", "optimizer", _KNOWN, came, remedy)
    if optimizer.use_ema:
        remedy = "an average of weights has none that are exactly 0"
        raise refusal(f"a model with {owner}", "optimizer", "one without use_ema", came, remedy)
    return made_by


def step_sizes(owner: str, optimizer: keras.optimizers.Optimizer, variable: Any) -> Any:
    """The s of the step that an optimizer has just made, a scalar or of the variable's shape.

    Momentum that sums gradients up moves a weight by 1 / (1 - mu) steps for each gradient in the long run,
    after t updates by (1 - mu^t) / (1 - mu), and Nesterov's is one ahead; Adam's is an average and changes
    nothing.
    """
    dtype = wide_dtype(variable.dtype)
    rate = ops.cast(optimizer.learning_rate, dtype)
    return checked_metric(owner, optimizer)(optimizer, variable, rate, dtype)


def updates_weights(optimizer: keras.optimizers.Optimizer) -> Any:
    """True, or a scalar tensor that is False in a step that only gathers gradients."""
    only = accumulates_only(optimizer)
    return True if only is None else ops.logical_not(only)


def _updates(optimizer: keras.optimizers.Optimizer, dtype: str) -> Any:
    """The number of this update, from 1 on."""
    return ops.cast(optimizer.iterations, dtype) + 1


def _slot(optimizer: keras.optimizers.Optimizer, name: str, variable: Any, dtype: str) -> Any:
    return ops.cast(optimizer_slot(optimizer, name, variable), dtype)


def _summed(momentum: float, gradients: Any, dtype: str) -> Any:
    """What momentum makes of so many gradients of 1."""
    if momentum == 0:
        return ops.ones((), dtype)
    if momentum == 1:
        # Nothing is ever forgotten.
        return gradients
    momentum = ops.convert_to_tensor(momentum, dtype)
    return (1 - ops.power(momentum, gradients)) / (1 - momentum)


def _sgd(optimizer: Any, variable: Any, rate: Any, dtype: str) -> Any:
    gradients = _updates(optimizer, dtype) + (1 if optimizer.nesterov else 0)
    return rate * _summed(optimizer.momentum, gradients, dtype)


def _adam(optimizer: Any, variable: Any, rate: Any, dtype: str) -> Any:
    name = "_velocity_hats" if optimizer.amsgrad else "_velocities"
    velocity = _slot(optimizer, name, variable, dtype)
    power = ops.power(ops.convert_to_tensor(optimizer.beta_2, dtype), _updates(optimizer, dtype))
    # As Keras writes it: epsilon is added before the bias of the velocity is taken out.
    return rate * ops.sqrt(1 - power) / (ops.sqrt(velocity) + optimizer.epsilon)


def _nadam(optimizer: Any, variable: Any, rate: Any, dtype: str) -> Any:
    velocity = _slot(optimizer, "_velocities", variable, dtype)
    power = ops.power(ops.convert_to_tensor(optimizer.beta_2, dtype), _updates(optimizer, dtype))
    return rate / (ops.sqrt(velocity / (1 - power)) + optimizer.epsilon)


def _adamax(optimizer: Any, variable: Any, rate: Any, dtype: str) -> Any:
    return rate / (_slot(optimizer, "_u", variable, dtype) + optimizer.epsilon)


def _rmsprop(optimizer: Any, variable: Any, rate: Any, dtype: str) -> Any:
    square = _slot(optimizer, "_velocities", variable, dtype)
    if optimizer.centered:
        square = square - ops.square(_slot(optimizer, "_average_gradients", variable, dtype))
    summed = _summed(optimizer.momentum, _updates(optimizer, dtype), dtype)
    return rate * summed / ops.sqrt(square + optimizer.epsilon)


def _adagrad(optimizer: Any, variable: Any, rate: Any, dtype: str) -> Any:
    return rate / ops.sqrt(_slot(optimizer, "_accumulators", variable, dtype) + optimizer.epsilon)


_STEP_SIZES: dict[Any, Callable[[Any, Any, Any, str], Any]] = {
    keras.optimizers.SGD.update_step: _sgd,
    keras.optimizers.Adam.update_step: _adam,
    keras.optimizers.Nadam.update_step: _nadam,
    keras.optimizers.Adamax.update_step: _adamax,
    keras.optimizers.RMSprop.update_step: _rmsprop,
    keras.optimizers.Adagrad.update_step: _adagrad,
}
