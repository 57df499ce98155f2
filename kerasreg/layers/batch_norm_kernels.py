"""The one decision which kernel normalises by a whole batch, and which with given moments.

Keras 3 has one path for all. Here, on TensorFlow, the fused kernel serves images in a graph that XLA does not
compile, and the gradient in closed form everything else whose features come last; other backends' compilers
find as much by themselves, and get plain operations.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import keras

from kerasreg._core.private import graph_is_compiled_by_xla

_FUSED_TYPES = ("float32", "float16", "bfloat16")


def for_whole_batch(x: Any, feature: int) -> ModuleType | None:
    """The module whose `normalize_with_batch` is the right one for x; None for plain operations."""
    # A symbolic call only asks for shapes, and has no tensor for a kernel.
    if keras.backend.backend() != "tensorflow" or feature != len(x.shape) - 1 or not _is_tensor(x):
        return None
    from kerasreg.layers import closed_form_batch_norm, fused_batch_norm

    return fused_batch_norm if _fused(x) else closed_form_batch_norm


def for_given_moments(x: Any, feature: int) -> ModuleType | None:
    """The module whose `normalize_with` is the right one for x; None for plain operations."""
    if keras.backend.backend() != "tensorflow" or feature != len(x.shape) - 1 or not _is_tensor(x):
        return None
    from kerasreg.layers import fused_batch_norm

    return fused_batch_norm if _fused(x) else None


def _is_tensor(x: Any) -> bool:
    import tensorflow as tf

    return tf.is_tensor(x)


def _fused(x: Any) -> bool:
    """Rank 4, a graph, and no XLA; the kernel has no float64."""
    import tensorflow as tf

    if len(x.shape) != 4 or keras.backend.standardize_dtype(x.dtype) not in _FUSED_TYPES:
        return False
    return not tf.executing_eagerly() and not graph_is_compiled_by_xla(tf.compat.v1.get_default_graph())
