"""Dropout for self-normalising networks that can go on at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._core.registry import register
from kerasreg.layers.dropout import checked_noise_shape
from kerasreg.layers.monte_carlo import MonteCarloDropout


@register
class AlphaDropout(MonteCarloDropout, keras.layers.AlphaDropout):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU units.

    y = a (x m + c (1 - m)) + b with m ~ Bernoulli(1 - p) and c = -1.7581, the value that SELU tends to far
    below 0; a = ((1 - p)(1 + p c^2))^(-1/2) and b = -a c p give back mean 0 and variance 1 to inputs that
    have them.

    Args:
        rate: p, the share of inputs that become c, in [0, 1).
        noise_shape: The shape of m where it is broadcast, None for an axis of the input's size.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers of one kind with one seed draw the same masks, as Keras' do.
        mc: Whether the layer drops at inference too; see `Dropout`.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Klambauer et al., "Self-Normalizing Neural Networks", 2017, section 4.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> x = np.random.default_rng(0).normal(size=(100, 100)).astype("float32")
        >>> y = np.asarray(kr.layers.AlphaDropout(0.2, seed=0, mc=True)(x))
        >>> abs(round(float(y.mean()), 1)), round(float(y.var()), 1)
        (0.0, 1.0)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        mc: bool = False,
        **kwargs: Any,
    ):
        noise_shape = checked_noise_shape(self, noise_shape)
        super().__init__(rate, noise_shape=noise_shape, seed=seed, mc=mc, **kwargs)
