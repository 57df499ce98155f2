"""How a batch function is compiled: by XLA where this TensorFlow has it, else as a plain graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import tensorflow as tf


def compiler(shape: tf.TensorShape) -> Callable[[Callable[..., Any]], Any]:
    """What compiles a function of batches of images of this shape.

    XLA compiles once for each set of concrete shapes, so images whose height or width are not known
    take the plain graph, which is traced once for all sizes.
    """
    fixed_size = all(side is not None for side in shape[1:])
    return partial(tf.function, jit_compile=True if fixed_size and has_xla() else None)


@cache
def has_xla() -> bool:
    """Whether XLA compiles for this machine's CPU; some TensorFlow builds come without it."""
    try:
        with tf.device("CPU:0"):
            tf.function(lambda x: x + 1, jit_compile=True)(tf.zeros([]))
    except (tf.errors.OpError, ValueError):
        return False
    return True
