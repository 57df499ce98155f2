"""Beta, gamma and Dirichlet numbers out of uniform ones, by their quantile functions.

XLA has no generator for them, and a rejection sampler needs an unknown count of numbers. A quantile takes
exactly one uniform number, so that a draw stays a function of its key. Both quantiles are tabulated once for
each pair of parameters, as a function of `logit(u)`: there both tails of `logit(beta)`, and the lower one of
`log(gamma)`, are straight lines, and a value of 1e-30 is as exact as one in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import tensorflow as tf

_KNOTS = 2049
_REACH = 17.5
"""Uniform numbers are multiples of 2**-24, so that |logit| is at most log(2**25) = 17.33."""
_SMALLEST = -700.0
"""The logarithm of what float64 just holds; float32 has long become 0 there."""

_STRAIGHT = -40.0
"""The logarithm below which `exp(-x)` is 1 to the last digit."""


def beta_quantile(uniform: tf.Tensor, a: float, b: float) -> tf.Tensor:
    """The number below which a share `uniform` of the Beta(a, b) distribution lies.

    Args:
        uniform: float32 in [0, 1), multiples of 2**-24, each taken as the middle of its interval.
        a: The first parameter, a Python number above 0.
        b: The second.

    Returns:
        float32 of the shape of `uniform`, in [0, 1]. Its relative error is 3e-4 at most,
        and 2e-3 for parameters below 0.1.

    Source:
        The distribution function is that of `tf.math.betainc`.

    Example:
        >>> beta_quantile(tf.constant([0.25, 0.5]), 1.0, 1.0).numpy().round(4).tolist()
        [0.25, 0.5]
    """
    return tf.sigmoid(_read(_logit_beta_table(float(a), float(b)), uniform))


def gamma_quantile(uniform: tf.Tensor, shape: float) -> tf.Tensor:
    """The number below which a share `uniform` of the Gamma(shape, 1) distribution lies.

    Args:
        uniform: As for `beta_quantile`.
        shape: A Python number above 0.

    Returns:
        float32 of the shape of `uniform`, at least 0; as exact as a `beta_quantile`.

    Example:
        >>> gamma_quantile(tf.constant([0.5]), 1.0).numpy().round(3)
        array([0.693], dtype=float32)
    """
    return tf.exp(_read(_log_gamma_table(float(shape)), uniform))


def dirichlet(uniform: tf.Tensor, concentration: float) -> tf.Tensor:
    """Weights that sum to 1, from the symmetric Dirichlet distribution: gamma numbers over their sum.

    Args:
        uniform: As for `beta_quantile`, shape `(..., weights)`.
        concentration: The parameter of every weight, a Python number above 0.

    Returns:
        float32 of the shape of `uniform`.

    Example:
        >>> dirichlet(tf.constant([[0.5, 0.5]]), 0.001).numpy().tolist()
        [[0.5, 0.5]]
    """
    # With a small concentration every gamma number is 0 in float32. Their logarithms are not.
    return tf.nn.softmax(_read(_log_gamma_table(float(concentration)), uniform))


def _read(table: np.ndarray, uniform: tf.Tensor) -> tf.Tensor:
    """The table at `logit(uniform)`, linear between its knots."""
    # Counted from both ends in whole numbers: `1 - uniform` is one that a compiler may take apart.
    count = tf.cast(uniform * 2.0**24, tf.int32)
    below, above = (tf.cast(k, tf.float32) + 0.5 for k in (count, 2**24 - 1 - count))
    logit = tf.math.log(below) - tf.math.log(above)
    place = (logit + _REACH) * ((_KNOTS - 1) / (2 * _REACH))
    knot = tf.clip_by_value(tf.floor(place), 0.0, _KNOTS - 2.0)
    index = tf.cast(knot, tf.int32)
    first, second = tf.gather(table, index), tf.gather(table, index + 1)
    return first + (second - first) * (place - knot)


@cache
def _logit_beta_table(a: float, b: float) -> np.ndarray:
    knots = np.linspace(-_REACH, _REACH, _KNOTS)
    half = knots[: _KNOTS // 2 + 1]

    def lower(a: float, b: float) -> np.ndarray:
        def share(z: np.ndarray) -> tf.Tensor:
            return tf.math.betainc(np.full_like(z, a), np.full_like(z, b), _sigmoid(z))

        return _solve(share, _sigmoid(half), _SMALLEST, -_SMALLEST)

    # The upper half by symmetry: near 1 the share that is missing has digits, the share itself has none.
    return np.float32(np.concatenate([lower(a, b), -lower(b, a)[-2::-1]]))


@cache
def _log_gamma_table(shape: float) -> np.ndarray:
    knots = np.linspace(-_REACH, _REACH, _KNOTS)
    half = _KNOTS // 2 + 1
    highest = math.log(shape + 60 + 12 * math.sqrt(shape))

    def below(z: np.ndarray) -> tf.Tensor:
        return tf.math.igamma(np.full_like(z, shape), np.exp(z))

    def above(z: np.ndarray) -> tf.Tensor:
        return -tf.math.igammac(np.full_like(z, shape), np.exp(z))

    lower = _solve(below, _sigmoid(knots[:half]), _SMALLEST, highest)
    # Far below, where float64 has no numbers left, `share = x**shape / Gamma(shape + 1)`.
    straight = (math.lgamma(shape + 1) - np.logaddexp(0.0, -knots[:half])) / shape
    lower = np.where(straight < _STRAIGHT, straight, lower)
    upper = _solve(above, -_sigmoid(-knots[half:]), _SMALLEST, highest)
    return np.float32(np.concatenate([lower, upper]))


def _solve(
    rising: Callable[[np.ndarray], tf.Tensor], target: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Where a rising function reaches each target, by bisection; an end where it does not."""
    lows, highs = np.full_like(target, low), np.full_like(target, high)
    with tf.init_scope(), tf.device("CPU:0"):
        for _ in range(52):
            middle = (lows + highs) / 2
            short = rising(middle).numpy() < target
            lows, highs = np.where(short, middle, lows), np.where(short, highs, middle)
    return (lows + highs) / 2


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -z))
