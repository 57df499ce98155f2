"""Which operations treat each row by itself, so that several passes can go through them as one batch."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.tensors import traced_leaves

# The names of Keras' operations.
# fmt: off
_ELEMENTWISE = {
    "Absolute", "Add", "Arctan", "Arctan2", "Cast", "Ceil", "Celu", "Clip", "Cos", "Divide",
    "DivideNoNan", "Elu", "Equal", "Erf", "Exp", "Expm1", "Floor", "Gelu", "Greater", "GreaterEqual",
    "HardSigmoid", "HardSilu", "HardTanh", "Isfinite", "Isnan", "LeakyRelu", "Less", "LessEqual", "Log",
    "Log10", "Log1p", "Log2", "LogSigmoid", "LogicalAnd", "LogicalNot", "LogicalOr", "Logaddexp",
    "Maximum", "Minimum", "Mod", "Multiply", "Negative", "NotEqual", "OnesLike", "Power", "Reciprocal",
    "Relu", "Relu6", "Round", "Rsqrt", "Selu", "Sigmoid", "Sign", "Silu", "Sin", "Softplus", "Softsign",
    "Sqrt", "Square", "Subtract", "Tan", "Tanh", "TrueDivide", "Where", "ZerosLike",
}
_ALONG_AXIS = {
    "Amax", "Amin", "Argmax", "Argmin", "Concatenate", "Cumsum", "ExpandDims", "Flip", "LogSoftmax",
    "Logsumexp", "Max", "Mean", "Median", "Min", "Prod", "Softmax", "Sort", "Squeeze", "Std", "Sum",
    "Var",
}
# fmt: on
# Their `call` is Keras', and what it does the user's.
_FOREIGN = tuple(
    getattr(keras.layers, name)
    for name in ("Lambda", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TFSMLayer")
    if hasattr(keras.layers, name)
)


def is_builtin(operation: keras.Operation) -> bool:
    """Whether what happens in a call is Keras' or kerasreg's own code."""
    home = type(operation).call.__module__.partition(".")[0]
    if home not in ("keras", "kerasreg") or isinstance(operation, _FOREIGN):
        return False
    # The one wrapper that runs its layer's code without calling the layer.
    return not isinstance(operation, keras.layers.TimeDistributed) or is_builtin(operation.layer)


def is_graph(operation: keras.Operation) -> bool:
    """Whether the call does nothing but call other operations (Functional, Sequential)."""
    return isinstance(operation, keras.Model) and is_builtin(operation)


def is_rowwise(operation: keras.Operation, args: tuple, kwargs: dict) -> bool:
    """Whether each row of the output depends on that row of the inputs only, whatever their number.

    Where it is not known, it is not: a model is then sampled one pass after the other.
    """
    if not is_builtin(operation):
        return False
    ranks = [len(leaf.shape) for leaf in traced_leaves(args, kwargs)]
    if not ranks or min(ranks) == 0:
        return False
    axis = getattr(operation, "axis", None)
    if isinstance(operation, keras.layers.Layer):
        along_rows = isinstance(operation, keras.layers.Concatenate) and _reaches_rows(axis, ranks[0])
        return not along_rows and not getattr(operation, "stateful", False)
    kind = type(operation).__name__
    if kind == "GetItem":
        key = kwargs.get("key", args[-1])
        first = key[0] if isinstance(key, list | tuple) and key else key
        return first is Ellipsis or (isinstance(first, slice) and first == slice(None))
    if kind == "Reshape":
        return tuple(operation.newshape)[:1] == (-1,)
    if kind == "Transpose":
        return operation.axes is not None and operation.axes[0] == 0
    # Arrays of several ranks are lined up from the right, where the rows are not.
    return (kind in _ELEMENTWISE and len(set(ranks)) == 1) or (
        kind in _ALONG_AXIS and not _reaches_rows(axis, ranks[0])
    )


def _reaches_rows(axis: Any, rank: int) -> bool:
    axes = axis if isinstance(axis, list | tuple) else [axis]
    # One more from the right is what a new axis counts from.
    return any(a is None or a in (0, -rank, -rank - 1) for a in axes)
