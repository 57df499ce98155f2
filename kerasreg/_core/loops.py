"""Loops inside a compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def while_loop(
    going_on: Callable[..., Any], step: Callable[..., Any], state: tuple[Any, ...]
) -> tuple[Any, ...]:
    """`keras.ops.while_loop`, one turn after the other.

    TensorFlow would begin several turns at once and hold what each of them computes.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.while_loop(going_on, step, state, parallel_iterations=1)
    return ops.while_loop(going_on, step, state)


def stack_turns(turn: Callable[[Any], list[Any]], turns: int, dtypes: list[str]) -> list[Any]:
    """What each turn gives, one below the other: tensors of shape (turns, ...).

    Args:
        turn: Takes the turn's number, from 0, as an int32 scalar.
        turns: How many there are.
        dtypes: The types of what it gives.
    """
    if keras.backend.backend() == "tensorflow":
        # keras.ops.scan takes it that a turn gives what it is given.
        import tensorflow as tf

        arrays = [tf.TensorArray(dtype, size=turns) for dtype in dtypes]
        _, arrays = tf.while_loop(
            lambda i, _: i < turns,
            lambda i, arrays: (i + 1, [a.write(i, y) for a, y in zip(arrays, turn(i), strict=True)]),
            (tf.constant(0), arrays),
            parallel_iterations=1,
        )
        return [array.stack() for array in arrays]
    _, stacked = ops.scan(lambda i, _: (i + 1, turn(i)), ops.zeros((), "int32"), length=turns)
    return stacked
