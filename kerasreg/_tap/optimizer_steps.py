"""What an optimizer is given and what it makes of it, seen in its own step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kerasreg._core.private import built_for
from kerasreg._core.tracing import current_trace
from kerasreg._tap.replicas import summed

# Squared norms of each weight: of its gradient, of itself before the step and of its change.
FIGURES = 3
IN_A_BRANCH = "the optimizer's step runs inside a loop or a branch, whose values cannot leave it"

_local = threading.local()
_lock = threading.Lock()
_users: dict[int, int] = {}


class StepWatcher:
    """Keeps what the outermost step of each optimizer did to each weight.

    The gradient is that of the loss: what a loss scale multiplied is divided by it. The change is the real
    one, whatever the optimizer and the constraints make of the gradient.
    """

    def __init__(self) -> None:
        self._trace = current_trace()
        self._seen: dict[int, tuple[keras.Variable, Any, Any, Any]] = {}
        self._busy = False
        self.skipped: str | None = None

    def packed(self) -> tuple[list[keras.Variable], list[Any]]:
        """The weights that were seen, and three squared norms for each."""
        weights = [weight for weight, *_ in self._seen.values()]
        numbers = [
            number
            for _, gradient, before, after in self._seen.values()
            for number in (_square(gradient), _square(before), _square(after - before))
        ]
        return weights, numbers

    def apply(self, proceed: Callable[..., Any], optimizer: Any, grads: Any, variables: Any = None) -> Any:
        """TensorFlow's step, which changes the variables where they are."""
        if self._blind():
            return proceed(grads, variables)
        weights = list(variables) if variables is not None else built_for(optimizer)
        scale = _scale(optimizer, None)
        before = [_value(weight) for weight in weights]
        # The sum over the replicas is taken before the step, as the step may spend its gradients.
        kept = _total([None if g is None else _dense(g, w) for g, w in zip(grads, before, strict=True)])
        self._busy = True
        try:
            result = proceed(grads, variables)
        finally:
            self._busy = False
        after = [_value(weight) for weight in weights]
        self._keep(weights, kept, scale, before, after)
        return result

    def stateless_apply(
        self, proceed: Callable[..., Any], optimizer: Any, state: Any, grads: Any, values: Any
    ) -> Any:
        """JAX's step, which gives new values for the old ones."""
        if self._blind():
            return proceed(state, grads, values)
        self._busy = True
        try:
            result = proceed(state, grads, values)
        finally:
            self._busy = False
        self._keep(built_for(optimizer), grads, _scale(optimizer, state), values, result[0])
        return result

    def _blind(self) -> bool:
        if self._busy:  # a loss scaling optimizer's inner one
            return True
        if current_trace() != self._trace:
            self.skipped = IN_A_BRANCH
            return True
        return False

    def _keep(self, weights: Sequence[Any], grads: Any, scale: Any, before: Any, after: Any) -> None:
        for weight, gradient, old, new in zip(weights, grads, before, after, strict=True):
            old, new = ops.cast(old, "float32"), ops.cast(new, "float32")
            found = ops.zeros_like(old) if gradient is None else ops.cast(gradient, "float32")
            found = found if scale is None else found / ops.cast(scale, "float32")
            # A second step on the same weight in one training step adds to the change.
            first = self._seen.get(id(weight), (weight, None, old))[2]
            self._seen[id(weight)] = (weight, found, first, new)


@contextmanager
def watched(watcher: StepWatcher | None, optimizers: Sequence[Any]) -> Iterator[None]:
    """While inside, this thread's steps of these optimizers are handed to the watcher."""
    if watcher is None:
        yield
        return
    before = getattr(_local, "watcher", None)
    _local.watcher = watcher
    for optimizer in optimizers:
        _hook(optimizer)
    try:
        yield
    finally:
        for optimizer in optimizers:
            _unhook(optimizer)
        _local.watcher = before


def optimizers_of(model: keras.Model) -> list[Any]:
    """The optimizer a model was compiled with and all that it holds as attributes of its own."""
    held = [model.optimizer, *vars(model).values()]
    found = {id(one): one for one in held if isinstance(one, keras.optimizers.Optimizer)}
    return list(found.values())


def _step_name() -> str:
    return "stateless_apply" if keras.backend.backend() == "jax" else "apply"


def _hook(optimizer: Any) -> None:
    name = _step_name()
    with _lock:
        if not _users.get(id(optimizer)):
            original = getattr(optimizer, name)

            def step(*args: Any, **kwargs: Any) -> Any:
                watcher = getattr(_local, "watcher", None)
                if watcher is None:
                    return original(*args, **kwargs)
                return getattr(watcher, name)(original, optimizer, *args, **kwargs)

            # Past Keras' own __setattr__, which would track it.
            object.__setattr__(optimizer, name, step)
        _users[id(optimizer)] = _users.get(id(optimizer), 0) + 1


def _unhook(optimizer: Any) -> None:
    with _lock:
        _users[id(optimizer)] -= 1
        if not _users[id(optimizer)]:
            del _users[id(optimizer)]
            object.__delattr__(optimizer, _step_name())


def _scale(optimizer: Any, state: Any) -> Any:
    """By what the gradients are too large; None for nothing."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.loss_scale_factor
    if not optimizer.built:
        return optimizer.initial_scale
    scale = optimizer.dynamic_scale
    if state is None:
        return _value(scale)
    return next(value for held, value in zip(optimizer.variables, state, strict=True) if held is scale)


def _value(weight: Any) -> Any:
    # A cast is read now; `convert_to_tensor` may hand on a variable, which is read when it is used.
    return ops.cast(weight, "float32")


def _dense(gradient: Any, like: Any) -> Any:
    import tensorflow as tf

    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    # Rows that were looked up twice come twice; their gradients are to be added before they are squared.
    return tf.scatter_nd(gradient.indices[:, None], gradient.values, tf.shape(like, gradient.indices.dtype))


def _total(gradients: list[Any]) -> list[Any]:
    given = iter(summed([gradient for gradient in gradients if gradient is not None]))
    return [None if gradient is None else next(given) for gradient in gradients]


def _square(x: Any) -> Any:
    return ops.sum(ops.square(x))
