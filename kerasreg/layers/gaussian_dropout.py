"""Multiplicative Gaussian noise that can go on at inference."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.registry import register
from kerasreg.layers.monte_carlo import MonteCarloDropout


@register
class GaussianDropout(MonteCarloDropout, keras.layers.GaussianDropout):
    """Multiplies each input by a Gaussian with the mean and the variance of dropout's factor.

    y = x (1 + e) with e ~ N(0, p / (1 - p)), so that E[y] = x and Var(y) = x^2 p / (1 - p).

    Args:
        rate: p, in [0, 1), with the meaning that it has for `Dropout`.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same noise in every run.
            Two layers of one kind with one seed draw the same noise, as Keras' do.
        mc: Whether the layer adds its noise at inference too; see `Dropout`.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014,
        section 10.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> y = np.asarray(kr.layers.GaussianDropout(0.5, seed=0, mc=True)(np.ones((100, 100), "float32")))
        >>> round(float(y.mean()), 1), round(float(y.var()), 1)
        (1.0, 1.0)
    """

    def __init__(self, rate: float, seed: int | None = None, mc: bool = False, **kwargs: Any):
        super().__init__(rate, seed=seed, mc=mc, **kwargs)
