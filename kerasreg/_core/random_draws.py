"""Step into what is drawn from `keras.random`, whoever draws it: the hook behind placing a layer's own noise.

Every draw of a layer, Keras' or a user's, ends in one of the backend's random functions. A handler sees each
that is made in its thread while it is in force, and gives its result: what the original gives, or the same
distribution from numbers of its own (`from_uniform`).
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import keras
from keras import ops

from kerasreg._core.counter_random import normal_from
from kerasreg._core.noise_source import Uniform
from kerasreg._core.private import backend_random

# Called with the function's name, the original and every argument by its name.
Handler = Callable[[str, Callable[..., Any], dict[str, Any]], Any]

NAMES = (
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
)


class _Active(threading.local):
    def __init__(self) -> None:
        self.handler: Handler | None = None


_active = _Active()
_lock = threading.Lock()
_originals: dict[str, Callable[..., Any]] = {}
_users = 0


@contextmanager
def intercept_draws(handler: Handler) -> Iterator[None]:
    """While inside, this thread's draws are the handler's; other threads draw undisturbed."""
    _take()
    before = _active.handler
    _active.handler = handler
    try:
        yield
    finally:
        _active.handler = before
        _leave()


def _take() -> None:
    global _users
    with _lock:
        if _users == 0:
            module = backend_random()
            for name in NAMES:
                _originals[name] = getattr(module, name)
                setattr(module, name, _asking(name, _originals[name]))
        _users += 1


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            for name, original in _originals.items():
                setattr(backend_random(), name, original)


def _asking(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @wraps(original)
    def draw(*args: Any, **kwargs: Any) -> Any:
        handler = _active.handler
        if handler is None:
            return original(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return handler(name, original, bound.arguments)

    return draw


def drawn_shape(name: str, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """How many uniform numbers a draw takes: ints, and tensors for sizes that are not known yet."""
    if name == "dropout":
        sizes, wanted = ops.shape(arguments["inputs"]), arguments["noise_shape"]
        wanted = [None] * len(sizes) if wanted is None else wanted
        return tuple(size if given is None else given for size, given in zip(sizes, wanted, strict=True))
    if name == "categorical":
        rows, classes = ops.shape(arguments["logits"])
        return rows, arguments["num_samples"], classes
    return _sizes(arguments["shape"])


def _sizes(shape: Any) -> tuple[Any, ...]:
    if ops.is_tensor(shape):
        # TensorFlow's `tf.shape(x)`.
        shape = ops.unstack(shape)
    return tuple(int(size) if isinstance(size, int) else size for size in shape)


def from_uniform(name: str, arguments: dict[str, Any], uniform: Uniform) -> Any:
    """What a function of `keras.random` gives, made of numbers from `uniform`.

    Raises:
        KeyError: For a distribution that is not made of a fixed number of uniform ones.
    """
    make = _MAKE[name]
    return make(arguments, uniform(drawn_shape(name, arguments)))


def _float(arguments: dict[str, Any], values: Any) -> Any:
    return ops.cast(values, arguments["dtype"] or keras.config.floatx())


def _uniform(arguments: dict[str, Any], u: Any) -> Any:
    low, high = (ops.cast(arguments[name], "float32") for name in ("minval", "maxval"))
    return _float(arguments, low + (high - low) * u)


def _normal(arguments: dict[str, Any], u: Any) -> Any:
    return _float(arguments, arguments["mean"] + arguments["stddev"] * normal_from(u))


def _truncated_normal(arguments: dict[str, Any], u: Any) -> Any:
    # At two deviations, where Keras cuts: between these two values of the distribution function.
    low, high = 0.022750131948179212, 0.9772498680518208
    return _normal(arguments, low + (high - low) * u)


def _randint(arguments: dict[str, Any], u: Any) -> Any:
    low, high = (ops.cast(arguments[name], "float32") for name in ("minval", "maxval"))
    # Rounding may reach the upper end, which is not among the numbers.
    whole = ops.minimum(ops.floor(low + (high - low) * u), high - 1.0)
    return ops.cast(whole, arguments["dtype"])


def _dropout(arguments: dict[str, Any], u: Any) -> Any:
    x, rate = arguments["inputs"], arguments["rate"]
    return ops.where(u >= rate, x / (1.0 - rate), ops.zeros((), x.dtype))


def _categorical(arguments: dict[str, Any], u: Any) -> Any:
    # The largest of the logits with Gumbel noise (Gumbel, 1954).
    noise = -ops.log(-ops.log(ops.clip(u, 2.0**-24, 1.0 - 2.0**-24)))
    logits = ops.expand_dims(ops.cast(arguments["logits"], "float32"), 1)
    return ops.cast(ops.argmax(logits + noise, axis=-1), arguments["dtype"])


_MAKE = {
    "categorical": _categorical,
    "dropout": _dropout,
    "normal": _normal,
    "randint": _randint,
    "truncated_normal": _truncated_normal,
    "uniform": _uniform,
}
