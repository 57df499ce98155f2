"""See what a layer's kernel gives, before its activation, while the layer is being called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kerasreg._core.kernels import kernels_of
from kerasreg._core.private import get_mask, set_mask

# Layers whose `call` takes one tensor and does all the work.
PLAIN = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
PLAIN_CALLS = {cls.call for cls in PLAIN}


@contextmanager
def activation_replaced(layer: keras.layers.Layer, look: Callable[[Any], Any]) -> Iterator[None]:
    """While inside, the layer hands its linear output to `look` and goes on with what that gives back.

    The layer's own activation follows. The attribute is set past Keras' tracking, so that a layer that serves
    as activation stays the layer's own.
    """
    attributes = vars(layer)
    activation = attributes["activation"]

    def look_and_activate(outputs: Any) -> Any:
        outputs = look(outputs)
        return outputs if activation is None else activation(outputs)

    # Whoever asks for the activation's name meanwhile is told the layer's own.
    look_and_activate.__name__ = getattr(activation, "__name__", "linear")
    attributes["activation"] = look_and_activate
    try:
        yield
    finally:
        attributes["activation"] = activation


def with_linear_output(
    layer: keras.layers.Layer,
    proceed: Callable[..., Any],
    args: tuple,
    kwargs: dict,
    look: Callable[[Any], Any],
) -> Any:
    """Call a layer that holds a kernel; what `look` makes of its linear output takes that one's place."""
    if isinstance(layer, keras.layers.Embedding):
        outputs = proceed(*args, **kwargs)
        looked = look(outputs)
        if looked is not outputs:
            set_mask(looked, get_mask(outputs))
        return looked
    with activation_replaced(layer, look):
        if not kwargs.keys() - {"training"} and len(args) == 1 and _needs_no_call(layer, args[0]):
            return layer.call(args[0])
        return proceed(*args, **kwargs)


def _needs_no_call(layer: keras.layers.Layer, inputs: Any) -> bool:
    """Whether `Layer.__call__`, dearer than small layers, would only hand on: no cast, no mask, no build."""
    return (
        layer.built
        and ops.is_tensor(inputs)
        and get_mask(inputs) is None
        and layer.compute_dtype == layer.variable_dtype == keras.backend.standardize_dtype(inputs.dtype)
        and isinstance(layer, PLAIN)
        and type(layer).call in PLAIN_CALLS
    )


def fold_time(layer: keras.layers.TimeDistributed, args: tuple, kwargs: dict) -> Any:
    """A `TimeDistributed` layer's output by one call of its inner layer, on (rows x steps) rows.

    Keras calls the inner layer's `call` for each step, which no hook on layer calls sees.
    """
    inputs = args[0] if args else kwargs["inputs"]
    mask = kwargs.get("mask")
    mask = get_mask(inputs) if mask is None else mask
    rows, steps, *rest = ops.shape(inputs)
    extra = {}
    if mask is not None and has_mask_argument(layer.layer):
        extra["mask"] = ops.reshape(mask, (rows * steps, *ops.shape(mask)[2:]))
    outputs = layer.layer(ops.reshape(inputs, (rows * steps, *rest)), **extra)
    outputs = ops.reshape(outputs, (rows, steps, *ops.shape(outputs)[1:]))
    set_mask(outputs, mask)
    return outputs


def has_mask_argument(layer: keras.layers.Layer) -> bool:
    """Whether a layer's `call` takes a mask by name."""
    import inspect

    return "mask" in inspect.signature(layer.call).parameters


def scanned_kernel_cell(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """The cell of a recurrent layer whose input product can be made outside of the scan, or None."""
    cell = getattr(layer, "cell", None) if isinstance(layer, keras.layers.RNN) else None
    known = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
    return cell if isinstance(cell, known) and kernels_of(cell) else None


def depthwise_part(layer: keras.layers.Layer, inputs: Any) -> Any:
    """What a separable convolution's depthwise kernel gives, before the pointwise one."""
    inputs = ops.cast(inputs, layer.compute_dtype)
    padding = layer.padding
    if padding == "causal":
        left = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        channels_first = layer.data_format == "channels_first"
        inputs = ops.pad(
            inputs, [(0, 0), (0, 0), (left, 0)] if channels_first else [(0, 0), (left, 0), (0, 0)]
        )
        padding = "valid"
    return ops.depthwise_conv(
        inputs,
        ops.cast(layer.depthwise_kernel, layer.compute_dtype),
        strides=layer.strides,
        padding=padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )
