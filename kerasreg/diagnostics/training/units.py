"""Units that have fallen silent, units that are falling silent, and activations at their bounds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training.facts import LayerFacts, Training
from kerasreg.diagnostics.training.window import Bound, Window, first_since

# A unit is dead that was 0 on every row of every observed step: a healthy rectifier is 0 on half of its rows.
# Amazon SageMaker Debugger's DeadRelu alarms when over half of a layer's units are inactive (its
# threshold_layer, 50 %), DeepDiagnosis (Wardat et al., ICSE 2022) at 70 %. A few units can be dead by chance,
# the more so the narrower the layer: hence half, and one in the root of the width above that.
HALF, SURE = 0.5, 1.0
# How far below its alarm a share has to fall to be all right again.
BETTER = 0.1
# Beside whole dead units, what next to no row gets through: SageMaker calls under 1 % activity inactive.
SILENT = Bound(alarm=0.99, clear=0.95)
# Dying: a share well on the way there that has grown by this much since the first window.
DYING, GREW = 0.3, 0.15
# The share of outputs within 1 % of a bound; half, as in `kr.check`. Glorot and Bengio (AISTATS 2010, section
# 3.1) show how layers of sigmoids stop to learn there.
SATURATED = Bound(alarm=0.5, clear=0.4)


def judge_dead(
    window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Rectifiers with too many silent units, at the first layer where all of them are."""
    for layer in window.layers:
        facts = training.of(layer)
        if facts is not None and (not facts.rectifier or facts.output):
            continue
        dead = window.series(layer, "dead")
        zeros = window.held(layer, "zeros")
        was = (layer, "dead-units") in standing
        share = dead[-1][1] if len(dead) >= 3 else 0.0
        alarm = _alarm(facts)
        since = SILENT.since(zeros, was) if facts is not None or dead else None
        if facts is None and not dead:
            since = SILENT.since(zeros, was)
        if share >= (alarm - BETTER if was else alarm):
            # What is silent through a whole window has been so since the window began.
            yield _dead(layer, share, dead[0][0], len(dead), facts, training)
        elif since is not None:
            since = first_since(window.series(layer, "zeros"), SILENT.alarm)
            yield _silent(layer, min(v for _, v in zeros), window.span(since), since, facts, training)
        elif _is_dying(layer, share, len(dead), training, (layer, "dying-units") in standing):
            yield _dying(layer, share, dead[-1][0], training)


def judge_saturated(
    window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Hidden layers whose bounded activation spends most of its time where it is flat."""
    for layer in window.layers:
        facts = training.of(layer)
        if facts is not None and (not facts.bounded or facts.output):
            continue
        share = window.held(layer, "saturated")
        since = SATURATED.since(share, (layer, "saturated-units") in standing)
        if since is None:
            continue
        since = first_since(window.series(layer, "saturated"), SATURATED.alarm)
        lowest = min(value for _, value in share)
        at_start = training.first.get(layer, {}).get("saturated")
        grown = at_start is not None and at_start < SATURATED.clear
        if grown:
            story = f"it was {at_start:.0%} at step {training.first_step}, so training brought it there"
            remedy = f"{training.lower_rate()}, or put a BatchNormalization before the activation."
        else:
            story = "no gradient comes through there"
            remedy = (
                f"Use {training.remedy(layer)}, or normalise what the layer reads (kr.layers."
                "Normalization on data, BatchNormalization inside)."
            )
        yield Finding(
            layer,
            "saturated-units",
            "warning",
            f"{training.called(layer)}: at least {lowest:.0%} of its outputs are within 1 % of the bounds of "
            f"its activation {window.span(since)}; {story}.",
            remedy,
            since,
        )


def _alarm(facts: LayerFacts | None) -> float:
    units = facts.units if facts else 0
    return 0.7 if not units else min(SURE, HALF + 1.0 / math.sqrt(units))


def _cure(facts: LayerFacts | None, training: Training, layer: str, from_start: bool) -> str:
    if facts is not None and facts.penalised:
        return "If its penalty silenced them on purpose, take them out with kr.shrink(model); else lower it."
    if from_start:
        return f"Start its biases at 0 and use {training.remedy(layer)}."
    return (
        f"{training.lower_rate()}; if they still die, use activation='leaky_relu', and a "
        "BatchNormalization before it."
    )


def _dead(
    layer: str, share: float, since: int, count: int, facts: LayerFacts | None, training: Training
) -> Finding:
    units = facts.units if facts else 0
    who = f"{round(share * units)} of its {units} units" if units else f"{share:.0%} of its units"
    whole = share > 0.999
    if whole:
        who = f"all of its {units} units" if units else "all of its units"
    from_start = since <= training.first_step
    tail = "; nothing of the input gets past it, and no gradient comes back" if whole else ""
    return Finding(
        layer,
        "dead-units",
        "error" if whole else "warning",
        f"{training.called(layer)}: {who} have been 0 on every row of the {count} steps observed since step "
        f"{since}{tail}.",
        _cure(facts, training, layer, from_start),
        since,
    )


def _silent(
    layer: str, least: float, span: str, since: int, facts: LayerFacts | None, training: Training
) -> Finding:
    return Finding(
        layer,
        "dead-units",
        "warning",
        f"{training.called(layer)}: at least {least:.1%} of its outputs are 0 {span}.",
        _cure(facts, training, layer, since <= training.first_step),
        since,
    )


def _is_dying(layer: str, share: float, count: int, training: Training, standing: bool) -> bool:
    before = training.first_dead.get(layer)
    # The fewer steps a window has, the more units are silent through all of it by chance.
    if before is None or count < training.first_window:
        return False
    slack = BETTER if standing else 0.0
    return share >= DYING - slack and share >= before + GREW - slack


def _dying(layer: str, share: float, step: int, training: Training) -> Finding:
    before = training.first_dead[layer]
    return Finding(
        layer,
        "dying-units",
        "warning",
        f"{training.called(layer)}: {share:.0%} of its units are dead by step {step}, up from {before:.0%} "
        "in the first window; they do not come back by themselves.",
        f"{training.lower_rate(3.0)}, or use activation='leaky_relu'.",
        step,
    )
