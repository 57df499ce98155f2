"""Moments over augmented views, each of which may hold several passes with dropout and miss some pixels."""

from __future__ import annotations

import numpy as np

from kerasreg.uncertainty.entropy import entropy

Figures = dict[str, np.ndarray]


class ViewMoments:
    """Streams views, and splits their variance by its source.

    With V views of T passes each, the population variance over all V T of them falls into that of the views'
    means and the mean of that within the views, B + W, by the law of total variance. Of the noise within,
    W T / (T - 1) is the unbiased estimate; B holds a T-th of it, because a mean of T passes is noisy itself.
    What is left of B + W is the augmentation's.
    """

    def __init__(self) -> None:
        self._passes = 0
        self._votes: np.ndarray | None = None
        self._figures: Figures = {}

    def add(self, passes: np.ndarray, counts: np.ndarray | None = None) -> None:
        """One view more.

        Args:
            passes: Of shape (passes, rows, ...).
            counts: Which pixels the view says something about, of shape (rows, height, width) for passes of
                shape (passes, rows, height, width, channels); None for all.
        """
        # Differences from the first pass: passes that are all the same then have a variance of exactly 0.
        apart = passes - passes[0]
        mean, within = passes[0] + apart.mean(axis=0), apart.var(axis=0)
        if not self._figures:
            self._passes = len(passes)
            zeros = np.zeros_like(mean)
            # One number for each row where there is nothing to take an entropy along.
            along = zeros[..., 0] if zeros.ndim > 1 else zeros
            self._figures = {"mean": zeros, "squares": zeros, "within": zeros, "entropy": along}
            self._votes = np.zeros(len(mean) if counts is None else counts.shape, mean.dtype)
        old = self._figures
        doubt = entropy(passes).mean(axis=0).astype(mean.dtype) if passes.ndim > 2 else old["entropy"]
        self._votes = self._votes + (1 if counts is None else counts)
        # Pixels that no view has shown yet are divided by 1, and take nothing.
        share = (1 if counts is None else counts) / np.maximum(self._votes, 1)
        step = _like(share, mean) * (mean - old["mean"])
        left_over = mean - old["mean"] - step
        self._figures = {
            "mean": old["mean"] + step,
            "squares": old["squares"] + _like(share > 0, mean) * (mean - old["mean"]) * left_over,
            "within": old["within"] + _like(share, mean) * (within - old["within"]),
            "entropy": old["entropy"] + _like(share, doubt) * (doubt - old["entropy"]),
        }

    def finish(self) -> Figures:
        """Mean, variance and its parts, the mean's standard error, the passes' mean entropy, and the votes.

        The views are the independent units that the standard error counts, and it is infinite where there is
        but one.
        """
        found, votes = self._figures, _like(self._votes, self._figures["mean"])
        variance = found["squares"] / votes + found["within"]
        dropout = found["within"] * (self._passes / max(self._passes - 1, 1))
        dropout = np.minimum(dropout, variance)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(found["squares"] / (votes - 1) / votes)
        return {
            "mean": found["mean"],
            "variance": variance,
            "augmentation": variance - dropout,
            "dropout": dropout,
            "error": np.where(votes > 1, error, np.inf).astype(variance.dtype),
            "entropy": found["entropy"],
            "votes": self._votes.astype("int64"),
        }


def _like(figure: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A figure of rows or of pixels with as many axes as `like`, in its type."""
    figure = np.asarray(figure, like.dtype)
    return figure.reshape(*figure.shape, *(1,) * (like.ndim - figure.ndim))
