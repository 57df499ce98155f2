"""From the figures of a training's steps to what is wrong, in words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from kerasreg.diagnostics.finding import Finding

# Share of zeros from which a layer hands on next to nothing. A healthy ReLU has half; sparse ones 0.9.
DEAD_SHARE = 0.99
# An alarm from fewer observed steps would be one odd batch's.
FEWEST_STEPS = 2
# The root mean square outside which float16 and the default epsilons of optimisers and norms lose the signal.
VANISHED, EXPLODED = 1e-4, 1e4


def judge_activations(rows: Iterable[dict[str, Any]]) -> list[Finding]:
    """What is wrong with each layer throughout a window of observed steps.

    A figure has to be out of bounds in every observed step of the window, so that one odd batch raises no
    alarm and at least two steps are needed; a value that is not finite is an error the first time.

    Args:
        rows: Dicts with `step`, `layer`, `rms` and `zeros`, as `ActivationStats.history` holds them.

    Returns:
        At most one finding a layer, in the order of the layers.

    Example:
        >>> rows = [{"step": s, "layer": "relu", "mean": 0.0, "rms": 0.01, "zeros": 0.999} for s in (0, 10)]
        >>> [finding.code for finding in judge_activations(rows)]
        ['dead-units']
    """
    by_layer: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_layer[row["layer"]].append(row)
    findings = (_judge(layer, seen) for layer, seen in by_layer.items())
    return [finding for finding in findings if finding is not None]


def _judge(layer: str, seen: list[dict[str, Any]]) -> Finding | None:
    span = f"in all {len(seen)} steps observed since step {seen[0]['step']}"
    broken = next((row for row in seen if not math.isfinite(row["rms"])), None)
    if broken is not None:
        return Finding(
            layer,
            "non-finite",
            "error",
            f"The output holds NaN or infinity at step {broken['step']}.",
            "Lower the learning rate, and look for NaN in the data.",
        )
    if len(seen) < FEWEST_STEPS:
        return None
    if all(row["zeros"] >= DEAD_SHARE for row in seen):
        least = min(row["zeros"] for row in seen)
        return Finding(
            layer,
            "dead-units",
            "warning",
            f"At least {least:.1%} of the outputs are 0 {span}.",
            "Lower the learning rate, and initialise with kerasreg.initializers.Calibrated('relu').",
        )
    largest, smallest = max(row["rms"] for row in seen), min(row["rms"] for row in seen)
    if largest < VANISHED:
        return Finding(
            layer,
            "vanishing-signal",
            "warning",
            f"The output's RMS stays below {largest:.1e} {span}.",
            "Initialise with kerasreg.initializers.Calibrated, or put a BatchNormalization before it.",
        )
    if smallest > EXPLODED:
        return Finding(
            layer,
            "exploding-signal",
            "warning",
            f"The output's RMS stays above {smallest:.1e} {span}.",
            "Normalise the input, and initialise with kerasreg.initializers.Calibrated.",
        )
    return None
