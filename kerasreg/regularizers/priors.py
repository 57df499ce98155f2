"""Penalties that are priors: what one believes of the weights before the data, in the loss's units.

A loss that is the mean of -log p(y | x, W) over N examples, plus -log p(W) / N, has its minimum where the
posterior has its maximum. Constants that do not depend on W are left out, so the penalty of W = 0 is 0.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from kerasreg._core.arguments import integer, number
from kerasreg._core.registry import register
from kerasreg.regularizers.norms import l1_norm
from kerasreg.regularizers.penalty import Regularizer, wide


class _Prior(Regularizer):
    """What the three share: a scale and the number of examples."""

    def __init__(self, scale: float, num_examples: int):
        owner = type(self).__name__
        self.scale = number(owner, "scale", scale, low=0, open_low=True)
        self.num_examples = integer(owner, "num_examples", num_examples, low=1)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"scale": self.scale, "num_examples": self.num_examples}


@register
class GaussianPrior(_Prior):
    """`||W||_2^2 / (2 scale^2 N)`: weights are normal with mean 0 and standard deviation `scale`.

    The same as `L2(1 / (2 scale^2 N))`.

    Args:
        scale: The standard deviation, a finite number above 0.
        num_examples: N, the number of training examples.

    Raises:
        ValueError: If `scale` is not above 0, `num_examples` is no whole number of at least 1, or the weights
            are integers.

    Source:
        MacKay, "A Practical Bayesian Framework for Backpropagation Networks", 1992.

    Example:
        >>> import kerasreg as kr
        >>> round(float(kr.regularizers.GaussianPrior(scale=0.5, num_examples=100)([[1.0, -2.0]])), 6)
        0.1
    """

    def __init__(self, scale: float = 1.0, num_examples: int = 1):
        super().__init__(scale, num_examples)

    def __call__(self, x: Any) -> Any:
        """-log p(W) / N of weights of any shape, a scalar."""
        return ops.sum(ops.square(wide(x, "GaussianPrior") / self.scale)) / (2 * self.num_examples)


@register
class LaplacePrior(_Prior):
    """`||W||_1 / (scale N)`: weights are Laplace distributed with mean 0; most are near 0, some are large.

    The same as `L1(1 / (scale N))`.

    Args:
        scale: The mean absolute value, a finite number above 0.
        num_examples: N, the number of training examples.

    Raises:
        ValueError: If `scale` is not above 0, `num_examples` is no whole number of at least 1, or the weights
            are integers.

    Source:
        Williams, "Bayesian Regularization and Pruning Using a Laplace Prior", 1995.

    Example:
        >>> import kerasreg as kr
        >>> round(float(kr.regularizers.LaplacePrior(scale=0.5, num_examples=100)([[1.0, -2.0]])), 6)
        0.06
    """

    def __init__(self, scale: float = 1.0, num_examples: int = 1):
        super().__init__(scale, num_examples)

    def __call__(self, x: Any) -> Any:
        """-log p(W) / N of weights of any shape, a scalar."""
        return l1_norm(wide(x, "LaplacePrior") / self.scale) / self.num_examples


@register
class StudentTPrior(_Prior):
    """`(df + 1) / (2 N) sum log(1 + w^2 / (df scale^2))`: weights are Student-t distributed with mean 0.

    Small weights are pulled as by a Gaussian, large ones are let go: the pull falls as 1 / |w|.

    Args:
        scale: The distribution's scale, a finite number above 0.
        num_examples: N, the number of training examples.
        df: The degrees of freedom, a finite number above 0; the smaller, the heavier the tails.

    Raises:
        ValueError: If `scale` or `df` is not above 0, `num_examples` is no whole number of at least 1, or the
            weights are integers.

    Source:
        Neal, "Bayesian Learning for Neural Networks", 1996; Welling et al., "Learning Sparse Topographic
        Representations with Products of Student-t Distributions", 2002.

    Example:
        >>> import kerasreg as kr
        >>> round(float(kr.regularizers.StudentTPrior(1.0, num_examples=100, df=1.0)([[1.0, -2.0]])), 4)
        0.023
    """

    def __init__(self, scale: float = 1.0, num_examples: int = 1, df: float = 3.0):
        super().__init__(scale, num_examples)
        self.df = number("StudentTPrior", "df", df, low=0, open_low=True)

    def __call__(self, x: Any) -> Any:
        """-log p(W) / N of weights of any shape, a scalar."""
        squares = ops.square(wide(x, "StudentTPrior") / self.scale)
        return (self.df + 1) / (2 * self.num_examples) * ops.sum(ops.log1p(squares / self.df))

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "df": self.df}
