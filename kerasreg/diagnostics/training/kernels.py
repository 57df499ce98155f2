"""The kernels of a model as they are now, measured on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import numpy as np

from kerasreg._core.kernels import Kernel, kernels_of
from kerasreg._core.paths import layer_paths
from kerasreg._core.residual import branch_ends, output_layers
from kerasreg.diagnostics.figures import KernelFigures
from kerasreg.diagnostics.measures import distinct_units
from kerasreg.diagnostics.sites import KernelFacts

# What is larger (a table of millions of words) is not copied to the host for a look at its symmetry.
LARGEST = 50_000_000


def kernel_rows(model: keras.Model) -> tuple[KernelFigures, ...]:
    """Every kernel that training may change, in the model's order; what it reads and gives is not known yet.

    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_initializer="ones")])
        >>> [(row.kind, row.distinct_units, row.constant, row.output) for row in kernel_rows(model)]
        [('dense', 1, True, True)]
    """
    outputs, ends = set(output_layers(model)), set(branch_ends(model))
    found = []
    for path, kernel in _kernels(model):
        facts = KernelFacts.of(kernel)
        values, bias = host_values(kernel)
        low, high = float(values.min()), float(values.max())
        signature = _signature(values)
        found.append(
            KernelFigures(
                layer=path,
                type=facts.type,
                kernel=facts.attribute,
                kind=facts.kind,
                shape=facts.shape,
                mean=float(values.mean()),
                std=float(values.std()),
                largest=max(high, -low),
                constant=high - low <= 1e-5 * abs(high),
                distinct_units=distinct_units(signature, bias),
                input_rms=1.0,
                input_variation=1.0,
                # For an input of RMS 1, as in `kr.check`.
                predicted_rms=math.sqrt(facts.fan_in) * float(values.std()),
                output_rms=1.0,
                output_variation=1.0,
                dead=None,
                saturated=None,
                gradient=None,
                output=kernel.layer in outputs,
                branch_end=kernel.layer in ends,
                remedy=facts.remedy,
                intended_variance=facts.intended_variance,
                misread_variance=facts.misread_variance,
                signature=signature.ravel(),
            )
        )
    return tuple(found)


def still_stuck(model: keras.Model, began: tuple[KernelFigures, ...]) -> frozenset[str]:
    """Which of the kernels that began as zeros or with equal units still have them."""
    watched = {
        (row.layer, row.kernel): row
        for row in began
        if row.largest == 0 or (row.distinct_units <= row.units // 2 and row.units > 1)
    }
    found = set()
    for path, kernel in _kernels(model) if watched else ():
        row = watched.get((path, kernel.attribute))
        if row is None:
            continue
        values, bias = host_values(kernel)
        if row.largest == 0:
            same = not values.any()
        else:
            same = distinct_units(_signature(values), bias) <= row.distinct_units
        if same:
            found.add(path)
    return frozenset(found)


def broken_weights(model: keras.Model) -> frozenset[str]:
    """The paths of layers that hold a NaN or an infinity in a weight."""
    paths = layer_paths(model)
    return frozenset(
        path for layer, path in paths.items() if any(not np.isfinite(_host(v)).all() for v in layer.weights)
    )


def host_values(kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """A kernel as a matrix with a column for each unit, and the units' biases."""
    weights = _host(kernel.variable)
    units = [axis % weights.ndim for axis in kernel.output_axes]
    if kernel.kind == "depthwise":
        units = [weights.ndim - 1]
    inside = [axis for axis in range(weights.ndim) if axis not in units]
    count = math.prod(weights.shape[axis] for axis in units)
    flat = weights.transpose(*inside, *units).reshape(-1, count)
    bias = getattr(kernel.layer, "bias", None)
    if bias is None or math.prod(bias.shape) != count:
        return flat, np.zeros(count, "float32")
    return flat, _host(bias).reshape(-1)


def _signature(values: np.ndarray) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(2, len(values))).astype("float32")
    return directions @ values


def _kernels(model: keras.Model) -> Iterator[tuple[str, Kernel]]:
    seen: set[int] = set()
    for layer, path in layer_paths(model).items():
        for kernel in kernels_of(layer) if layer.built else ():
            variable = kernel.variable
            # What comes back from the step before is no part of the way from the input to the loss.
            if kernel.attribute == "recurrent_kernel":
                continue
            new = isinstance(variable, keras.Variable) and variable.trainable and id(variable) not in seen
            if new and math.prod(variable.shape) <= LARGEST:
                seen.add(id(variable))
                yield path, kernel


def _host(variable: keras.Variable) -> np.ndarray:
    # Keras' convert_to_numpy hands NumPy a TensorFlow variable, of which it warns.
    return np.asarray(variable.numpy()).astype("float32")
