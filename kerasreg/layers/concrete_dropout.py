"""Dropout that learns its rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import integer, number, refusal
from kerasreg._core.noise_source import Uniform
from kerasreg._core.own_penalty import OwnPenalty
from kerasreg._core.registry import register
from kerasreg._core.seeds import generator_seed
from kerasreg._core.tensors import check_features, check_floats
from kerasreg.layers.monte_carlo import MonteCarlo, checked_seed

# Uniform numbers this far from 0 and 1 have finite logits, in float32 too.
_EDGE = 2.0**-24


def concrete_keep(logit: Any, uniform: Any, temperature: float) -> Any:
    """The relaxed mask: near 0 with probability sigmoid(logit), else near 1, differentiable in `logit`."""
    u = ops.clip(uniform, _EDGE, 1.0 - _EDGE)
    return ops.sigmoid(-(logit + ops.log(u) - ops.log1p(-u)) / temperature)


def bernoulli_entropy(logit: Any) -> Any:
    """H(p) = -p ln p - (1 - p) ln(1 - p) in nats, for p = sigmoid(logit)."""
    return -(ops.sigmoid(logit) * ops.log_sigmoid(logit) + ops.sigmoid(-logit) * ops.log_sigmoid(-logit))


@register
class ConcreteDropout(MonteCarlo, keras.layers.Wrapper):
    """Dropout before a dense or convolution layer, at a rate that is learned with the weights.

    y = layer(x m / (1 - p)) with m = sigmoid(-(logit p + logit u) / t), u ~ U(0, 1): dropout whose 0 and 1
    are relaxed so far that p has a gradient. The gradient alone would switch dropout off. What holds against
    it is the Kullback-Leibler divergence from the prior N(0, 1 / l^2) of the weights, added to the loss:

    penalty = s / N (l^2 ||W||^2 / (2 (1 - p)) - K H(p)),

    with the kernel W of the wrapped layer (trained behind the division by 1 - p), its K input features, and
    H(p) the entropy of a Bernoulli variable. The more examples, the less the penalty weighs, and the smaller
    the rate that is left: p tells the doubt that more data would remove.

    One draw for each row and input feature, shared along all other axes, as the weights are: a convolution
    loses whole feature maps. The layer wraps instead of standing before, because its penalty needs the
    kernel; the penalty is a regularizer of the rate, so that it counts once however often the layer is
    called. Prior and examples of the bias are left to the wrapped layer's own `bias_regularizer`.

    Args:
        layer: A `Dense`, or a convolution (`Conv1D` to `Conv3D`, transposed or depthwise ones).
        num_examples: N, the number of training examples, at least 1.
        length_scale: l, the prior's length scale, above 0: larger for smaller weights.
        loss_scale: s, the loss as a multiple of a row's negative log likelihood: 1 for a cross-entropy or a
            Gaussian likelihood; 2 / (tau D) for the mean squared error of D outputs with noise precision tau.
        initial_rate: p to start from, in (0, 1).
        temperature: t, above 0: how soft the mask is. Near 0 masks are dropout's, and gradients noisy.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers with one seed draw alike.
        mc: Whether the layer drops at inference too; see `Dropout`.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Attributes:
        rate: p, as it is now (a scalar tensor).

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Gal, Hron and Kendall, "Concrete Dropout", 2017.

    Example:
        >>> import keras, kerasreg as kr
        >>> model = keras.Sequential([
        ...     keras.Input((8,)),
        ...     kr.layers.ConcreteDropout(keras.layers.Dense(16, "relu"), num_examples=1000),
        ...     kr.layers.ConcreteDropout(keras.layers.Dense(1), num_examples=1000)])
        >>> round(float(model.layers[0].rate), 3), len(model.losses)
        (0.1, 2)
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        num_examples: int,
        length_scale: float = 1e-2,
        loss_scale: float = 1.0,
        initial_rate: float = 0.1,
        temperature: float = 0.1,
        seed: int | None = None,
        mc: bool = False,
        **kwargs: Any,
    ):
        owner = type(self).__name__
        if not (isinstance(layer, keras.layers.Dense) or _is_convolution(layer)):
            raise refusal(owner, "layer", "a Dense or convolution layer with one kernel", layer)
        num_examples = integer(owner, "num_examples", num_examples, low=1)
        length_scale = number(owner, "length_scale", length_scale, 0, open_low=True)
        loss_scale = number(owner, "loss_scale", loss_scale, 0, open_low=True)
        initial_rate = number(owner, "initial_rate", initial_rate, 0, 1, open_low=True, open_high=True)
        temperature = number(owner, "temperature", temperature, 0, open_low=True)
        seed = checked_seed(self, seed)
        super().__init__(layer, **kwargs)
        self._set_mc(mc)
        self.num_examples = num_examples
        self.length_scale = length_scale
        self.loss_scale = loss_scale
        self.initial_rate = initial_rate
        self.temperature = temperature
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(generator_seed(seed))
        self.supports_masking = layer.supports_masking

    @property
    def rate(self) -> Any:
        """p, as it is now."""
        return ops.sigmoid(ops.cast(self.rate_logit, "float32"))

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build the wrapped layer, and the rate with its penalty."""
        self._features = input_shape[self._feature_axis(len(input_shape))]
        super().build(input_shape)
        self.rate_logit = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(self.initial_rate / (1.0 - self.initial_rate))),
            regularizer=OwnPenalty(self.penalty),
            # Half precision has no room for the small steps of a rate.
            autocast=False,
            name="rate_logit",
        )

    def penalty(self, rate_logit: Any) -> Any:
        """The divergence from the prior, as it enters the loss."""
        logit = ops.cast(rate_logit, "float32")
        kernel = ops.cast(self.layer.kernel, "float32")
        weights = self.length_scale**2 * ops.sum(ops.square(kernel)) / (2.0 * ops.sigmoid(-logit))
        entropy = self._features * bernoulli_entropy(logit)
        return self.loss_scale / self.num_examples * (weights - entropy)

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """The wrapped layer's output, behind dropout while training and where `mc` says so."""
        owner = type(self).__name__
        # Before a number is drawn: what is refused moves no generator.
        check_features(owner, inputs, self._feature_axis(len(inputs.shape)), self._features)
        if not self._is_noisy(training):
            return self._through(inputs)
        check_floats(owner, "inputs", inputs)
        return self.noisy(inputs, self._uniform)

    def noisy(self, inputs: Any, uniform: Uniform) -> Any:
        """The wrapped layer's output behind dropout, decided by numbers from `uniform`."""
        shape, rank = ops.shape(inputs), len(inputs.shape)
        features = self._feature_axis(rank) % rank
        u = uniform(tuple(size if axis in (0, features) else 1 for axis, size in enumerate(shape)))
        logit = ops.cast(self.rate_logit, "float32")
        factor = concrete_keep(logit, u, self.temperature) / ops.sigmoid(-logit)
        return self._through(inputs * ops.cast(factor, inputs.dtype))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Any:
        """The wrapped layer's."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {
            **super().get_config(),
            "num_examples": self.num_examples,
            "length_scale": self.length_scale,
            "loss_scale": self.loss_scale,
            "initial_rate": self.initial_rate,
            "temperature": self.temperature,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A layer with these arguments."""
        # Keras' wrapper takes the layer out of the dict that it is given.
        return super().from_config(dict(config), custom_objects)

    def _through(self, inputs: Any) -> Any:
        return ops.cast(self.layer(inputs), self.compute_dtype)

    def _feature_axis(self, rank: int) -> int:
        return 1 if getattr(self.layer, "data_format", None) == "channels_first" and rank > 2 else -1


def _is_convolution(layer: Any) -> bool:
    """Whether the layer is a convolution with one kernel, which separable ones have two of."""
    kinds = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D")
    kinds += ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
    return isinstance(layer, tuple(getattr(keras.layers, kind) for kind in kinds))
