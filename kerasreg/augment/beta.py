"""Beta numbers from uniform ones, by the inverse of their distribution function."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_CELLS = 1024


class SymmetricBeta:
    """`Beta(alpha, alpha)` numbers from uniform ones: `x` with `I_x(alpha, alpha) = u`.

    XLA has no gamma numbers, so the distribution function is inverted. It is tabulated once for `x` up to
    one half, the other half is its mirror image. Between the entries `u ** (1 / alpha)` is taken for linear
    in `x`, which it is near 0, where the density of a small `alpha` has its pole.

    Args:
        alpha: Above 0.

    Source:
        The regularized incomplete beta function: DLMF 8.17.

    Example:
        >>> SymmetricBeta(1.0)(tf.constant([0.0, 0.25, 0.5, 0.9])).numpy().round(6).tolist()
        [0.0, 0.25, 0.5, 0.9]
    """

    def __init__(self, alpha: float) -> None:
        self._power = 1 / alpha
        places = np.linspace(0, 0.5, _CELLS + 1)
        with tf.init_scope(), tf.device("CPU:0"):
            shape = np.full_like(places, alpha)
            below = tf.math.betainc(shape, shape, places).numpy()
        below[0], below[-1] = 0.0, 0.5
        self._edges = np.float32(below)
        # Powers of the edges as float32 knows them: with those of the exact ones a number could fall
        # outside its cell.
        self._powers = np.float32(np.float64(self._edges) ** self._power)

    def __call__(self, uniform: tf.Tensor) -> tf.Tensor:
        """One number in [0, 1] for each uniform number in [0, 1), float32 of shape `(images,)`."""
        low = tf.minimum(uniform, 1 - uniform)
        cell = tf.searchsorted(self._edges, low, side="right") - 1
        cell = tf.clip_by_value(cell, 0, _CELLS - 1)
        start, end = tf.gather(self._powers, cell), tf.gather(self._powers, cell + 1)
        along = tf.math.divide_no_nan(low**self._power - start, end - start)
        place = (tf.cast(cell, tf.float32) + tf.clip_by_value(along, 0.0, 1.0)) * (0.5 / _CELLS)
        return tf.where(uniform < 0.5, place, 1 - place)
