"""How likely a regression's targets are under the passes of a network with dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kerasreg._core.arguments import Came, integer, number, refusal
from kerasreg._core.classes import as_floats
from kerasreg.uncertainty.proper_scores import log_normalizer


def gaussian_mixture_log_likelihood(y_true: Any, samples: Any, tau: float) -> float:
    """The mean log likelihood of targets under a mixture of Gaussians, one around each pass.

    log p(y_n) = log 1/T sum_t N(y_n; f_t(x_n), I / tau)
               = logsumexp_t(-tau/2 ||y_n - f_t(x_n)||^2) - log T - D/2 log(2 pi) + D/2 log tau

    Args:
        y_true: Targets of shape (rows,) or (rows, ...), of D numbers a row.
        samples: The T passes, of shape (T, rows) or (T, rows, ...): what
            `mc_predict(..., return_samples=True).samples` holds.
        tau: The precision 1 / sigma^2 of the noise in the targets, above 0; see `model_precision`.

    Returns:
        Nats for each row, averaged over the rows; more is better.

    Raises:
        ValueError: If shapes differ, a number is not finite, or `tau` is not above 0.

    Source:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", 2016, section 4.

    Example:
        >>> passes = [[[0.0]], [[1.0]]]  # two passes, one row, one number
        >>> round(gaussian_mixture_log_likelihood([[0.0]], passes, tau=4.0), 4)
        -0.792
    """
    owner = "gaussian_mixture_log_likelihood"
    tau = number(owner, "tau", tau, 0, open_low=True)
    y = as_floats(owner, "y_true", y_true, "targets").astype("float64")
    passes = as_floats(owner, "samples", samples, "passes").astype("float64")
    if passes.ndim < 2 or passes.size == 0:
        allowed = "passes of shape (samples, rows, ...)"
        remedy = "give mc_predict return_samples=True"
        raise refusal(owner, "samples", allowed, Came(f"shape {passes.shape}"), remedy)
    of_pass = passes.shape[1:]
    # One number a row is one number a row, with an axis of its own or without.
    if of_pass not in (y.shape, (*y.shape, 1)) and y.shape != (*of_pass, 1):
        raise refusal(owner, "y_true", f"targets of shape {of_pass}, as each pass", Came(f"shape {y.shape}"))
    count, rows = passes.shape[:2]
    gaps = passes.reshape(count, rows, -1) - y.reshape(1, rows, -1)
    numbers = gaps.shape[2]
    mixed = log_normalizer(-tau / 2 * np.square(gaps).sum(axis=2).T)
    constant = -math.log(count) - numbers / 2 * math.log(2 * math.pi) + numbers / 2 * math.log(tau)
    return float(np.mean(mixed) + constant)


def model_precision(rate: float, length_scale: float, num_examples: int, weight_decay: float) -> float:
    """Gal's tau = (1 - p) l^2 / (2 N lambda), the noise's precision that a weight decay stands for.

    Args:
        rate: p, the rate of the dropout, in [0, 1).
        length_scale: l of the weights' prior, above 0.
        num_examples: N, the number of training rows.
        weight_decay: lambda, the strength of the L2 penalty of each weight, beside half the mean squared
            error, above 0.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", 2016, section 4.

    Example:
        >>> round(model_precision(rate=0.5, length_scale=0.1, num_examples=100, weight_decay=1e-5), 9)
        2.5
    """
    owner = "model_precision"
    rate = number(owner, "rate", rate, 0, 1, open_high=True)
    length_scale = number(owner, "length_scale", length_scale, 0, open_low=True)
    num_examples = integer(owner, "num_examples", num_examples, low=1)
    weight_decay = number(owner, "weight_decay", weight_decay, 0, open_low=True)
    return (1 - rate) * length_scale**2 / (2 * num_examples * weight_decay)
