"""Step into every layer call: the one hook behind watching activations and sampling dropout.

A handler sees each `layer(...)` that runs in its thread while it is in force, wherever the layer sits:
Functional, subclassed, nested, shared. It calls `proceed(*args, **kwargs)` for what the layer would have
done, or returns something else. Nothing is written to the model, so nothing has to be undone in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

Handler = Callable[[Any, Callable[..., Any], tuple, dict], Any]


class _Handlers(threading.local):
    """The handlers in force in this thread; other threads call their layers undisturbed."""

    def __init__(self) -> None:
        self.of_layers: tuple[Handler, ...] = ()
        self.of_operations: tuple[Handler, ...] = ()


class _Hook:
    """A class whose `__call__` is another one as long as somebody needs it."""

    def __init__(self, owner: type) -> None:
        self.owner = owner
        self.users = 0
        self.original: Callable[..., Any] | None = None

    def take(self, replacement: Callable[..., Any]) -> None:
        with _lock:
            if self.users == 0:
                self.original = self.owner.__call__
                self.owner.__call__ = replacement
            self.users += 1

    def leave(self) -> None:
        with _lock:
            self.users -= 1
            if self.users == 0:
                self.owner.__call__ = self.original


_handlers = _Handlers()
_lock = threading.Lock()
_layers = _Hook(keras.layers.Layer)
_operations = _Hook(keras.Operation)


@contextmanager
def intercept(handler: Handler, operations: bool = False) -> Iterator[None]:
    """While inside, hand this thread's layer calls to `handler`; the innermost handler is asked last.

    Args:
        handler: Called as `handler(layer, proceed, args, kwargs)`; what it returns is the call's result.
        operations: Whether it is asked too for the operations of a functional graph that are no layers, such
            as the sum in `keras.Model(x, block(x) + x)`.
    """
    _layers.take(_call_layer)
    if operations:
        _operations.take(_call_operation)
    before = _handlers.of_layers, _handlers.of_operations
    _handlers.of_layers = (handler, *before[0])
    if operations:
        _handlers.of_operations = (handler, *before[1])
    try:
        yield
    finally:
        _handlers.of_layers, _handlers.of_operations = before
        if operations:
            _operations.leave()
        _layers.leave()


def _call_layer(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    # Read before the call: another thread may leave, and take the hook with it, at any time.
    return _through(_handlers.of_layers, _layers.original, layer, args, kwargs)


def _call_operation(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
    # A layer's own `__call__`, where its handlers were asked, ends in the operation's.
    stack = () if isinstance(operation, keras.layers.Layer) else _handlers.of_operations
    return _through(stack, _operations.original, operation, args, kwargs)


def _through(
    stack: tuple[Handler, ...], original: Callable[..., Any], called: Any, args: tuple, kwargs: dict
) -> Any:
    proceed = partial(original, called)
    for handler in stack:
        proceed = partial(_ask, handler, called, proceed)
    return proceed(*args, **kwargs)


def _ask(handler: Handler, called: Any, proceed: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return handler(called, proceed, args, kwargs)
