"""The one place that knows when a stochastic layer is stochastic, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._core.arguments import flag, integer, number
from kerasreg._core.noise_source import is_supplied, supplied_to
from kerasreg._core.seeds import generator_seed
from kerasreg._core.tensors import check_floats


class MonteCarlo:
    """Gives a stochastic layer `mc=`: noise at inference too, and at nobody else's.

    A mixin that stands before a Keras layer. The layer is stochastic while it trains and where `mc` says so,
    whatever `training` a wrapper, a saved graph or `predict` hands on; nothing but this layer's own call is
    told to train. Layers with noise of their own keep to one protocol: a pure method
    `noisy(inputs, uniform)`, where `uniform(shape)` gives float32 numbers in [0, 1) for a shape whose first
    axis counts rows. `call` hands it `self._uniform`; whoever samples a model hands it other numbers.
    """

    mc: bool

    def _set_mc(self, mc: bool) -> None:
        self.mc = flag(type(self).__name__, "mc", mc)

    def _is_noisy(self, training: bool | None) -> bool:
        return supplied_to(self) is not None if is_supplied(self) else bool(training) or self.mc

    def _uniform(self, shape: Sequence[Any]) -> Any:
        if is_supplied(self):
            return supplied_to(self)(shape)
        return keras.random.uniform(shape, dtype="float32", seed=self._generator())

    def _generator(self) -> keras.random.SeedGenerator:
        return self.seed_generator

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "mc": self.mc}


class MonteCarloDropout(MonteCarlo):
    """`mc=` for the layers of Keras that have a `rate` and a `seed` and add their noise themselves."""

    def __init__(self, rate: float, *, seed: int | None, mc: bool, **kwargs: Any):
        rate, seed = checked_rate(self, rate), checked_seed(self, seed)
        super().__init__(rate, seed=generator_seed(seed), **kwargs)
        self.seed = seed
        self._set_mc(mc)

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """Add noise while training, and at inference too where `mc` says so."""
        noisy = self._is_noisy(training)
        if noisy and self.rate > 0:
            check_floats(type(self).__name__, "inputs", inputs)
        return super().call(inputs, training=noisy)


class NoiseLayer(MonteCarlo, keras.layers.Layer):
    """A stochastic layer of our own: the identity at inference, `noisy(inputs, uniform)` otherwise."""

    def __init__(self, rate: float, seed: int | None, mc: bool, **kwargs: Any):
        rate, seed = checked_rate(self, rate), checked_seed(self, seed)
        super().__init__(**kwargs)
        self._set_mc(mc)
        self.rate = rate
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(generator_seed(seed))
        self.supports_masking = True

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """Add noise while training, and at inference too where `mc` says so."""
        if self.rate == 0 or not self._is_noisy(training):
            return inputs
        check_floats(type(self).__name__, "inputs", inputs)
        return self.noisy(inputs, self._uniform)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape that came in."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def checked_rate(layer: keras.layers.Layer, rate: float) -> float:
    """A share in [0, 1), or an error."""
    return number(type(layer).__name__, "rate", rate, 0, 1, open_high=True)


def checked_seed(layer: keras.layers.Layer, seed: int | None) -> int | None:
    """None or a whole number of at least 0, or an error."""
    return None if seed is None else integer(type(layer).__name__, "seed", seed, low=0)
