"""Moments over passes that come a few at a time, kept for each row by itself."""

from __future__ import annotations

from typing import Any

from keras import ops

Figures = dict[str, Any]

# A standard error from fewer passes is itself too uncertain to stop on; rows are looked at this often.
STRIDE = 8


def start(y: Any) -> Figures:
    """The figures before any pass; `y` is an output of one pass, for its shape (rows, ...) and type."""
    zeros = ops.zeros_like(y)
    return {
        "mean": zeros,
        "squares": zeros,
        "pairs": zeros,
        "within": zeros,
        "entropy": ops.zeros_like(y[..., :1]) if len(y.shape) > 1 else zeros,
    }


def add(
    figures: Figures, values: Any, within: Any, weights: Any, before: Any, active: Any, paired: bool
) -> Figures:
    """The figures with a block of passes more (Chan, Golub and LeVeque, 1979).

    Args:
        figures: Those of the passes before.
        values: A block of shape (passes, rows, ...).
        within: The variance that each pass brings along, of the same shape, or None.
        weights: 1 for a pass that counts, else 0, of shape (passes,); or None where all count.
        before: How many passes each row has, of shape (rows,).
        active: 1 for a row that goes on, else 0, of shape (rows,).
        paired: Whether the second half of the passes mirrors the first.
    """
    passes, rank = values.shape[0], len(values.shape)
    weights = ops.ones((passes,)) if weights is None else weights
    weights = ops.cast(ops.reshape(weights, (passes,) + (1,) * (rank - 1)), values.dtype)
    before, active = (_over_rows(part, values[0]) for part in (before, active))
    added = ops.sum(weights)
    # Rows that have stopped take a share of 0 of what comes.
    share = active * added / (before + added)

    def average(block: Any) -> Any:
        return block[0] if passes == 1 else ops.sum(weights * block, axis=0) / added

    def towards(name: str, block: Any) -> Any:
        return figures[name] + share * (average(block) - figures[name])

    # From the first pass on: passes that are all the same then have a variance of exactly 0.
    center = values[0] + average(values - values[0]) if passes > 1 else values[0]
    gap = share * before * ops.square(center - figures["mean"])
    new = {**figures, "mean": figures["mean"] + share * (center - figures["mean"])}
    new["squares"] = figures["squares"] + gap
    if passes > 1:
        new["squares"] += active * ops.sum(weights * ops.square(values - center), axis=0)
    if paired:
        half = passes // 2
        pairs = (values[:half] + values[half:]) / 2
        # Half as many pairs as passes, so half the weight of the gap.
        spread = ops.sum(weights[:half] * ops.square(pairs - center), axis=0)
        new["pairs"] = figures["pairs"] + gap / 2 + active * spread
    if len(values.shape) > 2:
        new["entropy"] = towards("entropy", _entropy(values))
    if within is not None:
        new["within"] = towards("within", within)
    return new


def standard_error(figures: Figures, count: Any, paired: bool) -> Any:
    """The standard error of the mean, from the pairs where there are pairs; 0 for a single pass."""
    squares = figures["pairs" if paired else "squares"]
    units = _over_rows(count / 2 if paired else count, squares)
    return ops.sqrt(squares / ops.maximum(units - 1.0, 1e-30) / units)


def finish(figures: Figures, count: Any, paired: bool) -> Figures:
    """Mean, variance, the mean's standard error and the passes' mean entropy over the last axis."""
    entropy = figures["entropy"]
    return {
        "mean": figures["mean"],
        "variance": figures["squares"] / _over_rows(count, figures["mean"]) + figures["within"],
        "error": standard_error(figures, count, paired),
        "entropy": entropy[..., 0] if len(entropy.shape) > 1 else entropy,
    }


def _over_rows(values: Any, like: Any) -> Any:
    """One number for each row, in the type of `like` and with its rank."""
    return ops.reshape(ops.cast(values, like.dtype), (-1,) + (1,) * (len(like.shape) - 1))


def _entropy(y: Any) -> Any:
    """The entropy of probabilities along the last axis, kept as an axis of length 1; else of no meaning."""
    return -ops.sum(y * ops.log(ops.maximum(y, 1e-38)), axis=-1, keepdims=True)
