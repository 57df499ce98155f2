"""Carries collected statistics out of `jax.value_and_grad` and `jax.grad`.

What is computed inside a differentiated function are tracers of that transform; they may leave it as
auxiliary outputs only. While a step is traced under `carried`, the two functions add that output by
themselves, whoever wrote the step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from kerasreg._tap.collector import Collector

_local = threading.local()
_lock = threading.Lock()
_users = 0
_originals: dict[str, Callable[..., Any]] = {}


@contextmanager
def carried(collector: Collector) -> Iterator[None]:
    """While inside, gradients taken in this thread let the collector's values out. Only JAX needs it."""
    if keras.backend.backend() != "jax":
        yield
        return
    _install()
    before = getattr(_local, "collector", None)
    _local.collector = collector
    try:
        yield
    finally:
        _local.collector = before
        _uninstall()


def _install() -> None:
    import jax

    global _users
    with _lock:
        if _users == 0:
            _originals.update(value_and_grad=jax.value_and_grad, grad=jax.grad)
            jax.value_and_grad, jax.grad = _value_and_grad, _grad
        _users += 1


def _uninstall() -> None:
    import jax

    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            jax.value_and_grad, jax.grad = _originals["value_and_grad"], _originals["grad"]


def _value_and_grad(
    fun: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, **options: Any
) -> Callable[..., Any]:
    original = _originals["value_and_grad"]
    collector: Collector | None = getattr(_local, "collector", None)
    if collector is None:
        return original(fun, argnums, has_aux=has_aux, **options)

    def with_vectors(*args: Any, **kwargs: Any) -> Any:
        with collector.inside_transform() as vectors:
            result = fun(*args, **kwargs)
        value, aux = result if has_aux else (result, None)
        return value, (aux, list(vectors))

    differentiated = original(with_vectors, argnums, has_aux=True, **options)

    def value_and_grad(*args: Any, **kwargs: Any) -> Any:
        (value, (aux, vectors)), gradients = differentiated(*args, **kwargs)
        collector.resume(vectors)
        return ((value, aux) if has_aux else value), gradients

    return value_and_grad


def _grad(
    fun: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, **options: Any
) -> Callable[..., Any]:
    valued = _value_and_grad(fun, argnums, has_aux=has_aux, **options)

    def grad(*args: Any, **kwargs: Any) -> Any:
        value, gradients = valued(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return grad
