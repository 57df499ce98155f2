"""Which of several processes that train one model together speaks for all of them."""

from __future__ import annotations

import sys

import keras


def is_first_process(model: keras.Model | None = None) -> bool:
    """Whether this process writes what all processes of a training know.

    True where there is only one. Every process computes the same figures; one that writes them is enough, and
    two in one folder would write every line twice.

    Args:
        model: The model that is trained: on TensorFlow it knows its strategy outside of the strategy's scope.

    Example:
        >>> is_first_process()
        True
    """
    match keras.backend.backend():
        case "jax":
            import jax

            return jax.process_index() == 0
        case "tensorflow":
            import tensorflow as tf

            strategy = getattr(model, "distribute_strategy", None) or tf.distribute.get_strategy()
            return strategy.extended.should_save_summary
        case "torch":
            distributed = sys.modules.get("torch.distributed")
            together = distributed is not None and distributed.is_available() and distributed.is_initialized()
            return not together or distributed.get_rank() == 0
    return True
