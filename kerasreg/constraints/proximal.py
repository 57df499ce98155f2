"""Proximal steps: where a gradient step's weights go if loss plus penalty is what counts.

Each function gives argmin_x sum_i (x_i - w_i)^2 / (2 s_i) + penalty(x), where s holds the step sizes, one
number or one for each weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._core.groups import group_norms
from kerasreg._core.loops import while_loop

# Newton's steps are doubly precise each; a group whose step sizes span twelve decades took 20.
_MOST_STEPS = 50


def elastic_prox(weights: Any, steps: Any, l1: Any, l2: Any = 0.0) -> Any:
    """The proximal step of `l1 ||x||_1 + l2 ||x||_2^2`: sign(w) max(|w| - s l1, 0) / (1 + 2 s l2).

    Source:
        Parikh and Boyd, "Proximal Algorithms", 2014, section 6.5.
    """
    return ops.sign(weights) * ops.relu(ops.abs(weights) - steps * l1) / (1 + 2 * steps * l2)


def group_prox(weights: Any, steps: Any, strength: Any, axes: Sequence[int]) -> Any:
    """The proximal step of `strength sum_g ||x_g||_2`, with groups that extend over the axes.

    With one step size s for a group, x_g = w_g max(1 - s lambda / ||w_g||, 0). With one for each weight,
    x_i = w_i r / (r + s_i lambda), where r = ||x_g|| solves sum_i w_i^2 / (r + s_i lambda)^2 = 1; without a
    solution above 0 the group is 0.

    Source:
        Yuan and Lin, 2006; for a metric, Deleu and Bengio, "Structured Sparsity Inducing Adaptive Optimizers
        for Deep Learning", 2021, section 4.
    """
    if not axes:
        return elastic_prox(weights, steps, strength)
    thresholds = steps * strength
    if len(thresholds.shape) == 0:
        norms = group_norms(weights, axes)
        return weights * (ops.relu(norms - thresholds) / ops.where(norms > 0, norms, ops.ones_like(norms)))
    radius = _radius(weights, thresholds, axes)
    return weights * _ratio(radius, radius + thresholds)


def _radius(weights: Any, thresholds: Any, axes: Sequence[int]) -> Any:
    """The norm of each group after the step, 0 for those that vanish."""

    def share(radius: Any) -> tuple[Any, Any]:
        """The sum that has to be 1, and -1/2 of its derivative."""
        reach = radius + thresholds
        squares = ops.square(_ratio(weights, reach))
        total = ops.sum(squares, axis=axes, keepdims=True)
        return total, ops.sum(_ratio(squares, reach), axis=axes, keepdims=True)

    # Both are at most the radius. With the first, no ratio in the sum is above 1, so nothing overflows.
    largest = ops.max(ops.abs(weights) - thresholds, axis=axes, keepdims=True)
    bound = group_norms(weights, axes) - ops.max(thresholds, axis=axes, keepdims=True)
    start = ops.relu(ops.maximum(largest, bound))
    alive = (start > 0) | (share(start)[0] > 1)

    def improved(radius: Any, moving: Any, steps: Any) -> tuple[Any, Any, Any]:
        # Newton's method on 1 / sqrt(sum), which is concave: it comes from below and never overshoots.
        total, slope = share(radius)
        new = radius + _ratio(ops.relu(total * ops.sqrt(total) - total), slope)
        return new, ops.any(alive & (new > radius * (1 + 1e-6))), steps + 1

    radius, _, _ = while_loop(
        lambda radius, moving, steps: moving & (steps < _MOST_STEPS),
        improved,
        (start, ops.any(alive), ops.zeros((), "int32")),
    )
    return ops.where(alive, radius, ops.zeros_like(radius))


def _ratio(a: Any, b: Any) -> Any:
    """The quotient a / b, and 0 where b is 0."""
    return ops.where(b > 0, a / ops.where(b > 0, b, ops.ones_like(b)), ops.zeros_like(a * b))
