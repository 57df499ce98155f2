"""Whether what is written here is compiled as a whole or runs operation by operation."""

from __future__ import annotations

import keras

from kerasreg._core.private import graph_is_compiled_by_xla


def tensorflow_runs_each_operation() -> bool:
    """Whether each operation is a pass over its tensors: in TensorFlow, eagerly or in a graph without XLA."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.executing_eagerly() or not graph_is_compiled_by_xla(tf.compat.v1.get_default_graph())
