"""Dropout that can go on at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._core.arguments import flag, integer, number, refusal
from kerasreg._core.registry import register


@register
class Dropout(keras.layers.Dropout):
    """Sets each input to 0 with probability p and scales the rest by 1 / (1 - p).

    y = x m / (1 - p) with m ~ Bernoulli(1 - p), so that E[y] = x: nothing is left to rescale at test time.
    With `mc=True` the layer stays stochastic at inference (Monte Carlo dropout), through `predict`,
    `evaluate`, `model(x, training=False)`, nesting, cloning and reloading, while every other layer is in
    inference mode.

    Args:
        rate: p, the share of inputs set to 0, in [0, 1).
        noise_shape: The shape of m where it is broadcast, None for an axis of the input's size.
        seed: A whole number of at least 0 for the same sequence of masks in every run.
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
        rate = number("Dropout", "rate", rate, 0, 1, open_high=True)
        seed = None if seed is None else integer("Dropout", "seed", seed, low=0)
        super().__init__(rate, noise_shape=_noise_shape(noise_shape), seed=seed, **kwargs)
        self.mc = flag("Dropout", "mc", mc)

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """Drop while training, and at inference too where `mc` says so."""
        return super().call(inputs, training=bool(training) or self.mc)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "mc": self.mc}


def _noise_shape(value: Any) -> tuple[int | None, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise refusal("Dropout", "noise_shape", "None or a sequence of sizes", value)
    return tuple(None if size is None else integer("Dropout", "noise_shape", size, low=1) for size in value)
