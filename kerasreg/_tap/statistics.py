"""What is measured of one layer's output, on the device, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kerasreg._tap import histogram, replicas, silence
from kerasreg._tap.kinds_of_graph import tensorflow_runs_each_operation
from kerasreg._tap.saturation import saturated_beyond

# The order in which the single numbers are laid; what a layer does not have is left out.
SINGLE = (
    *("count", "mean", "variance", "min", "max", "range"),
    *("zeros", "nonfinite", "saturated", "drift", "skipped"),
)
PER_CHANNEL = ("channel_mean", "channel_square", "channel_zeros")


@dataclass(frozen=True)
class Look:
    """What is looked at in a layer beside the figures that everyone gets.

    Attributes:
        histogram: Whether the values are counted between fixed edges.
        per_channel: Whether figures of each channel are taken.
    """

    histogram: bool = False
    per_channel: bool = False

    def __or__(self, other: Look) -> Look:
        return Look(self.histogram or other.histogram, self.per_channel or other.per_channel)


PLAIN = Look()


def summarize(layer: keras.layers.Layer, outputs: Any, look: Look = PLAIN) -> dict[str, Any]:
    """The figures of one output: single numbers of shape (), and vectors, which come last.

    Extremes are taken by channel first: a channel is silent if both are 0.
    """
    x = ops.cast(ops.stop_gradient(outputs), "float32")
    axis = channel_axis(layer, x)
    others = tuple(i for i in range(len(x.shape)) if i != axis)
    low, high = _extremes(x, others)
    mean = ops.mean(x)
    lowest, highest = replicas.extremes_of_all(low, high)
    variance, zeros, nonfinite = _deviation_and_counts(x, mean)
    figures = {
        "count": ops.cast(ops.size(x), "float32"),
        "mean": mean,
        "variance": variance,
        "min": _extremes(low, None)[0],
        "max": _extremes(high, None)[1],
        # What is left of it where every row gives the same is nothing, whatever the channels' own levels.
        "range": ops.sqrt(ops.mean(ops.square(highest - lowest))),
        "zeros": zeros,
        "nonfinite": nonfinite,
    }
    beyond = saturated_beyond(layer)
    if beyond is not None:
        figures["saturated"] = _share_beyond(x, *beyond)
    vectors = {}
    if look.per_channel and axis is not None:
        by_channel = (ops.mean(v, axis=others) for v in (x, ops.square(x), _is_zero(x)))
        vectors = dict(zip(PER_CHANNEL, by_channel, strict=True))
    if axis is not None:
        silent = ops.logical_and(ops.equal(low, 0.0), ops.equal(high, 0.0))
        vectors["silent"] = silence.packed(silent, x.shape[axis])
    if look.histogram:
        vectors["histogram"] = histogram.count(x)
    return figures | vectors


# Their outputs are laid out anew, so that an index on the last axis is no unit of theirs.
_REARRANGING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute)


def channel_axis(layer: keras.layers.Layer, x: Any) -> int | None:
    """The axis of a layer's units or filters: the last one, or the second with channels first.

    None for a layer that only rearranges its input, and where the number of channels is not known.
    """
    rank = len(x.shape)
    if rank < 2 or isinstance(layer, _REARRANGING):
        return None
    axis = 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
    return axis if isinstance(x.shape[axis], int) else None


def _extremes(x: Any, axes: tuple[int, ...] | None) -> tuple[Any, Any]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Keras' own refuse the empty share of a batch that a replica may get, at the cost of a check.
        return tf.reduce_min(x, axes), tf.reduce_max(x, axes)
    return ops.min(x, axis=axes), ops.max(x, axis=axes)


# Up to this ratio of squared mean to variance, E[x^2] - E[x]^2 loses a digit at most.
_CANCELS = 16.0

# Up to here float32 counts one by one.
_COUNTED = 2.0**24


def _deviation_and_counts(x: Any, mean: Any) -> tuple[Any, Any, Any]:
    """The variance, the share of zeros, and how many values are not finite."""
    if not tensorflow_runs_each_operation():
        # A value that is not finite makes the mean so; a mean may be infinite without one: the count says 0.
        odd = ops.cond(ops.isfinite(mean), lambda: ops.zeros((), "float32"), lambda: _nonfinite(x))
        # About the mean: E[x^2] - E[x]^2 loses every digit of a small deviation beside a large mean.
        return ops.mean(ops.square(x - mean)), ops.mean(_is_zero(x)), odd
    import tensorflow as tf

    # Where each operation is a pass over the tensor, the short ways are taken as long as they are exact.
    count = tf.cast(tf.size(x), "float32")
    variance = 2.0 * tf.nn.l2_loss(x) / count - tf.square(mean)
    # The first is False for what is not finite, too, whose sign cannot be counted.
    exact = tf.logical_and(tf.square(mean) <= _CANCELS * variance, count <= _COUNTED)

    def short() -> tuple[Any, Any, Any]:
        return variance, 1.0 - 2.0 * tf.nn.l2_loss(tf.sign(x)) / count, tf.zeros(())

    def safe() -> tuple[Any, Any, Any]:
        return 2.0 * tf.nn.l2_loss(x - mean) / count, ops.mean(_is_zero(x)), _nonfinite(x)

    return tf.cond(exact, short, safe)


def _is_zero(x: Any) -> Any:
    return ops.cast(ops.equal(x, 0.0), "float32")


def _nonfinite(x: Any) -> Any:
    return ops.sum(ops.cast(ops.logical_not(ops.isfinite(x)), "float32"))


def _share_beyond(x: Any, low: float | None, high: float | None) -> Any:
    sides = [] if low is None else [ops.less_equal(x, low)]
    sides += [] if high is None else [ops.greater_equal(x, high)]
    either = sides[0] if len(sides) == 1 else ops.logical_or(*sides)
    return ops.mean(ops.cast(either, "float32"))
