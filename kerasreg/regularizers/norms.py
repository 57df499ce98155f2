"""L1, L2 and elastic net: the lecture's three R(W)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import number
from kerasreg._core.registry import register
from kerasreg._core.tensors import wide_dtype


def elastic_net(weights: Any, l1: float, l2: float) -> Any:
    """`l1 ||W||_1 + l2 ||W||_2^2` as a scalar, summed in float32 or wider whatever the weights' type."""
    weights = ops.convert_to_tensor(weights)
    # A float16 sum of squares overflows from 65504 on.
    weights = ops.cast(weights, wide_dtype(weights.dtype))
    penalty = ops.zeros((), weights.dtype)
    if l1:
        # Not ops.abs: its derivative at 0 is 1 on JAX, which would push exact zeros away.
        penalty = penalty + l1 * ops.sum(weights * ops.stop_gradient(ops.sign(weights)))
    if l2:
        penalty = penalty + l2 * ops.sum(ops.square(weights))
    return penalty


class _Norm(keras.regularizers.Regularizer):
    """What the three share: one checked strength."""

    def __init__(self, strength: float):
        self.strength = number(type(self).__name__, "strength", strength, low=0)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"strength": self.strength}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@register
class L1(_Norm):
    """`strength ||W||_1`: pulls every weight toward 0 with the same force.

    Args:
        strength: lambda, a finite number of at least 0.

    Raises:
        ValueError: If `strength` is negative or not finite.

    Source:
        Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.L1(0.5)([[1.0, -2.0]]))
        1.5
    """

    def __init__(self, strength: float = 0.01):
        super().__init__(strength)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        return elastic_net(x, l1=self.strength, l2=0.0)


@register
class L2(_Norm):
    """`strength ||W||_2^2`: pulls every weight toward 0 in proportion to its size.

    Args:
        strength: lambda, a finite number of at least 0.

    Raises:
        ValueError: If `strength` is negative or not finite.

    Source:
        Hoerl and Kennard, "Ridge Regression", 1970.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.L2(0.5)([[1.0, -2.0]]))
        2.5
    """

    def __init__(self, strength: float = 0.01):
        super().__init__(strength)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        return elastic_net(x, l1=0.0, l2=self.strength)


@register
class ElasticNet(_Norm):
    """`strength (beta ||W||_2^2 + ||W||_1)`: the lecture's elastic net.

    Args:
        strength: lambda, a finite number of at least 0.
        beta: The weight of the squares against the absolute values, a finite number of at least 0.

    Raises:
        ValueError: If `strength` or `beta` is negative or not finite.

    Source:
        Zou and Hastie, "Regularization and Variable Selection via the Elastic Net", 2005.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.ElasticNet(0.5, beta=2.0)([[1.0, -2.0]]))
        6.5
    """

    def __init__(self, strength: float = 0.01, beta: float = 1.0):
        super().__init__(strength)
        self.beta = number("ElasticNet", "beta", beta, low=0)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        return elastic_net(x, l1=self.strength, l2=self.strength * self.beta)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "beta": self.beta}
