"""L1, L2 and elastic net: the lecture's three R(W)."""

from __future__ import annotations

from typing import Any

from keras import ops

from kerasreg._core.arguments import number
from kerasreg._core.registry import register
from kerasreg.regularizers.penalty import Penalty, wide
from kerasreg.regularizers.schedule import Schedule


def l1_norm(weights: Any) -> Any:
    """`||W||_1`, with the derivative 0 at 0."""
    # Not ops.abs: its derivative at 0 is 1 on JAX, which would push exact zeros away.
    return ops.sum(weights * ops.stop_gradient(ops.sign(weights)))


def elastic_net(weights: Any, l1: Any, l2: Any) -> Any:
    """`l1 ||W||_1 + l2 ||W||_2^2` as a scalar, summed in float32 or wider whatever the weights' type."""
    weights = wide(weights)
    penalty = ops.zeros((), weights.dtype)
    if not _is_zero(l1):
        penalty = penalty + ops.cast(l1, weights.dtype) * l1_norm(weights)
    if not _is_zero(l2):
        penalty = penalty + ops.cast(l2, weights.dtype) * ops.sum(ops.square(weights))
    return penalty


def _is_zero(factor: Any) -> bool:
    """Whether a term is left out; that of a schedule is not known beforehand."""
    return isinstance(factor, float) and factor == 0.0


@register
class L1(Penalty):
    """`strength ||W||_1`: pulls every weight toward 0 with the same force.

    Args:
        strength: lambda, a finite number of at least 0, or a `Schedule`.

    Raises:
        ValueError: If `strength` is negative or not finite, or the weights are integers.

    Source:
        Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.L1(0.5)([[1.0, -2.0]]))
        1.5
    """

    def __init__(self, strength: float | Schedule = 0.01):
        super().__init__(strength)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        return elastic_net(x, l1=self.current_strength(), l2=0.0)


@register
class L2(Penalty):
    """`strength ||W||_2^2`: pulls every weight toward 0 in proportion to its size.

    Args:
        strength: lambda, a finite number of at least 0, or a `Schedule`.

    Raises:
        ValueError: If `strength` is negative or not finite, or the weights are integers.

    Source:
        Hoerl and Kennard, "Ridge Regression", 1970.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.L2(0.5)([[1.0, -2.0]]))
        2.5
    """

    def __init__(self, strength: float | Schedule = 0.01):
        super().__init__(strength)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        return elastic_net(x, l1=0.0, l2=self.current_strength())


@register
class ElasticNet(Penalty):
    """`strength (beta ||W||_2^2 + ||W||_1)`: the lecture's elastic net.

    Args:
        strength: lambda, a finite number of at least 0, or a `Schedule`.
        beta: The weight of the squares against the absolute values, a finite number of at least 0.

    Raises:
        ValueError: If `strength` or `beta` is negative or not finite, or the weights are integers.

    Source:
        Zou and Hastie, "Regularization and Variable Selection via the Elastic Net", 2005.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.ElasticNet(0.5, beta=2.0)([[1.0, -2.0]]))
        6.5
    """

    def __init__(self, strength: float | Schedule = 0.01, beta: float = 1.0):
        super().__init__(strength)
        self.beta = number("ElasticNet", "beta", beta, low=0)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        strength = self.current_strength()
        return elastic_net(x, l1=strength, l2=strength * self.beta)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "beta": self.beta}
