"""What a sampled prediction says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from kerasreg._core.classes import are_probabilities
from kerasreg.uncertainty.entropy import entropy


@dataclass(frozen=True)
class Prediction:
    """The moments of a model's output over random passes.

    For a model with several outputs, each figure but `samples_used` has the structure of the outputs, and
    `prediction[key]` is the prediction of one of them.

    Attributes:
        mean: The average output, of the output's shape (rows, ...).
        variance: The population variance over the passes, of the same shape.
        samples_used: How many passes each row took, of shape (rows,); 0 where the moments are exact.
        samples: Every pass, of shape (passes, rows, ...), where it was asked for; else None.
        standard_error: The standard error of `mean`, of its shape.
        method: `"prefix"`: what no noise reaches was computed once for each batch. `"whole"`: every pass
            computed all. `"exact"`: in closed form, without passes. `"views"`: of augmented views.
        prefix: The layers that were computed once for each batch, a layer that holds others by itself alone.
        tail: The layers that every pass computed, the stochastic ones among them.
        variance_of: The variance's parts by source, where there are several.
        votes: How many views each pixel was averaged over, of shape (rows, height, width), after
            `tta_predict(dense=True)`; of an output without pixels, each row.
    """

    mean: Any
    variance: Any
    samples_used: np.ndarray
    samples: Any = None
    standard_error: Any = None
    method: str = "whole"
    prefix: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    variance_of: dict[str, Any] | None = None
    votes: Any = None
    _mean_entropy: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        """One line for each output: how much, by how many passes, how sure; `repr` shows the figures.

        Example:
            >>> print(Prediction(np.zeros((2, 3)), np.ones((2, 3)), np.array([50, 50])))
            mean (2, 3), 50 passes a row, method whole, std 1 to 1
        """
        used = sorted({int(end(self.samples_used)) for end in (np.min, np.max) if len(self)})
        passes = f"{' to '.join(map(str, used))} passes a row, method {self.method}"
        return "\n".join(
            f"mean {mean.shape}, {passes}" + (f", std {std.min():.3g} to {std.max():.3g}" if std.size else "")
            for mean, std in zip(keras.tree.flatten(self.mean), keras.tree.flatten(self.std), strict=True)
        )

    @property
    def std(self) -> Any:
        """The standard deviation over the passes."""
        return keras.tree.map_structure(np.sqrt, self.variance)

    @property
    def entropy(self) -> Any:
        """H(E[p]) in nats, the whole doubt about each row's class; None for an output without classes."""
        return self._of_classes("entropy", lambda mean, expected: entropy(mean))

    @property
    def expected_entropy(self) -> Any:
        """E[H(p)] in nats, the doubt that the data leave."""
        return self._of_classes("expected_entropy", lambda mean, expected: expected)

    @property
    def mutual_information(self) -> Any:
        """H(E[p]) - E[H(p)] in nats, at least 0: the doubt of the weights."""
        # Jensen's inequality holds for the numbers, up to their rounding.
        return self._of_classes(
            "mutual_information", lambda mean, expected: np.maximum(entropy(mean) - expected, 0.0)
        )

    def __len__(self) -> int:
        return len(self.samples_used)

    def __getitem__(self, key: Any) -> Prediction:
        """The prediction of one of several outputs, by its name or number."""
        if not isinstance(self.mean, dict | list | tuple):
            raise KeyError(f"The model has one output, got {key!r}; use the prediction itself.")
        figures = ("mean", "variance", "samples", "standard_error", "votes", "_mean_entropy")
        of_one = {name: getattr(self, name)[key] for name in figures if getattr(self, name) is not None}
        parts = self.variance_of and {source: part[key] for source, part in self.variance_of.items()}
        return replace(self, **of_one, variance_of=parts)

    def _of_classes(self, figure: str, formula: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
        if self._mean_entropy is not None:
            means, entropies = (keras.tree.flatten(part) for part in (self.mean, self._mean_entropy))
            found = [
                formula(mean, expected) if mean.ndim > 1 and are_probabilities(mean) else None
                for mean, expected in zip(means, entropies, strict=True)
            ]
            if any(part is not None for part in found):
                return keras.tree.pack_sequence_as(self.mean, found)
        shown = "; ".join(
            f"values from {mean.min():.3g} to {mean.max():.3g} of shape {mean.shape}"
            for mean in keras.tree.flatten(self.mean)
        )
        raise ValueError(
            f"Prediction.{figure} needs class probabilities along the last axis of the output, got {shown}; "
            "put a softmax behind the model."
        )
