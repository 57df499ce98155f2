"""From the figures of a training's steps to what is wrong, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training.facts import Training
from kerasreg.diagnostics.training.flow import judge_gradient_in_training, judge_signal_in_training
from kerasreg.diagnostics.training.nonfinite import judge_nonfinite
from kerasreg.diagnostics.training.norms import judge_norms_in_training
from kerasreg.diagnostics.training.start import judge_start
from kerasreg.diagnostics.training.units import judge_dead, judge_saturated
from kerasreg.diagnostics.training.updates import advised_rate, judge_updates
from kerasreg.diagnostics.training.window import FEWEST_STEPS, Window

__all__ = ["FEWEST_STEPS", "judge_activations"]

# Behind a layer with one of these nothing of the input is left to be judged.
_NOTHING_PASSES = ("zero-kernel", "dead-units", "vanishing-signal")


def judge_activations(
    rows: Iterable[dict[str, Any]],
    training: Training | None = None,
    standing: Collection[tuple[str, str]] = (),
) -> list[Finding]:
    """What is wrong with a training throughout a window of observed steps.

    A figure has to be out of bounds in every step of the second half of the window, three at the least, so
    that no odd batch raises an alarm; a value that is not finite is an error the first time. What follows
    from a fault that was already named, behind a dead layer or after NaN, is not said again.

    Args:
        rows: Dicts with `step`, `layer` and figures, as `ActivationStats.history` holds them.
        training: What is known beside them; without it the rules that need more rest.
        standing: (layer, code) of the findings that stand: they go when a figure is clearly better.

    Returns:
        The findings, errors first, else in the order of the layers.

    Example:
        >>> rows = [{"step": s, "layer": "relu", "rms": 0.01, "zeros": 0.999, "dead": 0.99} for s in range(5)]
        >>> [finding.code for finding in judge_activations(rows)]
        ['dead-units']
    """
    window, training = Window(rows), training or Training()
    training = replace(training, advised=advised_rate(window, training))
    broken = list(judge_nonfinite(window, training))
    if not window.enough:
        return broken
    start = list(judge_start(training))
    if any(finding.severity == "error" for finding in broken):
        # What broke once is broken everywhere soon after: where it began has been said.
        known = [layer for layer, code in standing if code == "non-finite"]
        broken = [replace(broken[0], layer=known[0])] if known else broken
        return [*(f for f in start if f.code == "unnormalized-input"), *broken]
    found = [*start, *broken]
    found += _unless_told(judge_dead(window, training, standing), found, window)
    found += _unless_told(judge_saturated(window, training, standing), found, window)
    found += _unless_told(judge_signal_in_training(window, training, standing), found, window)
    codes = {finding.code for finding in found}
    # A signal that is lost on its way takes the gradient with it, and large inputs make large gradients.
    if not codes & {*_NOTHING_PASSES, "exploding-signal"}:
        gradients = judge_gradient_in_training(window, training, standing)
        found += [
            finding
            for finding in gradients
            if finding.code == "vanishing-gradient" or "unnormalized-input" not in codes
        ]
    found += judge_updates(window, training, standing)
    found += judge_norms_in_training(window, training, standing)
    rank = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: rank[finding.severity])


def _unless_told(new: Iterable[Finding], told: list[Finding], window: Window) -> list[Finding]:
    """Without what only follows from a fault that was named at that layer or before it."""
    order = {layer: i for i, layer in enumerate(window.layers)}
    at = {
        finding.layer for finding in told if finding.code in ("zero-kernel", "symmetric-units", "dead-units")
    }
    ends = [
        order[layer]
        for finding in told
        if finding.severity == "error" and finding.code in _NOTHING_PASSES
        for layer in (finding.layer, finding.layer.rpartition("/")[0])
        if layer in order
    ]
    kept: list[Finding] = []
    for finding in new:
        place = order.get(finding.layer, 0)
        if finding.layer in at or any(place >= end for end in ends):
            continue
        if finding.severity == "error" and finding.code in _NOTHING_PASSES:
            ends.append(place)
        kept.append(finding)
    return kept
