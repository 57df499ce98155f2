"""What Keras' layers multiply by: their kernels, and what each axis of a kernel is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

_CONV = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSE = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_CELLS = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
# Their cells are private: told by the kernels that they hold.
_CONV_LSTM = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)


@dataclass(frozen=True)
class Kernel:
    """One kernel of a layer, and what the layer does with it.

    Args:
        layer: The layer that holds it.
        attribute: The layer's attribute that is the variable.
        kind: `"dense"`, `"conv"`, `"depthwise"`, `"transpose"`, `"embedding"` or `"recurrent"`.
        output_axes: The kernel's axes that index the units or channels of the output, in their order there.
        input_axes: For an `EinsumDense`, the axes summed over.
        batch_axes: For an `EinsumDense`, those that index input and output alike.
        groups: The convolution's groups.
        strides: The convolution's strides.
    """

    layer: keras.layers.Layer
    attribute: str
    kind: str
    output_axes: tuple[int, ...]
    input_axes: tuple[int, ...] | None = None
    batch_axes: tuple[int, ...] = ()
    groups: int = 1
    strides: tuple[int, ...] | int = 1

    @property
    def variable(self) -> keras.Variable:
        """The kernel's variable; quantised and adapted layers give a tensor here."""
        return getattr(self.layer, self.attribute)

    @property
    def initializer(self) -> Any:
        """The initializer that the layer was given for it."""
        names = {"kernel": "kernel_initializer", "embeddings": "embeddings_initializer"}
        if self.kind == "depthwise":
            names["kernel"] = "depthwise_initializer"
        elif self.attribute == "recurrent_kernel":
            names["recurrent_kernel"] = "recurrent_initializer"
        name = names.get(self.attribute, self.attribute.replace("_kernel", "_initializer"))
        return getattr(self.layer, name, None)


def kernels_of(layer: keras.layers.Layer) -> list[Kernel]:
    """The kernels that a layer itself holds, none for a layer of another kind.

    Example:
        >>> import keras
        >>> [(kernel.attribute, kernel.kind) for kernel in kernels_of(keras.layers.SeparableConv2D(8, 3))]
        [('depthwise_kernel', 'depthwise'), ('pointwise_kernel', 'conv')]
    """
    if isinstance(layer, keras.layers.Dense):
        return [Kernel(layer, "kernel", "dense", (-1,))]
    if isinstance(layer, keras.layers.EinsumDense):
        return [_einsum_kernel(layer)]
    if isinstance(layer, _CONV):
        return [Kernel(layer, "kernel", "conv", (-1,), groups=layer.groups, strides=layer.strides)]
    if isinstance(layer, _DEPTHWISE):
        return [Kernel(layer, "kernel", "depthwise", (-2, -1), strides=layer.strides)]
    if isinstance(layer, _SEPARABLE):
        return [
            Kernel(layer, "depthwise_kernel", "depthwise", (-2, -1), strides=layer.strides),
            Kernel(layer, "pointwise_kernel", "conv", (-1,)),
        ]
    if isinstance(layer, _TRANSPOSE):
        return [Kernel(layer, "kernel", "transpose", (-2,), strides=layer.strides)]
    if isinstance(layer, keras.layers.Embedding):
        return [Kernel(layer, "embeddings", "embedding", (-1,))]
    if isinstance(layer, _CELLS):
        return [
            Kernel(layer, "kernel", "dense", (-1,)),
            Kernel(layer, "recurrent_kernel", "recurrent", (-1,)),
        ]
    if type(layer).__name__ == "ConvLSTMCell":
        return [Kernel(layer, name, "conv", (-1,)) for name in ("kernel", "recurrent_kernel")]
    return []


def _einsum_kernel(layer: keras.layers.EinsumDense) -> Kernel:
    operands, output = layer.equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    summed = tuple(i for i, label in enumerate(kernel) if label not in output)
    shared = tuple(i for i, label in enumerate(kernel) if label in output and label in inputs)
    # In the order that the output has them in, so that an output's channel axes and these run alike.
    spread = [label for label in output if label in kernel]
    axes = tuple(kernel.index(label) for label in spread)
    return Kernel(layer, "kernel", "dense", axes, input_axes=summed, batch_axes=shared)


def output_channel_axes(kernel: Kernel, rank: int) -> tuple[int, ...]:
    """The axes of the layer's output, of the given rank, along which its channels run."""
    layer = kernel.layer
    if isinstance(layer, keras.layers.EinsumDense):
        operands, output = layer.equation.replace(" ", "").split("->")
        labels = operands.split(",")[1]
        head, _, tail = output.rpartition("...") if "..." in output else ("", "", output)
        found = [i for i, label in enumerate(head) if label in labels]
        return tuple(found + [rank - len(tail) + i for i, label in enumerate(tail) if label in labels])
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return (1,) if first else (rank - 1,)


def calibrated_call(kernel: Kernel) -> str:
    """The call that makes a fitting initializer, for the remedy of an error or a finding.

    >>> calibrated_call(kernels_of(keras.layers.DepthwiseConv2D(3, activation="tanh"))[0])
    "kr.initializers.Calibrated('tanh', kind='depthwise')"
    >>> calibrated_call(kernels_of(keras.layers.EinsumDense("abc,cde->abde", (None, 2, 8)))[0])
    "kr.initializers.Calibrated('relu', input_axes=(0,))"
    """
    name = getattr(getattr(kernel.layer, "activation", None), "__name__", "linear")
    # Of a layer without an activation of its own, a rectifier is what most often follows.
    name = {"linear": "relu", "softmax": "linear", "<lambda>": "relu"}.get(name, name)
    kind = "" if kernel.kind == "dense" else f", kind={kernel.kind!r}"
    steps = "" if set(_tuple(kernel.strides)) == {1} else f", strides={kernel.strides}"
    groups = "" if kernel.groups == 1 else f", groups={kernel.groups}"
    return f"kr.initializers.Calibrated({name!r}{kind}{groups}{steps}{_einsum_arguments(kernel)})"


def _einsum_arguments(kernel: Kernel) -> str:
    """What an `EinsumDense` has to say where it sums over other axes than all but its kernel's last."""
    if kernel.input_axes is None:
        return ""
    summed, shared = kernel.input_axes, kernel.batch_axes
    if not shared and summed == tuple(range(len(summed))) and kernel.output_axes == (len(summed),):
        return ""
    return f", input_axes={summed}" + (f", batch_axes={shared}" if shared else "")


def _tuple(value: tuple[int, ...] | int) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
