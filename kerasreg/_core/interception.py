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

Handler = Callable[[keras.layers.Layer, Callable[..., Any], tuple, dict], Any]


class _Handlers(threading.local):
    """The handlers in force in this thread; other threads call their layers undisturbed."""

    def __init__(self) -> None:
        self.stack: tuple[Handler, ...] = ()


_handlers = _Handlers()
_lock = threading.Lock()
_users = 0
_original: Callable[..., Any] | None = None


@contextmanager
def intercept(handler: Handler) -> Iterator[None]:
    """While inside, hand this thread's layer calls to `handler`; the innermost handler is asked last."""
    _install()
    before = _handlers.stack
    _handlers.stack = (handler, *before)
    try:
        yield
    finally:
        _handlers.stack = before
        _uninstall()


def _install() -> None:
    global _users, _original
    with _lock:
        if _users == 0:
            _original = keras.layers.Layer.__call__
            keras.layers.Layer.__call__ = _call
        _users += 1


def _uninstall() -> None:
    global _users, _original
    with _lock:
        _users -= 1
        if _users == 0:
            keras.layers.Layer.__call__ = _original


def _call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    # Read before the call: another thread may leave, and take the hook with it, at any time.
    proceed = partial(_original, layer)
    for handler in _handlers.stack:
        proceed = partial(_ask, handler, layer, proceed)
    return proceed(*args, **kwargs)


def _ask(
    handler: Handler, layer: keras.layers.Layer, proceed: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    return handler(layer, proceed, args, kwargs)
