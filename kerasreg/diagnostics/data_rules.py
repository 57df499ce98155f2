"""What is wrong with the data, or with what a batch norm remembers of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from kerasreg.diagnostics.figures import InputFigures, NormFigures
from kerasreg.diagnostics.finding import Finding

# Inputs of this size or smaller start every layer far from where its initializer means it to be.
LARGE, SMALL = 10.0, 1e-2
# The largest standard deviation over the median one: features in units of their own.
SPREAD = 100.0
# In moving standard deviations, and as a logarithm; sampling adds to both.
SHIFT, RATIO = 0.75, math.log(2.5)


def judge_inputs(inputs: Iterable[InputFigures], first: Iterable[InputFigures]) -> Iterator[Finding]:
    """Inputs whose scale a network has to unlearn first.

    Args:
        inputs: The data as they came.
        first: What the first linear layers read: what a `Normalization` or `Rescaling` has put right there is
            no fault.
    """
    still = [row for row in first if _fault(row)]
    for row in inputs:
        fault = _fault(row)
        if fault and still:
            yield Finding(
                row.name,
                "unnormalized-input",
                "warning",
                f"Input '{row.name}': {fault}.",
                "Put kr.layers.Normalization() first and adapt it to the training data, or a "
                "keras.layers.Rescaling.",
            )


def judge_norms(norms: Iterable[NormFigures]) -> Iterator[Finding]:
    """Batch norms whose moving statistics are not those of the batch; a new layer's are not looked at."""
    for row in norms:
        if row.untouched:
            continue
        noise = 4.0 / math.sqrt(row.rows)
        if row.shift > SHIFT + noise or row.ratio > RATIO + math.sqrt(2.0) * noise:
            yield Finding(
                row.layer,
                "batch-norm-drift",
                "warning",
                f"BatchNormalization '{row.layer}': the batch's means are {row.shift:.2g} moving standard "
                f"deviations off, its variances by a factor of {math.exp(min(row.ratio, 80.0)):.2g}, over "
                f"{row.rows} rows.",
                "Run kr.reestimate(model, data) on training data, or lower its momentum; check that this "
                "batch is scaled as the training data were.",
            )


def _fault(row: InputFigures) -> str | None:
    if row.varying == 0:
        return "no feature varies from row to row"
    if row.rms > LARGE:
        return f"its numbers have an RMS of {row.rms:.3g}, where layers are made to read about 1"
    if row.rms < SMALL:
        return f"its numbers have an RMS of {row.rms:.2g} only"
    if row.offset > 0.5:
        return f"the mean of {row.offset:.0%} of its features is more than ten standard deviations from 0"
    if row.spread > SPREAD:
        return f"one feature's standard deviation is {row.spread:.0f} times that of the median one"
    return None
