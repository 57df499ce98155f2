"""Batch norms whose moving statistics are not those of the batches, and what that does to validation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training.facts import LayerFacts, Training
from kerasreg.diagnostics.training.window import Bound, Window, first_since, middle

# In the batch's standard deviations. Sampling alone makes sqrt(2 / n) of n rows: a half for a batch of 8.
# Averages that keep up stay under 0.4 in the healthy trainings of the tests, frozen ones reach 1.
DRIFT = Bound(alarm=1.0, clear=0.5)
# With a gap to explain, less is enough.
EXPLAINS = Bound(alarm=0.6, clear=0.4)
# How far the validation loss has to be above the training loss, in parts of it.
GAP = 0.5
# An exponential average forgets what it began with to 5 % in three time constants, 3 / (1 - momentum) steps.
TIME_CONSTANTS = 3.0


def judge_norms_in_training(
    window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Batch norms that will answer otherwise at inference than now, and the gap that this explains."""
    loss, validated = training.logs.get("loss", math.nan), training.logs.get("val_loss")
    if validated is not None and math.isnan(validated):
        validated = None
    gap = validated is not None and validated > loss + GAP * abs(loss)
    for layer in window.layers:
        drift = window.held(layer, "batch_norm_drift")
        bound = EXPLAINS if gap else DRIFT
        since = bound.since(drift, (layer, "batch-norm-drift") in standing)
        if since is None or (validated is not None and not gap):
            continue
        since = first_since(window.series(layer, "batch_norm_drift"), bound.alarm)
        yield _drift(layer, drift, since, gap, window, training)


def _drift(
    layer: str, drift: list[tuple[int, float]], since: int, gap: bool, window: Window, training: Training
) -> Finding:
    facts = training.of(layer) or LayerFacts(type="BatchNormalization")
    momentum = facts.momentum
    now = middle(v for _, v in drift)
    what = (
        f"{training.called(layer)}: its moving statistics are {now:.1f} standard deviations off those of the "
        f"batches, {window.span(since)}"
    )
    if gap:
        loss, validated = training.logs["loss"], training.logs["val_loss"]
        what += (
            f"; validation uses the moving ones, which explains its loss of {validated:.3g} beside "
            f"{loss:.3g} in training"
        )
    else:
        what += "; the model will answer otherwise at inference than it does now"
    steps = window.steps[-1] - training.first_step + 1
    if momentum is not None and momentum >= 1.0:
        return Finding(
            layer,
            "batch-norm-drift",
            "warning",
            f"{what}. With momentum={momentum:g} they never move.",
            f"Give it momentum={_quicker(steps)}, or run kr.reestimate(model, data) on what is trained.",
            since,
        )
    needed = TIME_CONSTANTS / (1.0 - momentum) if momentum is not None else 0.0
    if facts.fresh and steps < needed:
        return Finding(
            layer,
            "batch-norm-drift",
            "note",
            f"{what}. They have had {steps} steps; with momentum={momentum:g} they need about {needed:.0f}.",
            f"Wait until then, or lower its momentum to {_quicker(steps)} for so short a training.",
            since,
        )
    return Finding(
        layer,
        "batch-norm-drift",
        "warning",
        f"{what}.",
        "Run kr.reestimate(model, data) on training data, or lower its momentum"
        + (f" from {momentum:g}" if momentum is not None else "")
        + "; check that its statistics are updated and that the data come shuffled.",
        since,
    )


def _quicker(steps: int) -> str:
    # 0.99 is Keras' own. Rounded down: to round 0.985 up would name what is there already.
    momentum = max(0.5, min(0.99, 1.0 - TIME_CONSTANTS / max(steps, 1)))
    return f"{math.floor(100.0 * momentum + 1e-9) / 100.0:g}"
