"""Seeds of any size, for generators that hold 31 bits."""

from __future__ import annotations

# The largest that an int32 holds, as the seeds of Keras' generators on PyTorch are.
_LARGEST = 2**31 - 1


def generator_seed(seed: int | None) -> int | None:
    """A seed that every backend's generator takes: itself below 2^31, else modulo 2^31 - 2.

    Keras' generators hold an int64 on TensorFlow, which folds it so itself, a uint32 on JAX and an int32 on
    PyTorch; the latter two end in an `OverflowError` where a larger one comes.

    >>> generator_seed(7), generator_seed(2**32 + 7)
    (7, 11)
    """
    return seed if seed is None or seed <= _LARGEST else seed % (_LARGEST - 1)
