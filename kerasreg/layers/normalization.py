"""Input normalisation: statistics in one pass, exact at any mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, flag, refusal
from kerasreg._core.private import unconverted_inputs
from kerasreg._core.registry import register
from kerasreg._core.tensors import is_in_tensorflow_graph, wide_dtype
from kerasreg.layers.adapt_data import batches, from_zero
from kerasreg.layers.moments import Moments
from kerasreg.layers.normalization_arguments import (
    check_axes,
    check_fit,
    check_inputs,
    check_known,
    to_axes,
    to_float64,
)
from kerasreg.layers.streaming_moments import StreamingMoments


@register
class Normalization(keras.layers.Normalization):
    """Shifts and scales each feature of the input to mean 0 and variance 1: y = (x - mean) / std.

    A drop-in for `keras.layers.Normalization`, with the same weights. The statistics are gathered in float64
    in one pass, and y is computed with all their digits: a mean of 1e4 beside a deviation of 1 costs no
    precision, whatever the dtype policy. `mean` and `variance` are float64 NumPy arrays, laid out to fit the
    inputs; the weights `adapt_mean` and `adapt_variance` hold them in float32. A constant feature gets
    scale 1, NaN entries are left out of the statistics.

    As with Keras' layer, a model that TensorFlow has compiled keeps the statistics of that time: adapt before
    the first `fit` or `predict`, or compile again.

    Args:
        axis: The axis or axes whose positions have statistics of their own; None for one pair for all.
        mean: Known means, together with `variance`, instead of `adapt`.
        variance: Known variances.
        invert: Whether the layer maps normalised values back.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above, if the data of `adapt` are empty, infinite or NaN
            throughout in a feature, or if `axis` does not fit them. The statistics are then as they were.

    Source:
        Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances", 1979.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> layer = kr.layers.Normalization()
        >>> layer.adapt(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> np.asarray(layer(np.array([[3.0, 6.0]]))).tolist()
        [[1.0, 1.0]]
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ):
        # Cast before the subtraction, a float16 input would lose the very digits that carry the signal.
        kwargs.setdefault("autocast", False)
        check_known(mean, variance)
        invert = flag("Normalization", "invert", invert)
        self._moments: Moments | None = None
        self._features: tuple[int, ...] | None = None
        self._input_shape: tuple[int | None, ...] | None = None
        super().__init__(axis=to_axes(axis), mean=mean, variance=variance, invert=invert, **kwargs)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make room for the statistics of inputs of this shape."""
        shape = tuple(input_shape)
        check_axes(self.axis, shape)
        kept = from_zero(self.axis, len(shape))
        features = tuple(shape[axis] for axis in kept)
        laid_out = tuple(size if axis in kept else 1 for axis, size in enumerate(shape))
        for name, known in (("mean", self.input_mean), ("variance", self.input_variance)):
            if known is not None:
                check_fit(name, known, features)
        self._input_shape, self._features, self._laid_out = shape, features, laid_out
        super().build(input_shape)

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Add a weight, for the statistics one of float32 or wider, in `call` too: 70000 is no float16."""
        kwargs = {"dtype": wide_dtype(self.variable_dtype), "autocast": False} | kwargs
        return super().add_weight(*args, **kwargs)

    @property
    def mean(self) -> np.ndarray | None:
        """The means in float64, laid out to fit the inputs; None before the layer is built."""
        return self._exact("mean", self.input_mean)

    @property
    def variance(self) -> np.ndarray | None:
        """The variances in float64, laid out to fit the inputs; None before the layer is built."""
        return self._exact("variance", self.input_variance)

    # Keras' constructor and build assign what is read from the weights here.
    @mean.setter
    def mean(self, value: Any) -> None:
        pass

    @variance.setter
    def variance(self, value: Any) -> None:
        pass

    def adapt(self, data: Any, verbose: Any = "auto") -> None:
        """Measure mean and variance over `data`, forgetting what was measured before.

        Args:
            data: An array, a `tf.data.Dataset` or a `keras.utils.PyDataset` of batches, or an iterable of
                batches; of a tuple, the first part. Gone through once.
            verbose: 0 for no progress bar, 1 for one, `"auto"` for one if it takes more than three seconds.
        """
        self._measure(data, None, verbose)

    def partial_fit(self, batch: Any, verbose: Any = "auto") -> None:
        """Go on measuring with one more batch, or with any data that `adapt` takes."""
        self._measure(batch, self._measured(), verbose)

    def merge(self, other: Normalization) -> Normalization:
        """Take in what another layer has measured, as if this one had seen its data too."""
        self._refuse_if_known("merge", "other")
        theirs = other._measured() if isinstance(other, Normalization) else None
        if theirs is None:
            raise refusal("Normalization.merge", "other", "an adapted kerasreg Normalization", other)
        mine = self._measured() or Moments.none(self._features or theirs.mean.shape)
        if mine.mean.shape != theirs.mean.shape:
            allowed = f"measured on features of shape {mine.mean.shape}"
            raise refusal("Normalization.merge", "other", allowed, Came(f"shape {theirs.mean.shape}"))
        self._set(mine.merge(theirs), other._input_shape)
        return self

    def inverse(self, x: Any) -> Any:
        """Map normalised values back: x std + mean, in float32 or wider."""
        if not self.built:
            self.build((None, *np.shape(x)[1:]))
        with self._in_the_inputs_framework(x):
            return self._compute(x, invert=True)

    def finalize_state(self) -> None:
        """Nothing to do: what `call` computes with is read from the weights."""

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """As Keras' layer, but without a cast to the compute type on the way into a TensorFlow graph."""
        if not is_in_tensorflow_graph(inputs):
            return super().__call__(inputs, **kwargs)
        with self._in_the_inputs_framework(inputs), unconverted_inputs(self):
            return keras.layers.Layer.__call__(self, inputs, **kwargs)

    def call(self, inputs: Any) -> Any:
        """Normalise, in float32 or wider, and hand on in the layer's own type."""
        return self.backend.cast(self._compute(inputs, self.invert), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        known = {"mean": self.input_mean, "variance": self.input_variance}
        lists = {name: None if v is None else to_float64(v).tolist() for name, v in known.items()}
        return {**super().get_config(), "axis": list(self.axis) or None, **lists}

    def save_own_variables(self, store: Any) -> None:
        """Save the weights with all their digits, in the form that Keras' layer loads too."""
        moments = self._measured()
        if moments is None:
            super().save_own_variables(store)
            return
        count = _read(self.count)
        store["0"], store["1"], store["2"] = moments.mean, moments.variance, count
        if (moments.count != count).any():
            # What one integer cannot tell: holes in the data, or more values than it holds.
            store["counts"] = moments.count

    def load_own_variables(self, store: Any) -> None:
        """Load the weights, of Keras' layer too, with the digits that the file has."""
        entries = {key: np.asarray(store[key]) for key in store.keys()}  # noqa: SIM118 (it is no mapping)
        counts = entries.pop("counts", None)
        super().load_own_variables(entries)
        self._moments = None
        if entries and entries["2"] > 0:
            mean, variance = entries["0"].astype("float64"), entries["1"].astype("float64")
            counts = np.full(mean.shape, float(entries["2"])) if counts is None else counts
            self._moments = Moments(counts, mean, variance * counts)

    def _compute(self, inputs: Any, invert: bool) -> Any:
        xp = self.backend
        x = xp.convert_to_tensor(inputs)
        check_inputs("inputs" if invert == self.invert else "x", x, self._laid_out)
        dtype = wide_dtype(x.dtype, self.variable_dtype)
        x = xp.cast(x, dtype)
        mean, rest, scale = self._parts(dtype)
        # Near the mean, x - mean is exact, and what the float32 mean lacks comes after; after the division,
        # as a compiler may join two constants that are subtracted one after the other.
        if invert:
            return (x if rest is None else x + rest / scale) * scale + mean
        y = (x - mean) / scale
        return y if rest is None else y - rest / scale

    def _parts(self, dtype: str) -> tuple[Any, Any, Any]:
        """The mean, what it lacks in this type or None if that is nothing to see, and the deviation."""
        xp = self.backend
        if self._is_constant():
            mean, scale = self.mean, _deviation(self.variance)
            rounded = mean.astype(dtype)
            rest = _visible(mean - rounded, scale, dtype)
            return tuple(
                None if part is None else xp.convert_to_tensor(part.astype(dtype), dtype=dtype)
                for part in (rounded, rest, scale)
            )
        stored, variance = (
            xp.cast(xp.numpy.reshape(xp.convert_to_tensor(weight), self._laid_out), dtype)
            for weight in (self.adapt_mean, self.adapt_variance)
        )
        rest = None
        if self._moments is not None:
            exact = self._moments.mean.reshape(self._laid_out)
            rounded = exact.astype(keras.backend.standardize_dtype(self.adapt_mean.value.dtype))
            scale = _deviation(self._moments.variance).reshape(self._laid_out)
            rest = _visible(exact - rounded, scale, dtype)
        if rest is not None:
            # Whoever has set the weights since has set all that is known of the mean.
            same = stored == xp.convert_to_tensor(rounded.astype(dtype), dtype=dtype)
            rest = xp.convert_to_tensor(rest.astype(dtype), dtype=dtype)
            rest = xp.numpy.where(same, rest, xp.numpy.zeros_like(rest))
        scale = xp.numpy.sqrt(variance)
        return stored, rest, xp.numpy.where(scale > 0, scale, xp.numpy.ones_like(scale))

    def _is_constant(self) -> bool:
        """Whether the statistics are known now, and `call` is to hold them as they are."""
        if self.input_mean is not None:
            return True
        if self.backend.name != "tensorflow":
            return False
        import tensorflow as tf

        # A dataset's map can read no variable of another backend, nor one that lives on an accelerator.
        return not tf.executing_eagerly() and not tf.is_symbolic_tensor(self.adapt_mean.value)

    @contextmanager
    def _in_the_inputs_framework(self, inputs: Any) -> Iterator[None]:
        """Compute with TensorFlow in its graphs, as in `Dataset.map`, whatever Keras' backend."""
        if is_in_tensorflow_graph(inputs):
            self.backend.set_backend("tensorflow")
        try:
            yield
        finally:
            self.backend.reset()

    def _exact(self, name: str, known: Any) -> np.ndarray | None:
        if self._features is None:
            return None
        if known is not None:
            return np.broadcast_to(to_float64(known), self._features).reshape(self._laid_out)
        stored = _read({"mean": self.adapt_mean, "variance": self.adapt_variance}[name])
        values = stored.astype("float64")
        if self._moments is not None:
            exact = getattr(self._moments, name)
            values = np.where(exact.astype(stored.dtype) == stored, exact, values)
        return values.reshape(self._laid_out)

    def _measured(self) -> Moments | None:
        """What was measured: with all digits, or, where somebody has set the weights since, with theirs."""
        if self._features is None or self.input_mean is not None:
            return None
        count = float(_read(self.count))
        if count <= 0:
            return None
        mean, variance = self.mean.reshape(self._features), self.variance.reshape(self._features)
        kept = self._moments
        if kept is not None and np.array_equal(kept.mean, mean) and np.array_equal(kept.variance, variance):
            return kept
        counts = np.full(self._features, count)
        return Moments(counts, mean, variance * counts)

    def _measure(self, data: Any, start: Moments | None, verbose: Any) -> None:
        self._refuse_if_known("adapt", "data")
        shape, stream = self._input_shape, None
        try:
            for batch in batches("Normalization.adapt", data, self.axis, verbose):
                if stream is None:
                    shape = shape or self._shape_of(batch)
                    stream = StreamingMoments(from_zero(self.axis, len(shape)))
                self._check_shape(batch, shape)
                stream.add(batch)
            found = stream and stream.moments
        except OverflowError:
            raise _bad_data("finite (or NaN where missing)", "infinity") from None
        if found is None:
            raise _bad_data("at least one batch with at least one row", "none")
        self._set(found if start is None else start.merge(found), shape)

    def _shape_of(self, batch: np.ndarray) -> tuple[int | None, ...]:
        """The input shape of a layer that is built for batches like this one."""
        if batch.ndim == 0:
            raise _bad_data("batches with at least one axis", "a single number")
        check_axes(self.axis, batch.shape)
        return batch.shape if 0 in from_zero(self.axis, batch.ndim) else (None, *batch.shape[1:])

    def _check_shape(self, batch: np.ndarray, expected: tuple[int | None, ...]) -> None:
        kept = from_zero(self.axis, len(expected))
        if batch.ndim != len(expected) or any(batch.shape[d] != expected[d] for d in kept):
            allowed = f"batches that fit the layer's input shape {expected}"
            raise _bad_data(allowed, f"shape {batch.shape}")

    def _refuse_if_known(self, method: str, argument: str) -> None:
        if self.input_mean is not None:
            allowed = "absent where mean and variance are given"
            remedy = "leave out mean and variance to measure them"
            raise refusal(f"Normalization.{method}", argument, allowed, Came("data"), remedy)

    def _set(self, moments: Moments, input_shape: tuple[int | None, ...]) -> None:
        missing = np.argwhere(moments.count == 0)
        if missing.size:
            allowed = "at least one value other than NaN in each feature"
            raise _bad_data(allowed, f"none in feature {missing[0].tolist()}")
        wide = wide_dtype(self.variable_dtype)
        with np.errstate(over="ignore"):
            mean, variance = moments.mean.astype(wide), moments.variance.astype(wide)
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise _bad_data(f"small enough for a variance in {wide}", "larger numbers")
        if not self.built:
            self.build(input_shape)
        self._moments = moments
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)
        self.count.assign(int(min(moments.count.max(initial=0), np.iinfo("int32").max)))


def _bad_data(allowed: str, came: str) -> ValueError:
    return refusal("Normalization.adapt", "data", allowed, Came(came))


def _deviation(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.where(variance > 0, variance, 1.0))


def _visible(rest: np.ndarray, scale: np.ndarray, dtype: str) -> np.ndarray | None:
    """The rest, unless it is below what a number of this type beside 1 can show."""
    return rest if (np.abs(rest) > np.finfo(dtype).eps * scale).any() else None


def _read(weight: keras.Variable) -> np.ndarray:
    """A weight's value now, while a TensorFlow graph is being traced too."""
    if keras.backend.backend() != "tensorflow":
        return keras.ops.convert_to_numpy(weight)
    import tensorflow as tf

    with tf.init_scope():
        return keras.ops.convert_to_numpy(weight)
