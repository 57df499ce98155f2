"""Dropout that can go on at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._core.arguments import integer, refusal
from kerasreg._core.registry import register
from kerasreg.layers.monte_carlo import MonteCarloDropout


@register
class Dropout(MonteCarloDropout, keras.layers.Dropout):
    """Sets each input to 0 with probability p and scales the rest by 1 / (1 - p).

    y = x m / (1 - p) with m ~ Bernoulli(1 - p), so that E[y] = x: nothing is left to rescale at test time.
    With `mc=True` the layer stays stochastic at inference (Monte Carlo dropout), through `predict`,
    `evaluate`, `model(x, training=False)`, nesting, cloning and reloading, while every other layer is in
    inference mode.

    Args:
        rate: p, the share of inputs set to 0, in [0, 1).
        noise_shape: The shape of m where it is broadcast, None for an axis of the input's size.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers of one kind with one seed draw the same masks, as Keras' do: give each its
            own, or none.
        mc: Whether the layer drops at inference too.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Srivastava et al., 2014; Gal and Ghahramani, "Dropout as a Bayesian Approximation", 2016.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> y = kr.layers.Dropout(0.5, seed=0, mc=True)(np.ones((4, 100), "float32"))
        >>> sorted(set(np.asarray(y).ravel().tolist()))
        [0.0, 2.0]
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


def checked_noise_shape(layer: keras.layers.Layer, value: Any) -> tuple[int | None, ...] | None:
    """None or sizes of at least 1, None for an axis of the input's size; or an error."""
    owner = type(layer).__name__
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise refusal(owner, "noise_shape", "None or a sequence of sizes", value)
    return tuple(None if size is None else integer(owner, "noise_shape", size, low=1) for size in value)
