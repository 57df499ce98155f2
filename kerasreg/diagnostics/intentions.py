"""What a kernel's initializer meant to give, and what it gives with the fan that Keras reads off a shape."""

from __future__ import annotations

import math

import keras

from kerasreg._core.kernels import Kernel
from kerasreg.initializers.fans import fans


def right_fans(kernel: Kernel) -> tuple[float, float]:
    """Fan in and fan out of a kernel by what its layer computes."""
    shape = tuple(kernel.variable.shape)
    if kernel.attribute == "recurrent_kernel" and kernel.kind == "recurrent":
        return fans(shape, "recurrent")
    return fans(shape, kernel.kind, kernel.groups, kernel.strides, kernel.input_axes, kernel.batch_axes)


def variances(kernel: Kernel) -> tuple[float, float] | None:
    """The variance that Keras' scaling would give with the right fan, and the one that it gives.

    Keras takes (*window, in, out) for every kernel's shape. None where it reads the shape right, or the
    initializer is none of Keras' variance scalings.

    Example:
        >>> import keras
        >>> from kerasreg._core.kernels import kernels_of
        >>> layer = keras.layers.DepthwiseConv2D(3, depthwise_initializer="he_normal")
        >>> layer.build((None, 8, 8, 64))
        >>> meant, given = variances(kernels_of(layer)[0])
        >>> round(meant, 3), round(given / meant, 3)
        (0.222, 0.016)
    """
    initializer = kernel.initializer
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return None
    if kernel.kind not in ("depthwise", "transpose", "embedding") and kernel.groups == 1:
        return None
    *window, first, last = kernel.variable.shape
    size = math.prod(window)
    fan_in, fan_out = right_fans(kernel)
    if kernel.kind in ("conv", "depthwise"):
        # Nobody means a fan out that counts the strides: what they take from it, they take from the outputs.
        fan_out *= math.prod(_steps(kernel, len(window)))
    meant = _variance(initializer, fan_in, fan_out)
    given = _variance(initializer, size * first, size * last)
    return meant, given


def _variance(initializer: keras.initializers.VarianceScaling, fan_in: float, fan_out: float) -> float:
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[initializer.mode]
    return initializer.scale / max(n, 1.0)


def _steps(kernel: Kernel, rank: int) -> tuple[int, ...]:
    return (kernel.strides,) * rank if isinstance(kernel.strides, int) else tuple(kernel.strides)
