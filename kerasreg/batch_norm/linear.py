"""Linear layers that take an affine map into their weights, exactly, in float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._core.graph import Replacement
from kerasreg.batch_norm.affine import Affine
from kerasreg.batch_norm.einsum_labels import label_of, scaled_bias, scaled_kernel
from kerasreg.batch_norm.statistics import numpy_of

_L = keras.layers
_CONV = (_L.Conv1D, _L.Conv2D, _L.Conv3D)
_TRANSPOSE = (_L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose)
_DEPTHWISE = (_L.DepthwiseConv1D, _L.DepthwiseConv2D)
_SEPARABLE = (_L.SeparableConv1D, _L.SeparableConv2D)
# Of these classes themselves: a subclass may call them for something else.
KINDS = frozenset({*_CONV, *_TRANSPOSE, *_DEPTHWISE, *_SEPARABLE, _L.Dense, _L.EinsumDense})


class CannotFold(Exception):
    """Why not, in words that go on after "left: "."""


class Linear:
    """A linear layer's weights, with what was folded into them so far.

    Args:
        layer: A built layer of one of the `KINDS`.
        name: What a reason calls it.
    """

    def __init__(self, layer: keras.layers.Layer, name: str):
        self.layer = layer
        self.name = name
        if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
            raise CannotFold(f"{name} is quantized or has a LoRA")
        names = ("depthwise_kernel", "pointwise_kernel") if isinstance(layer, _SEPARABLE) else ("kernel",)
        self._kernels = [numpy_of(getattr(layer, kernel)).astype("float64") for kernel in names]
        self._bias = None if layer.bias is None else numpy_of(layer.bias).astype("float64")
        self._bias_axes = getattr(layer, "bias_axes", None)

    def adopt(self, other: Linear) -> None:
        """Go on from the weights of another one of the same layer."""
        self._kernels, self._bias, self._bias_axes = list(other._kernels), other._bias, other._bias_axes

    def take_output(self, affine: Affine, axis: int, rank: int) -> None:
        """Have the layer give scale y + shift in the place of y.

        Args:
            affine: The map, feature by feature.
            axis: The axis of the features in the output, counted from the front.
            rank: The output's number of axes.

        Raises:
            CannotFold: If the layer cannot do that.
        """
        layer, (scale, shift) = self.layer, affine
        if layer.activation is not keras.activations.linear:
            raise CannotFold(f"{self.name} has the activation {_name_of(layer.activation)}")
        if layer.activity_regularizer is not None:
            raise CannotFold(f"{self.name} has an activity regularizer")
        if isinstance(layer, _L.EinsumDense):
            label = label_of(layer.equation, axis, rank)
            kernel, labels = self._kernels[0], layer.equation.partition(",")[2].partition("->")[0].strip()
            if label is None or label not in labels:
                raise CannotFold(f"its axis is none of the kernel of {self.name} ({layer.equation})")
            self._kernels = [scaled_kernel(kernel, labels, label, scale)]
            self._bias, self._bias_axes = scaled_bias(
                self._bias, self._bias_axes, label, affine, axis, rank, layer
            )
            return
        self._need_features_at(axis, rank)
        *first, last = self._kernels
        if isinstance(layer, _DEPTHWISE):
            # Channel c with multiplier m is output c * multipliers + m.
            last = last * scale.reshape(last.shape[-2:])
        elif isinstance(layer, _TRANSPOSE):
            last = last * scale[:, None]
        else:
            last = last * scale
        self._kernels = [*first, last]
        self._bias = (0.0 if self._bias is None else self._bias) * scale + shift

    def take_input(self, affine: Affine, axis: int, rank: int) -> None:
        """Have the layer take x in the place of scale x + shift; the arguments are those of `take_output`.

        Raises:
            CannotFold: If the layer cannot do that.
        """
        layer, (scale, shift) = self.layer, affine
        if isinstance(layer, _L.EinsumDense):
            raise CannotFold(f"its output goes to {self.name}")
        self._need_features_at(axis, rank)
        if shift.any():
            if isinstance(layer, _TRANSPOSE):
                raise CannotFold(
                    f"at the borders {self.name} sums fewer of its outputs, and its shift is not 0"
                )
            padding = getattr(layer, "padding", "valid")
            if padding != "valid" and any(size > 1 for size in layer.kernel_size):
                raise CannotFold(
                    f"{self.name} pads its output with zeros (padding='{padding}'), and its shift is not 0"
                )
        first, *rest = self._kernels
        spread = (_grouped if isinstance(layer, _CONV) else _as_rows)(first, layer)
        if isinstance(layer, _TRANSPOSE):
            self._kernels = [first * scale]
            return
        moved = first * spread(shift)
        constant = moved.sum(
            axis=tuple(range(first.ndim - 1 - isinstance(layer, (*_DEPTHWISE, *_SEPARABLE))))
        )
        constant = constant.reshape(-1)
        if isinstance(layer, _SEPARABLE):
            constant = constant @ rest[0].reshape(rest[0].shape[-2:])
        self._kernels = [first * spread(scale), *rest]
        self._bias = (0.0 if self._bias is None else self._bias) + constant

    def replacement(self) -> Replacement:
        """The layer with these weights.

        Raises:
            CannotFold: If its type does not hold them.
        """
        layer = self.layer
        config = layer.get_config()
        weights = list(self._kernels)
        if self._bias is not None:
            weights.append(np.asarray(self._bias))
            if isinstance(layer, _L.EinsumDense):
                config["bias_axes"] = self._bias_axes
            else:
                config["use_bias"] = True
        kind = numpy_of(layer.weights[0]).dtype
        with np.errstate(over="ignore"):
            weights = [weight.astype(kind) for weight in weights]
        if not all(np.isfinite(weight.astype("float64")).all() for weight in weights):
            raise CannotFold(f"the weights of {self.name} would not be finite in {layer.variable_dtype}")
        return Replacement(type(layer).from_config(config), weights)

    def _need_features_at(self, axis: int, rank: int) -> None:
        first = getattr(self.layer, "data_format", "channels_last") == "channels_first"
        features = 1 if first else rank - 1
        if axis != features:
            raise CannotFold(f"its axis is {axis}, the features of {self.name} are at {features}")


def _grouped(kernel: np.ndarray, layer: Any) -> Any:
    """Lays a value for each input feature out for a kernel whose groups see some of them each."""
    groups, outputs = layer.groups, kernel.shape[-1]
    return lambda values: np.repeat(values.reshape(groups, -1), outputs // groups, axis=0).T


def _as_rows(kernel: np.ndarray, layer: Any) -> Any:
    return lambda values: values[:, None]


def _name_of(activation: Any) -> str:
    return getattr(activation, "__name__", None) or getattr(activation, "name", None) or repr(activation)
