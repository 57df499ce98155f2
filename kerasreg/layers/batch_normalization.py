"""Batch normalisation in the lecture's convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, choice, flag, integer, not_both, number, refusal
from kerasreg._core.registry import register
from kerasreg._core.tensors import shape_fits, wide_dtype
from kerasreg.layers import fused_batch_norm
from kerasreg.layers.batch_moments import BatchMoments, batch_moments, ghost_batches, joined

AVERAGINGS = ("ema", "debiased", "cumulative")
NORMALIZERS = ("batch", "moving")
# What each framework calls the momentum: the weight of the old value, or of the new one.
FRAMEWORKS = {"keras": "old", "tf1": "old", "flax": "old", "torch": "new"}

# Known by identity, so that 0.01 typed by a user beside `momentum` is told from the default.
_DEFAULT_UPDATE_RATE = float("0.01")


@register
class BatchNormalization(keras.layers.BatchNormalization):
    """Normalises each feature over the batch, then scales and shifts it: y = gamma x^ + beta.

    In training, with the batch's mean mu_B and (population) variance sigma_B^2,

    ```
    x^      = (x - mu_B) / sqrt(sigma_B^2 + epsilon)
    mu      := alpha mu_B      + (1 - alpha) mu
    sigma^2 := alpha sigma_B^2 + (1 - alpha) sigma^2
    ```
    and at inference x^ = (x - mu) / sqrt(sigma^2 + epsilon). alpha is `update_rate`; Keras' `momentum` is the
    decay, 1 - alpha. A drop-in for `keras.layers.BatchNormalization`: it takes its arguments by name, loads
    its weights and gives its own back, and the defaults compute the same.

    A batch that is empty, masked throughout, or holds NaN or infinity leaves the moving statistics as they
    were, is normalised with them, and counts in `skipped_batches`.

    Args:
        axis: The axis of the features.
        update_rate: alpha, the weight of the newest batch, in [0, 1].
        momentum: Keras' decay, 1 - alpha, in [0, 1], instead of `update_rate`.
        epsilon: Added to the variance, above 0.
        averaging: How batches are averaged into the moving statistics: `"ema"` with alpha as it is;
            `"debiased"` with alpha / (1 - (1 - alpha)^t) at step t, which forgets the initial values at once
            and is right from the first step; `"cumulative"` with 1 / t, the plain mean over all batches.
        normalize_with: `"batch"` (the 2015 algorithm), or `"moving"`: x^ = (x - mu) / sqrt(sigma^2 + epsilon)
            in training too, with the averages just updated. Gradients then see the batch's share alpha of
            the statistics only. That is stable where the inputs change slowly beside 1 / alpha steps: small
            learning rates, or a trained network; with alpha near 1 it is the 2015 algorithm.
        virtual_batch_size: Normalise groups of so many rows each on its own in training (ghost batches); a
            ragged last group is a smaller one. The moving statistics take the groups' average. None for
            the batch as a whole.
        synchronized: Whether the batch is that of all replicas of `tf.distribute`. Counts, means and squared
            distances are merged, which is exact. On JAX a sharded batch is one batch always.
        **kwargs: The other arguments of `keras.layers.BatchNormalization`. `renorm` goes with the defaults
            of `averaging`, `normalize_with` and `virtual_batch_size` only.

    Call arguments:
        inputs: Features of any rank above 1.
        training: Whether to normalise with the batch.
        mask: True where a position counts in the statistics. Its shape is that of the inputs' first axes, as
            Keras' masks are (an axis of size 1 says the same for all), or that of the inputs without the
            feature axis.

    Attributes:
        skipped_batches: How many training batches left the statistics as they were.

    Raises:
        ValueError: If `update_rate` and `momentum` are both given, or an argument is not one of the above.

    Source:
        Ioffe and Szegedy, "Batch Normalization", 2015, algorithms 1 and 2; Hoffer et al., "Train Longer,
        Generalize Better", 2017, for ghost batches; Kingma and Ba, 2015, section 3, for the debiasing.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> layer = kr.layers.BatchNormalization(update_rate=0.1)
        >>> y = layer(np.array([[1.0], [3.0]], "float32"), training=True)
        >>> round(float(layer.moving_mean[0]), 6)
        0.2
    """

    def __init__(
        self,
        axis: int = -1,
        update_rate: float | None = _DEFAULT_UPDATE_RATE,
        momentum: float | None = None,
        epsilon: float = 1e-3,
        averaging: str = "ema",
        normalize_with: str = "batch",
        virtual_batch_size: int | None = None,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        owner = "BatchNormalization"
        self._given, decay = _rates(update_rate, momentum)
        epsilon = number(owner, "epsilon", epsilon, 0, open_low=True)
        # Keras knows synchronisation on TensorFlow only, and only by its own moments.
        super().__init__(axis=integer(owner, "axis", axis), momentum=decay, epsilon=epsilon, **kwargs)
        self.synchronized = flag(owner, "synchronized", synchronized)
        self.averaging = choice(owner, "averaging", averaging, AVERAGINGS)
        self.normalize_with = choice(owner, "normalize_with", normalize_with, NORMALIZERS)
        if virtual_batch_size is not None:
            virtual_batch_size = integer(owner, "virtual_batch_size", virtual_batch_size, low=1)
        self.virtual_batch_size = virtual_batch_size
        for name, wanted, came in (
            ("averaging", "ema", averaging),
            ("normalize_with", "batch", normalize_with),
            ("virtual_batch_size", None, virtual_batch_size),
        ):
            if getattr(self, "renorm", False) and came != wanted:
                raise refusal(owner, name, f"{wanted!r} where renorm is True", came)
        if virtual_batch_size is not None and self.synchronized:
            remedy = "ghost batches are smaller than a replica's batch, not larger"
            raise refusal(owner, "synchronized", "False where virtual_batch_size is given", True, remedy)

    @classmethod
    def from_momentum(cls, value: float, framework: str = "keras", **kwargs: Any) -> BatchNormalization:
        """The layer whose moving averages are those of another framework's `momentum`.

        Args:
            value: The momentum, in [0, 1].
            framework: `"keras"`, `"tf1"` or `"flax"`, where it is the weight of the old value, or `"torch"`,
                where it is that of the new one.
            **kwargs: The layer's other arguments.

        Example:
            >>> BatchNormalization.from_momentum(0.1, framework="torch").update_rate
            0.1
        """
        value = number("BatchNormalization.from_momentum", "value", value, 0, 1)
        framework = choice("BatchNormalization.from_momentum", "framework", framework, FRAMEWORKS)
        name = "momentum" if FRAMEWORKS[framework] == "old" else "update_rate"
        return cls(**{name: value}, **kwargs)

    @property
    def update_rate(self) -> float:
        """alpha, the weight of the newest batch in the moving averages."""
        given = self._given["update_rate"]
        return 1.0 - self.momentum if given is None else given

    @property
    def skipped_batches(self) -> int:
        """How many training batches left the moving statistics as they were."""
        return 0 if self._skipped is None else int(ops.convert_to_numpy(ops.convert_to_tensor(self._skipped)))

    @property
    def weights(self) -> list[keras.Variable]:
        """The layer's weights, which are those of Keras' layer; the count of skipped batches is none."""
        return [weight for weight in super().weights if weight is not self._skipped]

    _skipped: keras.Variable | None = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank or rank < 2:
            allowed = (
                f"an axis of inputs of rank 2 or more, in [{-rank}, {rank}) for shape {tuple(input_shape)}"
            )
            raise refusal("BatchNormalization", "axis", allowed, self.axis)
        super().build(input_shape)
        if self.averaging != "ema":
            self._steps = self._counter("averaged_batches")
        self._skipped = self._counter("skipped_batches")

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise, in training with the batch and else with the moving averages."""
        feature = self.axis % len(inputs.shape)
        if not (training and self.trainable):
            if not fused_batch_norm.applies(inputs, feature):
                return super().call(inputs, training=False)
            moving = [ops.cast(v, "float32") for v in (self.moving_mean, self.moving_variance)]
            scale = fused_batch_norm.parameters(self)
            return fused_batch_norm.normalize_with(inputs, *moving, *scale, self.epsilon)
        if getattr(self, "renorm", False):
            return super().call(inputs, training=True, mask=mask)
        x = ops.cast(inputs, wide_dtype(inputs.dtype))
        mask = None if mask is None else self._spread(mask, inputs.shape)
        whole_batch = mask is None and self.virtual_batch_size is None and not self.synchronized
        if whole_batch and self.normalize_with == "batch" and fused_batch_norm.applies(inputs, feature):
            return self._normalize_fused(inputs, x)
        return ops.cast(self._normalize_batch(x, mask), self.compute_dtype)

    def _normalize_fused(self, inputs: Any, x: Any) -> Any:
        y, found = fused_batch_norm.normalize_with_batch(
            inputs, *fused_batch_norm.parameters(self), self.epsilon
        )
        shape = (1, 1, 1, -1)
        moving = [ops.reshape(ops.cast(v, x.dtype), shape) for v in (self.moving_mean, self.moving_variance)]
        self._update(found, moving)
        return ops.cond(
            _usable(found), lambda: y, lambda: ops.cast(self._affine(x, *moving, shape), self.compute_dtype)
        )

    def _normalize_batch(self, x: Any, mask: Any) -> Any:
        rank, rows = len(x.shape), ops.shape(x)[0]
        feature = self.axis % rank
        if self.virtual_batch_size is not None:
            x, mask = ghost_batches(x, mask, self.virtual_batch_size)
            axes = tuple(axis for axis in range(1, rank + 1) if axis != feature + 1)
        else:
            axes = tuple(axis for axis in range(rank) if axis != feature)
        found = batch_moments(x, axes, mask, self.synchronized)
        shape = (1,) * (len(x.shape) - rank) + tuple(-1 if a == feature else 1 for a in range(rank))
        moving = [ops.reshape(ops.cast(v, x.dtype), shape) for v in (self.moving_mean, self.moving_variance)]
        y = self._affine(x, *self._update(found, moving), shape)
        return y if len(x.shape) == rank else joined(y, rows)

    def _affine(self, x: Any, mean: Any, variance: Any, shape: tuple[int, ...]) -> Any:
        """Normalise with these moments, scale and shift; gamma and beta are laid out in `shape`."""
        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * ops.reshape(ops.cast(self.gamma, x.dtype), shape)
        y = (x - mean) * scale
        return y + ops.reshape(ops.cast(self.beta, x.dtype), shape) if self.center else y

    def _update(self, found: BatchMoments, moving: list[Any]) -> tuple[Any, Any]:
        """Average the batch into the moving statistics; what to normalise with."""
        usable = _usable(found)
        self._skipped.assign(self._skipped + ops.cast(ops.logical_not(usable), self._skipped.dtype))
        rate = self._rate(usable)
        whole = found if self.virtual_batch_size is None else _over_groups(found)
        # A mask may leave single features without a value.
        measured = ops.logical_and(usable, whole.count > 0)
        averaged = []
        for old, new, weight in zip(moving, whole[1:], (self.moving_mean, self.moving_variance), strict=True):
            now = ops.where(measured, old + ops.cast(rate, old.dtype) * (new - old), old)
            weight.assign(ops.cast(ops.reshape(ops.stop_gradient(now), (-1,)), weight.dtype))
            averaged.append(now)
        if self.normalize_with == "moving":
            return averaged[0], averaged[1]
        return ops.where(usable, found.mean, moving[0]), ops.where(usable, found.variance, moving[1])

    def _rate(self, usable: Any) -> Any:
        """The weight of this batch, which for the unbiased averages depends on how many came before."""
        if self.averaging == "ema":
            return self.update_rate
        self._steps.assign(self._steps + ops.cast(usable, self._steps.dtype))
        # An unusable first batch leaves 0, and its rate is not used.
        t = ops.cast(ops.maximum(self._steps, 1), "float32")
        if self.averaging == "cumulative":
            return 1.0 / t
        if self.update_rate in (0.0, 1.0):
            return self.update_rate
        return self.update_rate / (1.0 - ops.power(ops.cast(1.0 - self.update_rate, "float32"), t))

    def _spread(self, mask: Any, shape: Sequence[int | None]) -> Any:
        """The mask with as many axes as the inputs, of size 1 where it says the same for all."""
        feature = self.axis % len(shape)
        without_feature = tuple(size for axis, size in enumerate(shape) if axis != feature)
        if not _leads(mask.shape, shape):
            if not _leads(mask.shape, without_feature):
                allowed = f"of the shape of the first axes of {tuple(shape)}, or of {without_feature}"
                raise refusal("BatchNormalization", "mask", allowed, Came(f"shape {tuple(mask.shape)}"))
            if len(mask.shape) > feature:
                mask = ops.expand_dims(mask, feature)
        return ops.reshape(mask, (*ops.shape(mask), *[1] * (len(shape) - len(mask.shape))))

    def _counter(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name, shape=(), dtype="int32", initializer="zeros", trainable=False, autocast=False
        )

    def save_own_variables(self, store: Any) -> None:
        """Save the weights, as Keras' layer does: its files are ours, and ours are its."""
        for i, weight in enumerate(self.weights):
            store[str(i)] = ops.convert_to_numpy(ops.convert_to_tensor(weight))

    def load_own_variables(self, store: Any) -> None:
        """Load the weights that this layer or Keras' has saved."""
        weights, entries = self.weights, len(store.keys())
        if entries != len(weights):
            listed = ", ".join(weight.name for weight in weights)
            raise ValueError(
                f"BatchNormalization '{self.name}' has the {len(weights)} weights {listed}, "
                f"got a file with {entries} for it; build the layer with the arguments it was saved with."
            )
        for i, weight in enumerate(weights):
            weight.assign(store[str(i)])

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor; of `update_rate` and `momentum`, the one that was given."""
        return {
            **super().get_config(),
            **self._given,
            "averaging": self.averaging,
            "normalize_with": self.normalize_with,
            "virtual_batch_size": self.virtual_batch_size,
            "synchronized": self.synchronized,
        }


def _rates(update_rate: float | None, momentum: float | None) -> tuple[dict[str, float | None], float]:
    """The two arguments as they were meant, and the decay that they stand for."""
    owner = "BatchNormalization"
    if momentum is None:
        update_rate = _DEFAULT_UPDATE_RATE if update_rate is None else update_rate
        update_rate = number(owner, "update_rate", update_rate, 0, 1)
        return {"update_rate": update_rate, "momentum": None}, 1.0 - update_rate
    if update_rate is not None and update_rate is not _DEFAULT_UPDATE_RATE:
        came = f"update_rate={update_rate!r} and momentum={momentum!r}"
        raise not_both(owner, "update_rate", "momentum", came, "give one: momentum = 1 - update_rate")
    momentum = number(owner, "momentum", momentum, 0, 1)
    return {"update_rate": None, "momentum": momentum}, momentum


def _usable(found: BatchMoments) -> Any:
    """Whether there was anything to measure, and all of it came out as a number."""
    finite = [ops.all(ops.isfinite(figure)) for figure in (found.mean, found.variance)]
    return ops.logical_and(ops.any(found.count > 0), ops.logical_and(*finite))


def _leads(mask: Sequence[int | None], shape: Sequence[int | None]) -> bool:
    """Whether a mask's axes are the first ones of a shape, in its sizes or 1."""
    first = shape[: len(mask)]
    wanted = [size if size == 1 else expected for size, expected in zip(mask, first, strict=False)]
    return 1 <= len(mask) <= len(shape) and shape_fits(mask, wanted)


def _over_groups(found: BatchMoments) -> BatchMoments:
    """The groups' average, each with the weight of its values."""
    count = ops.sum(found.count, axis=0, keepdims=True)
    share = found.count / ops.maximum(count, ops.ones_like(count))
    mean, variance = (ops.sum(share * figure, axis=0, keepdims=True) for figure in found[1:])
    return BatchMoments(count, mean, variance)
