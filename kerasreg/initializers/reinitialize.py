"""A built model's kernels drawn anew, each as its layer needs it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.activation_before import activations_before
from kerasreg._core.arguments import integer, refusal
from kerasreg._core.kernels import Kernel, kernels_of
from kerasreg._core.paths import layer_paths
from kerasreg.initializers.calibrated import Calibrated
from kerasreg.initializers.for_layer import elementwise, initializer_of, seed_for
from kerasreg.initializers.gain import resolve_activation


def reinitialize(
    model: keras.Model, activation: str | Callable[[Any], Any] | None = None, seed: int | None = None
) -> dict[str, Calibrated]:
    """Draw every trainable kernel of a built model anew, calibrated for the layer that holds it.

    The gain is that of the activation whose output the layer reads, found from the model's graph (through
    pooling, dropout and reshaping; behind a normalisation or a sum it is 1); without a graph it is that of
    the layer's own activation. The biases of these layers start anew from their own initializers. Frozen
    layers, batch norms and all other variables stay as they are, and so does an optimizer's state: compile
    the model again before it is trained.

    Args:
        model: A built model.
        activation: The activation for all kernels but recurrent ones, in place of those found.
        seed: The same seed draws the same weights, whatever the layers' order; None for new ones.

    Returns:
        The initializers used, by `path.kernel`.

    Raises:
        ValueError: If the model is not built or holds no trainable kernel of a known kind, or the activation
            is unknown or not elementwise; nothing is changed then.

    Example:
        >>> import keras, kerasreg as kr
        >>> layers = [keras.layers.Dense(32, "relu", name="a"), keras.layers.Dense(32, name="b")]
        >>> model = keras.Sequential([keras.Input((8,)), *layers])
        >>> drawn = kr.initializers.reinitialize(model, seed=0)
        >>> {name: round(part.gain, 3) for name, part in drawn.items()}
        {'a.kernel': 1.0, 'b.kernel': 1.414}
    """
    if not isinstance(model, keras.Model) or not model.built:
        remedy = "call it once on data, or give it an Input"
        raise refusal("reinitialize", "model", "a built keras.Model", model, remedy)
    seed = secrets.randbits(31) if seed is None else integer("reinitialize", "seed", seed, low=0)
    if activation is not None:
        activation = resolve_activation("reinitialize", activation)
    before = activations_before(model)
    drawn: dict[str, Calibrated] = {}
    values: dict[int, tuple[keras.Variable, Any]] = {}
    for layer, path in layer_paths(model).items():
        kernels = kernels_of(layer) if layer.trainable and layer.built else []
        for kernel in kernels:
            if not isinstance(kernel.variable, keras.Variable):
                raise refusal("reinitialize", "model", f"free of quantised or LoRA layers ({path})", layer)
            if id(kernel.variable) in values:
                continue
            name = f"{path}.{kernel.attribute}"
            phi = activation
            if phi is None and layer in before:
                phi = elementwise(before[layer])
            initializer = initializer_of(kernel, phi, seed_for(seed, name))
            value = initializer(kernel.variable.shape, dtype=kernel.variable.dtype)
            drawn[name] = initializer
            values[id(kernel.variable)] = kernel.variable, value
        if kernels and getattr(layer, "bias", None) is not None:
            values[id(layer.bias)] = layer.bias, _fresh_bias(kernels[0])
    if not drawn:
        raise refusal("reinitialize", "model", "one with a trainable kernel of a known kind", model)
    for variable, value in values.values():
        variable.assign(value)
    return drawn


def _fresh_bias(kernel: Kernel) -> Any:
    layer = kernel.layer
    value = layer.bias_initializer(layer.bias.shape, dtype=layer.bias.dtype)
    if not getattr(layer, "unit_forget_bias", False):
        return value
    value = np.array(ops.convert_to_numpy(value))
    value[layer.units : 2 * layer.units] = 1.0
    return value
