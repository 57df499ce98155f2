"""The right initializer for a layer, from what the layer does with its kernels."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import keras

from kerasreg._core.arguments import integer, refusal
from kerasreg._core.kernels import Kernel, kernels_of
from kerasreg._core.paths import layer_paths
from kerasreg.initializers.calibrated import Calibrated
from kerasreg.initializers.gain import gain, resolve_activation

Activation = str | Callable[[Any], Any]


def for_layer(
    layer: keras.layers.Layer, activation: Activation | None = None, seed: int | None = None
) -> Calibrated | dict[str, Calibrated]:
    """The `Calibrated` initializer that fits a layer: its kind of kernel, groups, strides and axes.

    The gain should be that of the activation whose output the layer reads. In most networks it is the same
    everywhere, so the layer's own stands for it; one that is not elementwise (`softmax`) counts as linear. A
    recurrent kernel is orthogonal, a matrix for each gate, with gain 1.

    Args:
        layer: Dense, EinsumDense, Embedding, a convolution of any kind, a recurrent layer or cell, an
            attention layer (built), or a wrapper of one.
        activation: What stands between the layers of the network; the layer's own if None.
        seed: For the same weights at every call; several kernels get seeds of their own made from it.

    Returns:
        One initializer; for a layer with several kernels a dict by kernel: `depthwise_kernel` and
        `pointwise_kernel`, `kernel` and `recurrent_kernel`, `query/kernel`, ...

    Raises:
        ValueError: If the layer has no kernel of a known kind, or is an attention layer that is not built.

    Example:
        >>> import keras, kerasreg as kr
        >>> found = kr.initializers.for_layer(keras.layers.DepthwiseConv2D(3, strides=2, activation="relu"))
        >>> found.kind, found.strides, round(found.gain ** 2, 3)
        ('depthwise', (2, 2), 2.0)
        >>> {name: part.kind for name, part in kr.initializers.for_layer(keras.layers.LSTM(8)).items()}
        {'kernel': 'dense', 'recurrent_kernel': 'recurrent'}
    """
    seed = None if seed is None else integer("for_layer", "seed", seed, low=0)
    if not isinstance(layer, keras.layers.Layer):
        raise refusal("for_layer", "layer", "a Keras layer", layer)
    found = _kernels_by_name(layer)
    if not found:
        attention = "Attention" in type(layer).__name__ and not layer.built
        remedy = "build it first" if attention else None
        raise refusal("for_layer", "layer", "one with a kernel of a known kind", layer, remedy)
    if len(found) == 1:
        (kernel,) = found.values()
        return initializer_of(kernel, activation, seed)
    return {
        name: initializer_of(kernel, activation, None if seed is None else seed_for(seed, name))
        for name, kernel in found.items()
    }


def initializer_of(kernel: Kernel, activation: Activation | None, seed: int | None) -> Calibrated:
    """The initializer of one kernel."""
    recurrent = kernel.attribute == "recurrent_kernel"
    if recurrent:
        activation = "linear"
    elif activation is None:
        # What a cell reads is another cell's output, which no gain describes.
        cell = hasattr(kernel.layer, "recurrent_kernel") or hasattr(kernel.layer, "recurrent_initializer")
        activation = "linear" if cell else elementwise(getattr(kernel.layer, "activation", None))
    return Calibrated(
        activation,
        kind=kernel.kind,
        distribution="orthogonal" if kernel.kind == "recurrent" else "truncated_normal",
        seed=seed,
        groups=kernel.groups,
        strides=kernel.strides,
        input_axes=kernel.input_axes,
        batch_axes=kernel.batch_axes,
    )


def elementwise(activation: Any) -> Activation:
    """The activation if it has a gain, else `linear`."""
    if activation is None:
        return "linear"
    try:
        gain(activation)
    except ValueError:
        return "linear"
    return resolve_activation("for_layer", activation)


def seed_for(seed: int, name: str) -> int:
    """A seed of its own for each name, the same in every process."""
    return zlib.crc32(f"{seed}/{name}".encode()) % 2**31


def _kernels_by_name(layer: keras.layers.Layer) -> dict[str, Kernel]:
    if isinstance(layer, keras.layers.RNN) and kernels_of(layer.cell):
        layer = layer.cell
    elif isinstance(layer, keras.layers.TimeDistributed | keras.layers.SpectralNormalization):
        return _kernels_by_name(layer.layer)
    own = {kernel.attribute: kernel for kernel in kernels_of(layer)}
    inside = {
        f"{path}/{kernel.attribute}": kernel
        for part, path in layer_paths(layer).items()
        for kernel in kernels_of(part)
    }
    return {**own, **inside}
