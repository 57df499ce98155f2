"""Stochastic depth: whole residual branches, dropped row by row."""

from __future__ import annotations

from typing import Any

from keras import ops

from kerasreg._core.arguments import flag, integer, number
from kerasreg._core.noise_source import Uniform
from kerasreg._core.registry import register
from kerasreg.layers.monte_carlo import NoiseLayer


def drop_path(x: Any, rate: float, uniform: Uniform, scale_by_keep: bool = True) -> Any:
    """Each row of x set to 0 with probability `rate`, the others scaled by 1 / (1 - rate) where asked for."""
    keep = uniform((ops.shape(x)[0], *(1,) * (len(x.shape) - 1))) >= rate
    # A choice, not a product: what is dropped may be infinite.
    return ops.where(keep, x / (1.0 - rate) if scale_by_keep else x, ops.zeros_like(x))


@register
class DropPath(NoiseLayer):
    """Drops a residual branch for whole rows (stochastic depth): stand it before the addition.

    y[b] = x[b] m[b] / (1 - p) with m ~ Bernoulli(1 - p), one draw for each row, so that E[y] = x. A row
    whose branch is dropped goes round it: a network of random depth in training, of full depth afterwards.

    Args:
        rate: p, the share of rows set to 0, in [0, 1).
        scale_by_keep: Whether the rows that stay are divided by 1 - p. False leaves them as they are, so that
            E[y] = (1 - p) x; the paper does so in training and multiplies by 1 - p at test time, which this
            layer does not.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers with one seed draw the same masks: their branches would come and go
            together.
        mc: Whether the layer drops at inference too; see `Dropout`.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Huang et al., "Deep Networks with Stochastic Depth", 2016; timm's `DropPath`.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> rates = kr.layers.DropPath.linear_rates(depth=4, max_rate=0.2)
        >>> x = inputs = keras.Input((8,))
        >>> for rate in rates:
        ...     x = keras.layers.Add()([x, kr.layers.DropPath(rate)(keras.layers.Dense(8, "relu")(x))])
        >>> [round(rate, 2) for rate in rates]
        [0.05, 0.1, 0.15, 0.2]
    """

    def __init__(
        self,
        rate: float,
        scale_by_keep: bool = True,
        seed: int | None = None,
        mc: bool = False,
        **kwargs: Any,
    ):
        scale_by_keep = flag(type(self).__name__, "scale_by_keep", scale_by_keep)
        super().__init__(rate, seed, mc, **kwargs)
        self.scale_by_keep = scale_by_keep

    def noisy(self, inputs: Any, uniform: Uniform) -> Any:
        """The inputs with some rows dropped, decided by numbers from `uniform`."""
        return drop_path(inputs, self.rate, uniform, self.scale_by_keep)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "scale_by_keep": self.scale_by_keep}

    @staticmethod
    def linear_rates(depth: int, max_rate: float, from_zero: bool = False) -> list[float]:
        """Rates that rise linearly with depth, for `depth` blocks from first to last.

        The paper's p_l = max_rate l / L for l = 1 ... L, in which the input is what is never dropped. With
        `from_zero=True` p_l = max_rate (l - 1) / (L - 1), timm's `linspace(0, max_rate, L)`, in which the
        first block is never dropped either.

        Args:
            depth: L, the number of blocks, at least 1.
            max_rate: The rate of the last block, in [0, 1).
            from_zero: Whether the first rate is 0.

        Raises:
            ValueError: If an argument is not one of the above.

        Example:
            >>> [round(rate, 2) for rate in DropPath.linear_rates(3, 0.3, from_zero=True)]
            [0.0, 0.15, 0.3]
        """
        depth = integer("DropPath.linear_rates", "depth", depth, low=1)
        max_rate = number("DropPath.linear_rates", "max_rate", max_rate, 0, 1, open_high=True)
        if flag("DropPath.linear_rates", "from_zero", from_zero):
            return [max_rate * block / max(depth - 1, 1) for block in range(depth)]
        return [max_rate * block / depth for block in range(1, depth + 1)]
