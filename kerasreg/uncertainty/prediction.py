"""What a sampled prediction says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kerasreg.uncertainty.entropy import are_probabilities, entropy


@dataclass(frozen=True)
class Prediction:
    """The moments of a model's output over random passes.

    Attributes:
        mean: The average output, of the output's shape (rows, ...).
        variance: The population variance over the passes, of the same shape.
        samples_used: How many passes each row took, of shape (rows,).
        samples: Every pass, of shape (passes, rows, ...), where it was asked for; else None.
    """

    mean: np.ndarray
    variance: np.ndarray
    samples_used: np.ndarray
    samples: np.ndarray | None = None
    _mean_entropy: np.ndarray | None = field(default=None, repr=False)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation over the passes."""
        return np.sqrt(self.variance)

    @property
    def entropy(self) -> np.ndarray:
        """H(E[p]) in nats, the whole doubt about each row's class."""
        self._need_probabilities("entropy")
        return entropy(self.mean)

    @property
    def expected_entropy(self) -> np.ndarray:
        """E[H(p)] in nats, the doubt that the data leave."""
        self._need_probabilities("expected_entropy")
        return self._mean_entropy

    @property
    def mutual_information(self) -> np.ndarray:
        """H(E[p]) - E[H(p)] in nats, at least 0: the doubt of the weights."""
        return np.maximum(self.entropy - self.expected_entropy, 0.0)

    def __len__(self) -> int:
        return len(self.mean)

    def _need_probabilities(self, figure: str) -> None:
        if self._mean_entropy is None or not are_probabilities(self.mean):
            raise ValueError(
                f"Prediction.{figure} needs class probabilities along the last axis of the output, got "
                f"values from {self.mean.min():.3g} to {self.mean.max():.3g} of shape {self.mean.shape}; "
                "put a softmax behind the model."
            )
