"""Batch normalisation in the lecture's convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, choice, flag, integer, not_both, number, refusal
from kerasreg._core.registry import register
from kerasreg._core.tensors import check_numbers, shape_fits, wide_dtype
from kerasreg.layers import batch_norm_kernels, batch_renorm
from kerasreg.layers.batch_moments import (
    BatchMoments,
    as_bools,
    batch_moments,
    flat,
    ghost_batches,
    has_replicas,
    joined,
    over_groups,
)

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
        renorm_warmup: Two steps (start, end) for `renorm=True`: no correction until start, then limits that
            open linearly until end to those of `renorm_clipping`, or to the paper's (r in [1/3, 3], d in
            [-5, 5]) where none are given. None for the limits as they are from the first step.
        **kwargs: The other arguments of `keras.layers.BatchNormalization`. `renorm` goes with the defaults
            of `averaging`, `normalize_with` and `virtual_batch_size` only.

    Call arguments:
        inputs: Features of any rank above 1.
        training: Whether to normalise with the batch.
        mask: True where a position counts in the statistics. Its shape is that of the inputs' first axes, as
            Keras' masks are (an axis of size 1 says the same for all), or that of the inputs without the
            feature axis. Numbers are taken for True but 0; those between are refused where they can be seen,
            that is outside of a compiled step.

    Attributes:
        skipped_batches: How many training batches left the statistics as they were.

    Raises:
        ValueError: If `update_rate` and `momentum` are both given, or an argument is not one of the above.

    Source:
        Ioffe and Szegedy, "Batch Normalization", 2015, algorithms 1 and 2; Hoffer et al., "Train Longer,
        Generalize Better", 2017, for ghost batches; Kingma and Ba, 2015, section 3, for the debiasing; Ioffe,
        "Batch Renormalization", 2017.

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
        renorm_warmup: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        owner = "BatchNormalization"
        if kwargs.get("renorm"):
            without = {} if renorm_warmup is None else batch_renorm.PAPER
            clipping = batch_renorm.checked_clipping(owner, kwargs.get("renorm_clipping") or without)
            renorm_momentum = number(owner, "renorm_momentum", kwargs.get("renorm_momentum", 0.99), 0, 1)
            kwargs |= {"renorm_clipping": clipping, "renorm_momentum": renorm_momentum}
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
        self._renorm = bool(getattr(self, "renorm", False))
        self.renorm_warmup = (
            None if renorm_warmup is None else batch_renorm.checked_warmup(owner, renorm_warmup)
        )
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        owner = "BatchNormalization"
        defaults = {"averaging": "ema", "normalize_with": "batch", "virtual_batch_size": None}
        for name, wanted in defaults.items():
            if self._renorm and getattr(self, name) != wanted:
                raise refusal(owner, name, f"{wanted!r} where renorm is True", getattr(self, name))
        if self.renorm_warmup is not None and not self._renorm:
            remedy = "give renorm=True, or leave renorm_warmup out"
            raise refusal(owner, "renorm_warmup", "None where renorm is False", self.renorm_warmup, remedy)
        if self.virtual_batch_size is not None and self.synchronized:
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
    _steps: keras.Variable | None = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank or rank < 2:
            allowed = (
                f"an axis of inputs of rank 2 or more, in [{-rank}, {rank}) for shape {tuple(input_shape)}"
            )
            raise refusal("BatchNormalization", "axis", allowed, self.axis)
        super().build(input_shape)
        if self.averaging != "ema" or self.renorm_warmup is not None:
            self._steps = self._counter("averaged_batches")
        self._skipped = self._counter("skipped_batches")

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise, in training with the batch and else with the moving averages."""
        check_numbers("BatchNormalization", "inputs", inputs)
        feature = self.axis % len(inputs.shape)
        if not (training and self.trainable):
            return self._normalize_with_moving(inputs, feature)
        mask = None if mask is None else self._spread(as_bools("BatchNormalization", mask), inputs.shape)
        special = self.virtual_batch_size or self._renorm or self.normalize_with == "moving"
        if mask is None and not special and not (self.synchronized and has_replicas()):
            kernel = batch_norm_kernels.for_whole_batch(inputs, feature)
            if kernel is not None:
                y, found = kernel.normalize_with_batch(inputs, *self._held_values(), self.epsilon)
                self._average(found, found.usable)
                return ops.cast(y, self.compute_dtype)
        x = ops.cast(inputs, wide_dtype(inputs.dtype))
        return ops.cast(self._normalize_with_batch(x, mask, feature), self.compute_dtype)

    def _normalize_with_moving(self, inputs: Any, feature: int) -> Any:
        kernel = batch_norm_kernels.for_given_moments(inputs, feature)
        if kernel is None:
            return super().call(inputs, training=False)
        return ops.cast(kernel.normalize_with(inputs, *self._held_values(), self.epsilon), self.compute_dtype)

    def _normalize_with_batch(self, x: Any, mask: Any, feature: int) -> Any:
        rank, rows = len(x.shape), ops.shape(x)[0]
        if self.virtual_batch_size is not None:
            x, mask = ghost_batches(x, mask, self.virtual_batch_size)
            axes = tuple(axis for axis in range(1, rank + 1) if axis != feature + 1)
        else:
            axes = tuple(axis for axis in range(rank) if axis != feature)
        found = batch_moments(x, axes, mask, self.synchronized)
        gamma, beta, *moving = (self._laid_out(v, x) for v in self._held_values())
        whole = flat(found if self.virtual_batch_size is None else over_groups(found))
        # A mask may leave single features without a value.
        measured = ops.logical_and(whole.usable, whole.count > 0)
        by = _where(found.usable, found, moving)
        if self._renorm:
            r, d = (self._laid_out(v, x) for v in self._renormalize(whole, measured))
            gamma, beta = r * gamma, d * gamma + beta
        else:
            averaged = self._average(whole, measured)
            if self.normalize_with == "moving":
                mean, variance = (self._laid_out(v, x) for v in averaged)
                by = by._replace(shift=mean - by.origin, variance=variance)
        scale = ops.rsqrt(by.variance + self.epsilon) * gamma
        # The origin first, and exactly: what is left is as large as a deviation.
        y = (x - by.origin) * scale + (beta - by.shift * scale)
        return y if len(x.shape) == rank else joined(y, rows)

    def _held_values(self) -> tuple[Any, ...]:
        """Gamma, beta, and the moving mean and variance; ones and zeros where the layer has none."""
        shape, dtype = self.moving_mean.shape, wide_dtype(self.variable_dtype)
        gamma = ops.cast(self.gamma, dtype) if self.scale else ops.ones(shape, dtype)
        beta = ops.cast(self.beta, dtype) if self.center else ops.zeros(shape, dtype)
        return gamma, beta, *(ops.cast(v, dtype) for v in (self.moving_mean, self.moving_variance))

    def _laid_out(self, per_feature: Any, x: Any) -> Any:
        """One figure per feature, in a shape that broadcasts against x, with or without an axis of groups."""
        rank = self.input_spec.ndim
        shape = [-1 if axis == self.axis % rank else 1 for axis in range(rank)]
        return ops.reshape(ops.cast(per_feature, x.dtype), [1] * (len(x.shape) - rank) + shape)

    def _average(self, found: BatchMoments, measured: Any) -> tuple[Any, Any]:
        """Move the statistics toward what was measured; the statistics."""
        self._count_unless(found.usable)
        rate = self._rate(found.usable)
        mean = _moved(self.moving_mean, found.mean, rate, measured)
        return mean, _moved(self.moving_variance, found.variance, rate, measured)

    def _renormalize(self, found: BatchMoments, measured: Any) -> tuple[Any, Any]:
        """Move Keras' five statistics; the corrections r and d by those before."""
        self._count_unless(found.usable)
        mean, stddev = found.mean, ops.sqrt(found.variance + self.epsilon)
        # As Keras does: a deviation of 0 at the start must not divide.
        least = ops.cast(self.epsilon**0.5, mean.dtype)
        floor = ops.maximum(ops.cast(self.renorm_stddev, mean.dtype), least)
        limits = batch_renorm.limits_at(self.renorm_clipping, self.renorm_warmup, self._steps)
        r, d = batch_renorm.corrections(mean, stddev, ops.cast(self.renorm_mean, mean.dtype), floor, limits)
        for weight, new in ((self.renorm_mean, mean), (self.renorm_stddev, stddev)):
            _moved(weight, new, 1.0 - self.renorm_momentum, measured)
        _moved(self.moving_mean, mean, self.update_rate, measured)
        now = _moved(self.moving_stddev, stddev, self.update_rate, measured)
        variance = ops.relu(ops.square(now) - self.epsilon)
        before = ops.cast(self.moving_variance, variance.dtype)
        after = ops.where(measured, variance, before)
        self.moving_variance.assign(ops.cast(after, self.moving_variance.dtype))
        if self._steps is not None:
            self._steps.assign(self._steps + ops.cast(found.usable, self._steps.dtype))
        return ops.where(measured, r, 1.0), ops.where(measured, d, 0.0)

    def _count_unless(self, good: Any) -> None:
        """Count a batch that is not good as skipped."""
        self._skipped.assign(self._skipped + ops.cast(ops.logical_not(good), self._skipped.dtype))

    def _rate(self, good: Any) -> Any:
        """The weight of this batch, which for the unbiased averages depends on how many came before."""
        if self.averaging == "ema":
            return self.update_rate
        self._steps.assign(self._steps + ops.cast(good, self._steps.dtype))
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
            "renorm_warmup": self.renorm_warmup,
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


def _moved(weight: keras.Variable, new: Any, rate: Any, measured: Any) -> Any:
    """Move a statistic toward what was measured, where anything was; the statistic."""
    old = ops.cast(weight, new.dtype)
    now = ops.where(measured, old + ops.cast(rate, old.dtype) * (new - old), old)
    weight.assign(ops.cast(ops.stop_gradient(now), weight.dtype))
    return now


def _where(good: Any, found: BatchMoments, moving: Sequence[Any]) -> BatchMoments:
    """The batch's moments, or else the moving ones."""
    origin = ops.where(good, found.origin, moving[0])
    shift = ops.where(good, found.shift, ops.zeros_like(found.shift))
    variance = ops.where(good, found.variance, moving[1])
    return found._replace(origin=origin, shift=shift, variance=variance)


def _leads(mask: Sequence[int | None], shape: Sequence[int | None]) -> bool:
    """Whether a mask's axes are the first ones of a shape, in its sizes or 1."""
    first = shape[: len(mask)]
    wanted = [size if size == 1 else expected for size, expected in zip(mask, first, strict=False)]
    return 1 <= len(mask) <= len(shape) and shape_fits(mask, wanted)
