"""How unsure class probabilities are, and where the doubt comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.classes import are_probabilities


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats over the last axis, H(p) = -sum_k p_k log p_k, with 0 log 0 = 0."""
    p = np.asarray(probabilities, dtype="float64")
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0), axis=-1)


def predictive_entropy(samples: Any) -> np.ndarray:
    """The entropy of the averaged prediction, H(E[p]): all doubt together.

    Args:
        samples: Class probabilities of shape (samples, ..., classes).

    Returns:
        Nats, of shape (...).

    Raises:
        ValueError: If the last axis does not hold class probabilities.

    Example:
        >>> bool(np.isclose(predictive_entropy([[[1.0, 0.0]], [[0.0, 1.0]]])[0], np.log(2)))
        True
    """
    return entropy(_checked("predictive_entropy", samples).mean(axis=0))


def expected_entropy(samples: Any) -> np.ndarray:
    """The average entropy of the samples, E[H(p)]: the doubt that the data leave (aleatoric).

    Args:
        samples: Class probabilities of shape (samples, ..., classes).

    Returns:
        Nats, of shape (...).

    Raises:
        ValueError: If the last axis does not hold class probabilities.

    Example:
        >>> float(abs(expected_entropy([[[1.0, 0.0]], [[0.0, 1.0]]])[0]))
        0.0
    """
    return entropy(_checked("expected_entropy", samples)).mean(axis=0)


def mutual_information(samples: Any) -> np.ndarray:
    """H(E[p]) - E[H(p)]: the doubt of the weights, which more data would remove (epistemic).

    Args:
        samples: Class probabilities of shape (samples, ..., classes).

    Returns:
        Nats, of shape (...), at least 0.

    Raises:
        ValueError: If the last axis does not hold class probabilities.

    Source:
        Houlsby et al., "Bayesian Active Learning for Classification and Preference Learning", 2011.

    Example:
        >>> bool(np.isclose(mutual_information([[[1.0, 0.0]], [[0.0, 1.0]]])[0], np.log(2)))
        True
    """
    # Jensen's inequality holds for the numbers, up to their rounding.
    return np.maximum(predictive_entropy(samples) - expected_entropy(samples), 0.0)


def _checked(owner: str, samples: Any) -> np.ndarray:
    try:
        samples = np.asarray(samples, dtype="float64")
    except (TypeError, ValueError) as error:
        came = Came(f"a {type(samples).__name__}")
        raise refusal(owner, "samples", "class probabilities in an array of numbers", came) from error
    if samples.ndim < 2 or samples.shape[0] == 0 or not are_probabilities(samples):
        allowed = "class probabilities of shape (samples, ..., classes) with sums of 1"
        raise refusal(owner, "samples", allowed, Came(f"shape {samples.shape}, sums {_sums(samples)}"))
    return samples


def _sums(samples: np.ndarray) -> str:
    if samples.ndim == 0 or samples.size == 0:
        return "of nothing"
    sums = samples.sum(axis=-1)
    return f"from {sums.min():.3g} to {sums.max():.3g}"
