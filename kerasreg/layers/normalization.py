"""Input normalisation: statistics in one pass, exact at any mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, flag, integer, refusal
from kerasreg._core.batches import is_tf_dataset
from kerasreg._core.registry import register
from kerasreg._core.tensors import wide_dtype
from kerasreg.layers.moments import Moments

# Rows of an array that are looked at together: the float64 copies stay small beside the data.
_CHUNK = 8192


@register
class Normalization(keras.layers.Normalization):
    """Shifts and scales each feature of the input to mean 0 and variance 1: y = (x - mean) / std.

    The statistics are gathered in float64 in one pass and merge exactly, so a mean of 1e4 beside a deviation
    of 1 costs no precision. A constant feature gets scale 1, NaN entries are left out of the statistics.

    Args:
        axis: The axis or axes whose positions have statistics of their own; None for one pair for all.
        mean: Known means, together with `variance`, instead of `adapt`.
        variance: Known variances.
        invert: Whether the layer maps normalised values back.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above, if the data of `adapt` are empty, infinite or NaN
            throughout in a feature, or if `axis` does not fit them.

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
        mean, variance = _known(mean, variance)
        invert = flag("Normalization", "invert", invert)
        super().__init__(axis=_axes(axis), mean=mean, variance=variance, invert=invert, **kwargs)
        self._moments: Moments | None = None

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make room for the statistics of inputs of this shape."""
        shape, rank = tuple(input_shape), len(input_shape)
        if any(not -rank <= axis < rank for axis in self.axis):
            allowed = f"in [{-rank}, {rank}) for inputs of shape {shape}"
            raise refusal("Normalization", "axis", allowed, Came(str(list(self.axis))))
        self._input_shape = shape
        self._kept = tuple(sorted(axis % rank for axis in self.axis))
        self._features = tuple(shape[axis] for axis in self._kept)
        self._laid_out = tuple(size if axis in self._kept else 1 for axis, size in enumerate(shape))
        super().build(input_shape)
        if self.input_mean is not None:
            # Keras has cast them to the compute type, in which 10001 may be 10000 and 1e6 infinite. A tensor
            # made while a step is traced would not outlive it.
            self.mean, self.variance = self._lay_out(self.input_mean), self._lay_out(self.input_variance)

    def adapt(self, data: Any) -> None:
        """Measure mean and variance over `data`, forgetting what was measured before.

        Args:
            data: An array, a `tf.data.Dataset` or a `keras.utils.PyDataset` of batches, or an iterable of
                batches; of a tuple, the first part.
        """
        self._measure(data, start=None)

    def partial_fit(self, batch: Any) -> None:
        """Go on measuring with one more batch, or with any data that `adapt` takes."""
        self._measure(batch, start=self._moments)

    def merge(self, other: Normalization) -> Normalization:
        """Take in what another layer has measured, as if this one had seen its data too."""
        self._refuse_if_known("merge", "other")
        theirs = getattr(other, "_moments", None)
        if theirs is None:
            raise refusal("Normalization.merge", "other", "an adapted kerasreg Normalization", other)
        if not self.built:
            self.build(other._input_shape)
        mine = self._moments or Moments.none(self._features)
        if mine.mean.shape != theirs.mean.shape:
            allowed = f"measured on features of shape {mine.mean.shape}"
            raise refusal("Normalization.merge", "other", allowed, Came(f"shape {theirs.mean.shape}"))
        self._set(mine.merge(theirs))
        return self

    def inverse(self, x: Any) -> Any:
        """Map normalised values back: x std + mean, in float32 or wider."""
        x = ops.convert_to_tensor(x)
        if not self.built:
            self.build((None, *x.shape[1:]))
        x = ops.cast(x, wide_dtype(x.dtype, self.variable_dtype))
        scale = ops.sqrt(ops.cast(self.variance, x.dtype))
        return x * ops.where(scale > 0, scale, ops.ones_like(scale)) + ops.cast(self.mean, x.dtype)

    def finalize_state(self) -> None:
        """Lay out mean and variance for `call`, with scale 1 where the variance is 0."""
        if self.input_mean is not None or not self.built:
            return
        variance = ops.reshape(self.adapt_variance, self._laid_out)
        self.mean = ops.reshape(self.adapt_mean, self._laid_out)
        self.variance = ops.where(variance > 0, variance, ops.ones_like(variance))

    def call(self, inputs: Any) -> Any:
        """Normalise, in float32 or wider, and hand on in the layer's own type."""
        xp = self.backend
        x = xp.convert_to_tensor(inputs)
        x = xp.cast(x, wide_dtype(x.dtype, self.variable_dtype))
        mean = xp.cast(self.convert_weight(self.mean), x.dtype)
        scale = xp.numpy.sqrt(xp.cast(self.convert_weight(self.variance), x.dtype))
        scale = xp.numpy.where(scale > 0, scale, xp.numpy.ones_like(scale))
        y = x * scale + mean if self.invert else (x - mean) / scale
        return xp.cast(y, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        known = {"mean": self.input_mean, "variance": self.input_variance}
        lists = {name: None if v is None else np.asarray(v).tolist() for name, v in known.items()}
        return {**super().get_config(), "axis": list(self.axis) or None, **lists}

    def save_own_variables(self, store: Any) -> None:
        """Save the exact statistics too, so that `partial_fit` goes on after a reload."""
        super().save_own_variables(store)
        if self._moments is not None:
            for name in ("count", "mean", "squares"):
                store[f"moments_{name}"] = getattr(self._moments, name)

    def load_own_variables(self, store: Any) -> None:
        """Load the weights, and the exact statistics where the file has them."""
        names = [f"moments_{name}" for name in ("count", "mean", "squares")]
        entries = {key: store[key] for key in store.keys()}  # noqa: SIM118 (a store that is no mapping)
        exact = all(name in entries for name in names)
        self._moments = Moments(*(np.asarray(entries.pop(name)) for name in names)) if exact else None
        # Keras' loader insists on as many entries as there are weights.
        super().load_own_variables(entries)

    def _measure(self, data: Any, start: Moments | None) -> None:
        self._refuse_if_known("adapt", "data")
        moments = start
        for batch in _batches(data, self.axis):
            if not np.issubdtype(batch.dtype, np.number):
                raise refusal("Normalization.adapt", "data", "numbers", Came(f"dtype {batch.dtype}"))
            if np.isinf(batch).any():
                raise refusal(
                    "Normalization.adapt", "data", "finite (or NaN where missing)", Came("infinity")
                )
            if not self.built:
                self.build(
                    (None, *batch.shape[1:]) if 0 not in _positive(self.axis, batch.ndim) else batch.shape
                )
            self._check_shape(batch)
            found = Moments.of(batch, self._kept)
            moments = found if moments is None else moments.merge(found)
        if moments is None:
            raise refusal("Normalization.adapt", "data", "at least one batch", Came("none"))
        missing = np.argwhere(moments.count == 0)
        if missing.size:
            allowed = "at least one value other than NaN in each feature"
            raise refusal(
                "Normalization.adapt", "data", allowed, Came(f"none in feature {missing[0].tolist()}")
            )
        self._set(moments)

    def _lay_out(self, known: Any) -> np.ndarray:
        values = np.asarray(known, wide_dtype(self.variable_dtype))
        return np.broadcast_to(values, self._features).reshape(self._laid_out)

    def _refuse_if_known(self, method: str, argument: str) -> None:
        if self.input_mean is not None:
            allowed = "absent where mean and variance are given"
            remedy = "leave out mean and variance to measure them"
            raise refusal(f"Normalization.{method}", argument, allowed, Came("data"), remedy)

    def _check_shape(self, batch: np.ndarray) -> None:
        expected = self._input_shape
        fits = batch.ndim == len(expected) and all(batch.shape[d] == expected[d] for d in self._kept)
        if not fits:
            allowed = f"batches that fit the layer's input shape {tuple(expected)}"
            raise refusal("Normalization.adapt", "data", allowed, Came(f"shape {batch.shape}"))

    def _set(self, moments: Moments) -> None:
        self._moments = moments
        wide = wide_dtype(self.variable_dtype)
        self.adapt_mean.assign(moments.mean.astype(wide))
        self.adapt_variance.assign(moments.variance.astype(wide))
        self.count.assign(int(min(moments.count.max(initial=0), np.iinfo("int32").max)))
        self.finalize_state()


def _axes(axis: Any) -> tuple[int, ...]:
    if axis is None:
        return ()
    listed = axis if isinstance(axis, Sequence) and not isinstance(axis, str) else [axis]
    return tuple(integer("Normalization", "axis", each) for each in listed)


def _known(mean: Any, variance: Any) -> tuple[Any, Any]:
    """The two as they came, or a refusal."""
    given = {"mean": mean, "variance": variance}
    for (name, value), other in zip(given.items(), ("variance", "mean"), strict=True):
        if value is None and given[other] is not None:
            raise refusal("Normalization", name, f"given together with {other}", value)
        if value is not None and not _is_finite(value, 0.0 if name == "variance" else -np.inf):
            allowed = "finite and of at least 0" if name == "variance" else "finite"
            raise refusal("Normalization", name, allowed, value)
    return mean, variance


def _is_finite(value: Any, low: float) -> bool:
    try:
        array = np.asarray(value, "float64")
    except (TypeError, ValueError):
        return False
    return bool(np.isfinite(array).all() and (array >= low).all())


def _positive(axes: Sequence[int], ndim: int) -> set[int]:
    return {axis % ndim if -ndim <= axis < ndim else axis for axis in axes}


def _batches(data: Any, axes: Sequence[int]) -> Iterator[np.ndarray]:
    """The batches of arrays, datasets and iterables, as NumPy arrays."""
    if isinstance(data, np.ndarray) or keras.ops.is_tensor(data):
        array = np.asarray(keras.ops.convert_to_numpy(data))
        if array.ndim == 0 or array.size == 0:
            allowed = "an array with at least one row"
            raise refusal("Normalization.adapt", "data", allowed, Came(f"shape {array.shape}"))
        # Rows that have statistics of their own cannot be looked at in parts.
        rows = len(array) if 0 in _positive(axes, array.ndim) else _CHUNK
        for start in range(0, len(array), rows):
            yield array[start : start + rows]
        return
    if isinstance(data, keras.utils.PyDataset):
        data = map(data.__getitem__, range(data.num_batches))
    elif _is_dataset_of_scalars(data):
        data = data.batch(_CHUNK)
    if not hasattr(data, "__iter__"):
        allowed = "an array, a tf.data.Dataset, a keras.utils.PyDataset or an iterable of batches"
        raise refusal("Normalization.adapt", "data", allowed, data)
    for element in data:
        batch = element[0] if isinstance(element, tuple) else element
        yield np.asarray(keras.ops.convert_to_numpy(batch))


def _is_dataset_of_scalars(data: Any) -> bool:
    if not is_tf_dataset(data):
        return False
    spec = data.element_spec
    return (spec[0] if isinstance(spec, tuple) else spec).shape.rank == 0
