"""The lecture's calibrated random numbers: Var(w) = gain^2 / n."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasreg._core.arguments import choice, integer, refusal
from kerasreg._core.registry import register
from kerasreg.initializers.fans import KINDS, check_convolution, checked_shape, fans
from kerasreg.initializers.gain import gain, resolve_activation
from kerasreg.initializers.orthogonal import orthogonal_kernel
from kerasreg.initializers.seeds import checked_seed, fresh_seed, seed_config

FANS = ("in", "out", "average")
DISTRIBUTIONS = ("truncated_normal", "normal", "uniform", "orthogonal")

# The standard deviation of N(0, 1) cut off at two standard deviations, the cut of Keras' truncated normal.
_TRUNCATED_STD = math.sqrt(
    1.0 - 4.0 * math.exp(-2.0) / math.sqrt(2.0 * math.pi) / math.erf(2.0 / math.sqrt(2.0))
)


@register
class Calibrated(keras.initializers.Initializer):
    """Random weights with Var(w) = gain^2 / n, so that a signal keeps its variance from layer to layer.

    For s = sum_i^n w_i x_i with independent zero-mean weights, Var(s) = n Var(w) E[x^2]. With the gain
    1 / sqrt(E[phi(z)^2]), z ~ N(0, 1), of the network's activation phi, Var(s) is 1 wherever x = phi(z): in a
    stack of layers with this activation every weighted sum has variance 1 if the first one has. For
    `linear`, `relu` and `leaky_relu`, which only scale, E[phi(s)^2] = E[x^2] for every input.

    Args:
        activation: The name of an elementwise Keras activation, or a callable: what stands between the
            layers of the network.
        fan: Which n: `"in"` keeps the forward signal, `"out"` the backward one, `"average"` lies between.
        kind: What the layer does with the kernel, which decides n: `"dense"`, `"conv"`, `"depthwise"`,
            `"transpose"`, `"embedding"` or `"recurrent"`.
        distribution: `"truncated_normal"` (cut at two standard deviations; the variance is right after the
            cut), `"normal"`, `"uniform"`, or `"orthogonal"`: orthogonal rows or columns, a matrix for each
            group, gate or depthwise channel, with gain^2 / n for the mean square of the weights exactly.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same weights at every call;
            a `keras.random.SeedGenerator`; None for new ones at every call, so that one instance shared by
            two layers does not give both the same kernel.
        groups: The convolution's groups.
        strides: The convolution's strides, one number or one for each spatial axis.
        input_axes: For kind `"dense"`, the kernel's axes that are summed over (those of an `EinsumDense`);
            all but the last if None.
        batch_axes: For kind `"dense"`, the axes that index input and output alike (`b` in `"abc,bcd->abd"`).

    Raises:
        ValueError: If an argument is not one of the above, or the activation is unknown or not elementwise.

    Source:
        Glorot and Bengio, 2010; He et al., 2015.

    Example:
        >>> import keras, kerasreg as kr
        >>> he = kr.initializers.Calibrated("relu", seed=0)
        >>> layer = keras.layers.Dense(64, "relu", kernel_initializer=he)
        >>> layer.build((None, 512))
        >>> round(float(keras.ops.var(layer.kernel)) * 512, 1)
        2.0
    """

    def __init__(
        self,
        activation: str | Callable[[Any], Any] = "linear",
        fan: str = "in",
        kind: str = "dense",
        distribution: str = "truncated_normal",
        seed: int | keras.random.SeedGenerator | None = None,
        groups: int = 1,
        strides: int | Sequence[int] = 1,
        input_axes: Sequence[int] | None = None,
        batch_axes: Sequence[int] = (),
    ):
        self.activation = resolve_activation("Calibrated", activation)
        self.fan = choice("Calibrated", "fan", fan, FANS)
        self.kind = choice("Calibrated", "kind", kind, KINDS)
        self.distribution = choice("Calibrated", "distribution", distribution, DISTRIBUTIONS)
        self.seed = checked_seed("Calibrated", seed)
        self.groups = integer("Calibrated", "groups", groups, low=1)
        self.strides = _strides(strides)
        self.input_axes = None if input_axes is None else _axes("input_axes", input_axes)
        self.batch_axes = _axes("batch_axes", batch_axes)
        self.gain = gain(activation, owner="Calibrated")

    def variance(self, shape: Sequence[int]) -> float:
        """Var(w) for a kernel of this shape."""
        shape = checked_shape("Calibrated", shape)
        fan_in, fan_out = fans(shape, self.kind, self.groups, self.strides, self.input_axes, self.batch_axes)
        check_convolution(shape, self.kind, self.groups, self.strides)
        n = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[self.fan]
        return self.gain**2 / max(n, 1.0)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Draw a kernel of this shape."""
        shape = checked_shape("Calibrated", shape)
        std = math.sqrt(self.variance(shape))
        seed = fresh_seed(self.seed)
        if self.distribution == "orthogonal":
            kernel = orthogonal_kernel(shape, self.kind, self.groups, self.input_axes, self.batch_axes, seed)
            return keras.ops.cast(std * kernel, dtype or keras.config.floatx())
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * std
            return keras.random.uniform(shape, -limit, limit, dtype=dtype, seed=seed)
        if self.distribution == "normal":
            return keras.random.normal(shape, 0.0, std, dtype=dtype, seed=seed)
        spread = std / _TRUNCATED_STD
        kernel = keras.random.truncated_normal(shape, 0.0, spread, dtype=dtype, seed=seed)
        # On torch, Keras draws each weight four times: of a million, four are beyond the cut every time.
        on_torch = keras.backend.backend() == "torch"
        return keras.ops.clip(kernel, -2.0 * spread, 2.0 * spread) if on_torch else kernel

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {
            "activation": keras.activations.serialize(self.activation),
            "fan": self.fan,
            "kind": self.kind,
            "distribution": self.distribution,
            "seed": seed_config(self.seed),
            "groups": self.groups,
            "strides": self.strides if isinstance(self.strides, int) else list(self.strides),
            "input_axes": None if self.input_axes is None else list(self.input_axes),
            "batch_axes": list(self.batch_axes),
        }


def _axes(argument: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise refusal("Calibrated", argument, "a list of the kernel's axes", value)
    return tuple(integer("Calibrated", argument, axis) for axis in value)


def _strides(value: int | Sequence[int]) -> int | tuple[int, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            raise refusal("Calibrated", "strides", "a number or one for each spatial axis", value)
        return tuple(integer("Calibrated", "strides", stride, low=1) for stride in value)
    return integer("Calibrated", "strides", value, low=1)
