"""Keeps layer calls apart that TensorFlow makes again while it works out gradients."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

_local = threading.local()
_lock = threading.Lock()
_users = 0
_original: Callable[..., Any] | None = None


def is_working_backwards() -> bool:
    """Whether this thread is inside `GradientTape.gradient`: rematerialised blocks are called again there."""
    return getattr(_local, "backwards", False)


@contextmanager
def told_apart() -> Iterator[None]:
    """While inside, `is_working_backwards` tells. Only TensorFlow needs it."""
    global _users, _original
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    with _lock:
        if _users == 0:
            _original = tf.GradientTape.gradient
            tf.GradientTape.gradient = _gradient
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                tf.GradientTape.gradient = _original


def _gradient(tape: Any, *args: Any, **kwargs: Any) -> Any:
    before, _local.backwards = is_working_backwards(), True
    try:
        return _original(tape, *args, **kwargs)
    finally:
        _local.backwards = before
