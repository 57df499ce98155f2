"""How far an optimizer's step moves each weight for a gradient of 1: the inverse of the metric it steps in.

An optimizer whose update is w := w - s g, with s of the weights' shape or one number for all, makes the
steepest step in the metric sum_i d_i^2 / s_i. A proximal step has to be made in the same metric, or what it
converges to is not the minimum of loss plus penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import optimizer_slot
from kerasreg._core.tensors import is_concrete, wide_dtype
from kerasreg._core.training_context import OptimizerStep

_Slot = Callable[[str], Any]
_Metric = Callable[[Any, Any, _Slot], Any]
_KNOWN = "SGD, Adam, AdamW, Nadam, Adamax, RMSprop or Adagrad"


def checked_metric(owner: str, optimizer: keras.optimizers.Optimizer) -> _Metric:
    """What works the step sizes of an optimizer out, for a learning rate of 1.

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


def check_step_size(owner: str, step_size: Any, weights: Any) -> None:
    """Refuse what is no size of a step for these weights; values are looked at where they can be seen."""
    allowed = f"a finite number of at least 0, or one for each of the weights of shape {tuple(weights.shape)}"
    try:
        sizes = ops.convert_to_tensor(step_size, dtype=wide_dtype(weights.dtype))
    except (TypeError, ValueError):
        raise refusal(owner, "step_size", allowed, step_size) from None
    if tuple(sizes.shape) not in ((), tuple(weights.shape)):
        raise refusal(owner, "step_size", allowed, Came(f"shape {tuple(sizes.shape)}"))
    if is_concrete(sizes):
        seen = np.asarray(ops.convert_to_numpy(sizes))
        wrong = seen[~(np.isfinite(seen) & (seen >= 0))]
        if wrong.size:
            raise refusal(owner, "step_size", allowed, Came(f"{float(wrong.ravel()[0]):g}"))


def step_sizes(owner: str, step: OptimizerStep, variable: Any) -> Any:
    """The s of the step that an optimizer has just made, a scalar or of the variable's shape.

    Momentum that sums gradients up moves a weight by 1 / (1 - mu) steps for each gradient in the long run,
    after t updates by (1 - mu^t) / (1 - mu), and Nesterov's is one ahead; Adam's is an average and changes
    nothing.
    """
    dtype = wide_dtype(variable.dtype)
    rate, update = ops.cast(step.learning_rate, dtype), ops.cast(step.updates, dtype) + 1

    def slot(name: str) -> Any:
        return ops.cast(optimizer_slot(step.optimizer, name, variable), dtype)

    return rate * checked_metric(owner, step.optimizer)(step.optimizer, update, slot)


def _summed(momentum: float, gradients: Any) -> Any:
    """What momentum makes of so many gradients of 1."""
    if momentum in (0, 1):
        # Either forgets all or nothing.
        return gradients if momentum else ops.ones_like(gradients)
    return (1 - _power(momentum, gradients)) / (1 - momentum)


def _power(base: float, exponent: Any) -> Any:
    return ops.power(ops.convert_to_tensor(base, exponent.dtype), exponent)


def _sgd(optimizer: Any, update: Any, slot: _Slot) -> Any:
    return _summed(optimizer.momentum, update + 1 if optimizer.nesterov else update)


def _adam(optimizer: Any, update: Any, slot: _Slot) -> Any:
    velocity = slot("_velocity_hats" if optimizer.amsgrad else "_velocities")
    # As Keras writes it: epsilon is added before the bias of the velocity is taken out.
    return ops.sqrt(1 - _power(optimizer.beta_2, update)) / (ops.sqrt(velocity) + optimizer.epsilon)


def _nadam(optimizer: Any, update: Any, slot: _Slot) -> Any:
    unbiased = slot("_velocities") / (1 - _power(optimizer.beta_2, update))
    return 1 / (ops.sqrt(unbiased) + optimizer.epsilon)


def _adamax(optimizer: Any, update: Any, slot: _Slot) -> Any:
    return 1 / (slot("_u") + optimizer.epsilon)


def _rmsprop(optimizer: Any, update: Any, slot: _Slot) -> Any:
    square = slot("_velocities")
    if optimizer.centered:
        square = square - ops.square(slot("_average_gradients"))
    return _summed(optimizer.momentum, update) / ops.sqrt(square + optimizer.epsilon)


def _adagrad(optimizer: Any, update: Any, slot: _Slot) -> Any:
    return 1 / ops.sqrt(slot("_accumulators") + optimizer.epsilon)


# Each takes the optimizer, the number of the update from 1 on, and what gives a variable's own state.
_STEP_SIZES: dict[Any, _Metric] = {
    keras.optimizers.SGD.update_step: _sgd,
    keras.optimizers.Adam.update_step: _adam,
    keras.optimizers.Nadam.update_step: _nadam,
    keras.optimizers.Adamax.update_step: _adamax,
    keras.optimizers.RMSprop.update_step: _rmsprop,
    keras.optimizers.Adagrad.update_step: _adagrad,
}
