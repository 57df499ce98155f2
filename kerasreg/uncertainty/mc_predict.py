"""Monte Carlo prediction: marginalise at test the noise that was added in training."""

from __future__ import annotations

import inspect
import secrets
import weakref
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, flag, integer, number, refusal
from kerasreg._core.batches import batches
from kerasreg._core.counter_random import Where
from kerasreg._core.interception import intercept
from kerasreg._core.paths import layer_paths
from kerasreg._core.pure_call import compile_pure
from kerasreg.uncertainty.entropy import entropy
from kerasreg.uncertainty.noise import add_noise, is_stochastic, strength
from kerasreg.uncertainty.prediction import Prediction

Batches = Iterable[tuple[Any, int]]

# A standard error from fewer passes is itself too uncertain to stop on.
_FEWEST = 8
# Room for this many calls of one layer before two layers would share their random numbers.
_CALLS = 4096


def mc_predict(
    model: keras.Model,
    x: Any,
    samples: int = 50,
    batch_size: int = 32,
    seed: int | None = None,
    tolerance: float | None = None,
    return_samples: bool = False,
) -> Prediction:
    """Predict with the dropout left on, many times, and say how much the predictions disagree.

    mean = 1/T sum_t f(x; noise_t), variance = 1/T sum_t (f(x; noise_t) - mean)^2. Keras' and kerasreg's
    stochastic layers (`Dropout`, the spatial, Gaussian and alpha dropouts, `GaussianNoise`) are sampled;
    every other layer stays in inference mode. Nothing of the model changes: weights, statistics and seeds are
    untouched. Dropout inside a recurrent layer's scan is not sampled. The passes are compiled once for each
    model and batch size, and kept with the model, as `predict`'s are.

    Args:
        model: A built model with one output tensor, trained or not.
        x: An array, a structure of arrays as the model takes, or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches.
        samples: T, the number of passes, at least 2.
        batch_size: Rows in a compiled call; does not change the numbers.
        seed: An integer for the same samples each time, whatever the batch size; None for new ones.
        tolerance: Stop a row's sampling once the standard error of each of its means is below this, after
            8 passes at least; `Prediction.samples_used` tells how many each row took.
        return_samples: Whether to keep every pass in `Prediction.samples`.

    Returns:
        A `Prediction`; its entropies are there where the output holds class probabilities.

    Raises:
        ValueError: If no stochastic layer is reached in the model, or an argument is not one of the above.

    Source:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", 2016.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential(
        ...     [keras.Input((8,)), keras.layers.Dropout(0.5), keras.layers.Dense(3, "softmax")])
        >>> prediction = kr.mc_predict(model, np.ones((4, 8)), samples=20, seed=0)
        >>> prediction.mean.shape, bool((prediction.std > 0).all())
        ((4, 3), True)
    """
    samples = integer("mc_predict", "samples", samples, low=2)
    batch_size = integer("mc_predict", "batch_size", batch_size, low=1)
    # 31 bits: what every backend takes for a seed.
    seed = secrets.randbits(31) if seed is None else integer("mc_predict", "seed", seed, low=0) % 2**31
    if tolerance is not None:
        tolerance = number("mc_predict", "tolerance", tolerance, 0, open_low=True)
        if flag("mc_predict", "return_samples", return_samples):
            raise refusal(
                "mc_predict",
                "return_samples",
                "False where tolerance is given",
                True,
                "rows would differ in passes",
            )
    sampler = _Sampler.of(model)
    run = sampler.every_pass if flag("mc_predict", "return_samples", return_samples) else sampler.moments
    prediction = run(batches("mc_predict", x, batch_size), seed, samples, tolerance)
    if not prediction.variance.any():
        raise _nothing_stochastic(model, "noise that reaches the output", "a variance of 0 everywhere")
    return prediction


class _Sampler:
    """The compiled random passes of one model, kept as long as the model and its rates stay."""

    _kept: ClassVar[weakref.WeakKeyDictionary[keras.Model, _Sampler]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, model: keras.Model) -> _Sampler:
        """The model's sampler, made anew where a rate has changed since."""
        if not isinstance(model, keras.Model) or not model.built:
            allowed = "a built keras.Model"
            raise refusal("mc_predict", "model", allowed, model, "call it once on data, or give it an Input")
        noisy = {layer: strength(layer) for layer in layer_paths(model) if is_stochastic(layer)}
        noisy = {layer: rate for layer, rate in noisy.items() if rate > 0}
        if not noisy:
            raise _nothing_stochastic(model, "a stochastic layer with a rate above 0", "none")
        kept = cls._kept.get(model)
        if kept is None or kept._noisy != noisy:
            kept = cls._kept[model] = cls(model, noisy)
        return kept

    def __init__(self, model: keras.Model, noisy: dict[keras.layers.Layer, float]):
        # Weak: what is kept for a model must not keep the model.
        self._model = weakref.ref(model)
        self._noisy = noisy
        self._index = {layer: i for i, layer in enumerate(layer_paths(model))}
        takes_training = "training" in inspect.signature(model.call).parameters
        self._arguments = {"training": False} if takes_training else {}
        self._one = compile_pure(model, self._pass)
        self._all = compile_pure(model, self._stream)

    def moments(self, data: Batches, seed: int, samples: int, tolerance: float | None) -> Prediction:
        """Streamed moments: memory does not grow with the passes."""
        parts, first_row = [], 0
        # No standard error is below 0: without a tolerance no row stops early.
        limit = ops.cast(-1.0 if tolerance is None else tolerance, "float32")
        for x, rows in data:
            results = self._all(x, _int(seed), _int(first_row), _int(samples), limit)
            parts.append([np.asarray(ops.convert_to_numpy(part))[:rows] for part in results])
            first_row += rows
        mean, variance, count, doubt = (np.concatenate(column) for column in zip(*parts, strict=True))
        doubt = doubt[..., 0].astype("float64") if mean.ndim > 1 else None
        return Prediction(mean, variance, count.reshape(len(mean)).astype("int64"), None, doubt)

    def every_pass(self, data: Batches, seed: int, samples: int, tolerance: None) -> Prediction:
        """The same from passes that are all kept."""
        parts, first_row = [], 0
        for x, rows in data:
            passes = [self._one(x, _int(seed), _int(t), _int(first_row)) for t in range(samples)]
            parts.append(np.stack([np.asarray(ops.convert_to_numpy(y))[:rows] for y in passes]))
            first_row += rows
        every = np.concatenate(parts, axis=1)
        doubt = entropy(every).mean(axis=0) if every.ndim > 2 else None
        return Prediction(
            every.mean(axis=0), every.var(axis=0), np.full(every.shape[1], samples), every, doubt
        )

    def _pass(self, x: Any, seed: Any, sample: Any, first_row: Any) -> Any:
        """One random pass; its noise is a function of seed, sample, row and layer."""
        calls: dict[keras.layers.Layer, int] = {}

        def with_noise(
            layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
        ) -> Any:
            if layer not in self._noisy:
                return proceed(*args, **kwargs)
            calls[layer] = calls.get(layer, -1) + 1
            stream = self._index[layer] * _CALLS + calls[layer]
            # The layer itself hands its input on here, with the type and the mask that it gives its output.
            inputs = proceed(*args, **{**kwargs, "training": False})
            return add_noise(layer, inputs, Where(seed, stream, sample, first_row))

        model = self._model()
        with intercept(with_noise):
            outputs = model(x, **self._arguments)
        if not ops.is_tensor(outputs):
            raise refusal(
                "mc_predict", "model", "a model with one output tensor", Came(f"{type(outputs).__name__}")
            )
        if not calls:
            raise _nothing_stochastic(model, "a stochastic layer that the model calls", "none")
        return ops.cast(outputs, "float32")

    def _stream(self, x: Any, seed: Any, first_row: Any, samples: Any, tolerance: Any) -> tuple[Any, ...]:
        """Mean, variance, passes and mean entropy of a batch's rows (Welford, 1962)."""
        y = self._pass(x, seed, 0, first_row)
        rows = ops.ones(ops.shape(y)[:1] + (1,) * (len(y.shape) - 1))

        def going_on(t: Any, count: Any, mean: Any, squares: Any, doubt: Any, active: Any) -> Any:
            return ops.logical_and(t < samples, ops.any(active > 0))

        def step(t: Any, count: Any, mean: Any, squares: Any, doubt: Any, active: Any) -> tuple[Any, ...]:
            y = self._pass(x, seed, t, first_row)
            count = count + active
            gap = y - mean
            mean = mean + active * gap / count
            squares = squares + active * gap * (y - mean)
            doubt = doubt + active * (_entropy(y) - doubt) / count
            error = ops.sqrt(squares / (count - 1.0) / count)
            worst = ops.max(error, axis=tuple(range(1, len(y.shape))), keepdims=True)
            unsure = ops.logical_or(worst > tolerance, count < _FEWEST)
            return t + 1, count, mean, squares, doubt, active * ops.cast(unsure, "float32")

        start = (_int(1), rows, y, ops.zeros_like(y), _entropy(y), rows)
        _, count, mean, squares, doubt, _ = ops.while_loop(going_on, step, start)
        return mean, squares / count, count, doubt


def _int(value: int) -> Any:
    return ops.cast(value, "int32")


def _entropy(y: Any) -> Any:
    """The entropy of probabilities along the last axis, kept as an axis of length 1; else of no meaning."""
    if len(y.shape) < 2:
        return ops.zeros_like(y)
    return -ops.sum(y * ops.log(ops.maximum(y, 1e-38)), axis=-1, keepdims=True)


def _nothing_stochastic(model: keras.Model, allowed: str, came: str) -> ValueError:
    stochastic = {path: strength(layer) for layer, path in layer_paths(model).items() if is_stochastic(layer)}
    listed = ", ".join(f"{path} (rate {rate:g})" for path, rate in stochastic.items()) or "none"
    return refusal(
        "mc_predict",
        "model",
        f"a model with {allowed}",
        Came(f"{came} (stochastic layers found: {listed})"),
        "put a Dropout where noise was added in training",
    )
