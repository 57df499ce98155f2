"""The factor by which an activation shrinks a unit Gaussian signal, undone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import refusal
from kerasreg._core.registry import from_file

# z in [-12, 12] leaves out less than 1e-31 of the Gaussian's mass. The midpoint rule at this step is exact to
# float32 for smooth activations, and for kinks and jumps at multiples of it, which lie between two nodes.
_STEP = 1e-3
_NODES = (np.arange(-12000, 12000) + 0.5) * _STEP


def resolve_activation(owner: str, activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The callable behind an activation's name."""
    try:
        # A layer's configuration, such as that of LeakyReLU, is not among what activations.get reads.
        is_config = isinstance(activation, dict)
        found = (from_file if is_config else keras.activations.get)(activation)
    except (ValueError, TypeError):
        found = None
    if not callable(found):
        raise refusal(owner, "activation", "the name of a Keras activation or a callable", activation)
    return found


def gain(activation: str | Callable[[Any], Any], owner: str = "gain") -> float:
    """The gain g with g^2 E[phi(z)^2] = 1 for z ~ N(0, 1), by quadrature, so that no table can be wrong.

    Args:
        activation: The name of an elementwise Keras activation, or a callable on a tensor.
        owner: The name that an error's sentence gives to who asked.

    Returns:
        The gain, a positive float: 1 for `linear`, sqrt(2) for `relu`.

    Raises:
        ValueError: If the activation is unknown, is not elementwise (`softmax`) or is zero or not finite
            almost everywhere.

    Source:
        He et al., "Delving Deep into Rectifiers", 2015, section 2.2, with 1/2 replaced by E[phi(z)^2].

    Example:
        >>> round(gain("relu") ** 2, 6)
        2.0
    """
    phi = resolve_activation(owner, activation)
    try:
        values = _evaluate(phi, _NODES)
    except (TypeError, ValueError, AssertionError) as error:  # needs more than one tensor, or a certain shape
        raise refusal(owner, "activation", "an elementwise activation (of one input)", activation) from error
    except Exception as error:  # of a callable that somebody wrote, and no error of ours
        raise refusal(owner, "activation", "an activation that takes any numbers", activation) from error
    # An activation that looks across the axis gives other values on a part of the nodes.
    part = slice(9000, 15000)
    if values.shape != _NODES.shape or not np.allclose(_evaluate(phi, _NODES[part]), values[part], atol=1e-5):
        raise refusal(owner, "activation", "an elementwise activation (each output of one input)", activation)
    density = np.exp(-0.5 * _NODES**2) / math.sqrt(2.0 * math.pi)
    second_moment = float(np.sum(values**2 * density) * _STEP)
    if not math.isfinite(second_moment) or second_moment <= 1e-12:
        raise refusal(
            owner, "activation", "an activation whose output is finite and not always zero", activation
        )
    return 1.0 / math.sqrt(second_moment)


def _evaluate(phi: Callable[[Any], Any], nodes: np.ndarray) -> np.ndarray:
    outputs = phi(keras.ops.convert_to_tensor(nodes, dtype="float32"))
    return np.asarray(keras.ops.convert_to_numpy(outputs), dtype="float64")
