"""How many products one output sums (fan in), and in how many outputs one input takes part (fan out)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from kerasreg._core.arguments import Came, refusal

KINDS = ("dense", "conv", "depthwise", "transpose", "embedding", "recurrent")
_MIN_RANK = {"dense": 2, "conv": 3, "depthwise": 3, "transpose": 3, "embedding": 2, "recurrent": 2}


def fans(
    shape: Sequence[int],
    kind: str = "dense",
    groups: int = 1,
    strides: int | Sequence[int] = 1,
    input_axes: Sequence[int] | None = None,
    batch_axes: Sequence[int] = (),
) -> tuple[float, float]:
    """Fan in and fan out of a Keras kernel, by what the layer computes with it.

    ```
    kind        kernel shape in Keras            fan in              fan out
    dense       (..., in, out)                   prod(..., in)       out
    conv        (*window, in / groups, out)      prod(window) in/g   prod(window) out/g
    depthwise   (*window, in, multiplier)        prod(window)        prod(window) multiplier
    transpose   (*window, out, in)               prod(window) in/s   prod(window) out
    embedding   (vocabulary, features)           1                   features
    recurrent   (units, units x gates)           units               units
    ```
    with g = groups and s = prod(strides): a transposed convolution spreads its window over s outputs.
    The fan out of strided convolutions is an average over the input's positions and is divided by s.

    Args:
        shape: The kernel's shape.
        kind: What the layer does with the kernel.
        groups: The convolution's groups.
        strides: The convolution's strides, one number or one for each spatial axis.
        input_axes: For kind `dense`, the kernel's axes that are summed over; all but the last if left out.
        batch_axes: For kind `dense`, those that index input and output alike (`b` in `"abc,bcd->abd"`).

    Returns:
        The two fans as floats.

    Raises:
        ValueError: If the kernel's rank does not fit `kind` or `input_axes`.

    Example:
        >>> fans((3, 3, 64, 1), "depthwise")
        (9.0, 9.0)
    """
    if len(shape) < _MIN_RANK[kind]:
        allowed = f"of rank {_MIN_RANK[kind]} or more for kind {kind!r}"
        raise refusal("Calibrated", "shape", allowed, Came(f"shape {tuple(shape)}"))
    if input_axes is not None:
        return _einsum_fans(shape, input_axes, batch_axes)
    *window_shape, first, last = shape
    window = math.prod(window_shape)
    # One number stands for every spatial axis, as it does in Keras' layers.
    step = strides ** len(window_shape) if isinstance(strides, int) else math.prod(strides)
    match kind:
        case "dense":
            return float(window * first), float(last)
        case "conv":
            return float(window * first), window * last / groups / step
        case "depthwise":
            return float(window), window * last / step
        case "transpose":
            return window * last / step, float(window * first)
        case "embedding":
            return 1.0, float(last)
        case "recurrent":
            return float(first), float(first)
    raise ValueError(kind)


def checked_shape(owner: str, shape: Any) -> tuple[int, ...]:
    """A kernel's shape as a tuple of whole numbers of at least 0, or an error."""
    sizes = None if isinstance(shape, str) else shape
    try:
        sizes = None if sizes is None else tuple(operator.index(size) for size in sizes)
    except TypeError:
        sizes = None
    if sizes is None or any(size < 0 for size in sizes):
        raise refusal(owner, "shape", "sizes of at least 0", shape)
    return sizes


def check_convolution(shape: Sequence[int], kind: str, groups: int, strides: int | Sequence[int]) -> None:
    """Refuse groups that do not part the outputs, and strides of other axes than the window has."""
    if kind == "conv" and shape[-1] % groups:
        allowed = f"a divisor of the {shape[-1]} outputs of a kernel of shape {tuple(shape)}"
        raise refusal("Calibrated", "groups", allowed, groups)
    spatial = len(shape) - 2
    if (
        kind in ("conv", "depthwise", "transpose")
        and not isinstance(strides, int)
        and len(strides) != spatial
    ):
        allowed = f"a number or {spatial} of them for a kernel of shape {tuple(shape)}"
        raise refusal("Calibrated", "strides", allowed, list(strides))


def _einsum_fans(
    shape: Sequence[int], input_axes: Sequence[int], batch_axes: Sequence[int]
) -> tuple[float, float]:
    rank = len(shape)
    if any(not -rank <= axis < rank for axis in (*input_axes, *batch_axes)):
        named = f"axes {[*input_axes, *batch_axes]} of a kernel of shape {tuple(shape)}"
        raise refusal("Calibrated", "input_axes", f"axes of the kernel, of rank {rank}", Came(named))
    summed = {axis % rank for axis in input_axes}
    shared = {axis % rank for axis in batch_axes}
    spread = set(range(rank)) - summed - shared
    return float(math.prod(shape[i] for i in summed)), float(math.prod(shape[i] for i in spread))
