"""How far one step moves the weights, and the learning rate to try."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training.facts import Training, rounded
from kerasreg.diagnostics.training.window import Bound, Window, first_since, middle

# Norm of the update over norm of the weights: about 1e-3 by the rule of thumb of Stanford's CS231n (notes
# "Neural Networks Part 3", section "Ratio of weights:updates").
USUAL = 1e-3
# Adam's first step is as long as the rate, whatever the gradient; later ones are a fifth of it or less.
FIRST = 5 * USUAL
# A hundred times more in every layer's every step: ten steps replace all that a layer knew.
TOO_LARGE = Bound(alarm=100 * USUAL, clear=30 * USUAL)
# Updates of weights that have grown with them look small again: those of Adam stay as large as the rate is.
OUTGROWN = 2.0
# As 1 / ratio. A hundred times less: at this pace it takes a hundred thousand steps in one direction.
TOO_SMALL = Bound(alarm=100 / USUAL, clear=30 / USUAL)
# Weights whose gradient is this much smaller than they are get small updates at any sane rate.
NO_GRADIENT = 1e-4
# A schedule that has come down this far means to end.
DECAYED = 0.1


def judge_updates(
    window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Updates far from a thousandth of the weights, with the learning rate that would bring them there."""
    ratios = {
        layer: held
        for layer in window.layers
        if ":" not in layer and _judged(training, layer) and (held := window.held(layer, "update_ratio"))
    }
    if not ratios:
        return
    usual = {layer: middle(v for _, v in held) for layer, held in ratios.items()}
    was = any(code == "updates-too-large" for _, code in standing)
    large = [layer for layer, held in ratios.items() if TOO_LARGE.since(held, was) is not None]
    # One layer alone may be small on purpose, as one that starts at zero is.
    if large and 2 * len(large) >= len(ratios):
        yield _large(large, ratios, usual, window, training)
        return
    blown = {layer: grown for layer in ratios if (grown := _blown_up(layer, window, training)) is not None}
    if blown and 2 * len(blown) >= len(ratios):
        yield _blown(blown, ratios, window, training)
        return
    was = any(code == "updates-too-small" for _, code in standing)
    small = all(
        TOO_SMALL.since([(s, 1 / max(v, 1e-30)) for s, v in held], was) is not None
        for held in ratios.values()
    )
    if small and not training.learning and not _decayed(training) and _has_gradient(window, ratios):
        yield _small(usual, window, training)


def advised_rate(window: Window, training: Training) -> float | None:
    """The learning rate with which updates would be about a thousandth, where they are far more."""
    layers = [layer for layer in window.layers if _judged(training, layer)]
    ratios = [middle(v for _, v in held) for layer in layers if (held := window.held(layer, "update_ratio"))]
    first = [
        ratio
        for layer in layers
        if _blown_up(layer, window, training) and (ratio := training.first[layer]["update_ratio"])
    ]
    factor = max([middle(ratios), *([middle(first)] if 2 * len(first) >= len(ratios) and first else [])])
    if not training.rate or not factor >= TOO_LARGE.alarm:
        return None
    usual = USUAL if middle(ratios) >= TOO_LARGE.alarm else FIRST
    return training.rate * usual / factor


def _blown_up(layer: str, window: Window, training: Training) -> float | None:
    """By how much a layer's weights have grown since a first step that was too large for them."""
    first = training.first.get(layer, {})
    before, now = first.get("weight_norm"), window.held(layer, "weight_norm")
    if not before or not now or not first.get("update_ratio", 0.0) >= TOO_LARGE.alarm:
        return None
    grown = now[-1][1] / before
    return grown if grown >= OUTGROWN else None


def _judged(training: Training, layer: str) -> bool:
    facts = training.of(layer)
    return facts is None or facts.weighted


def _decayed(training: Training) -> bool:
    if not training.rate or not training.largest_rate:
        return False
    return training.rate < DECAYED * training.largest_rate


def _has_gradient(window: Window, layers: Collection[str]) -> bool:
    return all(size >= NO_GRADIENT for size in _sizes(window, layers))


def _sizes(window: Window, layers: Collection[str]) -> list[float]:
    """Each layer's gradient against its weights."""
    found = []
    for layer in layers:
        weights = middle(v for _, v in window.held(layer, "weight_norm"))
        gradient = middle(v for _, v in window.held(layer, "gradient_norm"))
        if weights > 0:
            found.append(gradient / weights)
    return found


def _large(
    large: list[str], ratios: dict, usual: dict[str, float], window: Window, training: Training
) -> Finding:
    worst = max(large, key=usual.__getitem__)
    since = max(first_since(ratios[layer], TOO_LARGE.alarm) for layer in large)
    factor = middle(usual[layer] for layer in large) / USUAL
    return Finding(
        worst,
        "updates-too-large",
        "warning",
        f"Each step changes the weights of {_how_many(large, ratios)} by {_percent(usual, large)} of their "
        f"size {window.span(since)}, most of all those of '{worst}'; about 0.1 % is usual.",
        f"{_to_try(training, factor)}.",
        since,
    )


def _blown(blown: dict[str, float], ratios: dict, window: Window, training: Training) -> Finding:
    worst = max(blown, key=blown.__getitem__)
    first = {layer: training.first[layer]["update_ratio"] for layer in blown}
    factor = middle(first.values()) / FIRST
    return Finding(
        worst,
        "updates-too-large",
        "warning",
        f"At step {training.first_step} the weights of {_how_many(list(blown), ratios)} changed by "
        f"{_percent(first, list(blown))} of their size, where 0.5 % is already much, and by step "
        f"{window.steps[-1]} they have grown {blown[worst]:.1f} times as large in '{worst}': what they "
        "began with is gone.",
        f"{_to_try(training, factor)}.",
        training.first_step,
    )


def _small(usual: dict[str, float], window: Window, training: Training) -> Finding:
    first = next(iter(usual))
    typical = middle(usual.values())
    since = window.steps[0]
    share = f"by a share of {typical:.0e} only"
    if typical == 0:
        # What is lost to rounding is known from what gradient descent would have done.
        share = "by less than their last digit"
        typical = (training.rate or 0.0) * middle(_sizes(window, usual)) or 1e-9
    return Finding(
        first,
        "updates-too-small",
        "warning",
        f"A step changes the weights {share}, where a share of 1e-3 is usual, and the loss has not moved "
        f"since step {since}.",
        f"{_to_try(training, typical / USUAL)}.",
        since,
    )


def _to_try(training: Training, factor: float) -> str:
    """Updates go with the learning rate, for Adam exactly and for gradient descent while the loss stays."""
    if not training.rate:
        verb = "Divide" if factor > 1 else "Multiply"
        return f"{verb} the learning rate by {rounded(max(factor, 1 / factor))}"
    verb = "Lower" if factor > 1 else "Raise"
    return f"{verb} the learning rate from {training.rate:.3g}: try {rounded(training.rate / factor)}"


def _how_many(large: list[str], every: Collection[str]) -> str:
    if len(every) == 1:
        return f"'{large[0]}'"
    return f"all {len(every)} layers" if len(large) == len(every) else f"{len(large)} of {len(every)} layers"


def _percent(usual: dict[str, float], large: list[str]) -> str:
    low, high = min(usual[layer] for layer in large), max(usual[layer] for layer in large)
    if high < 1.5 * low:
        return f"{high:.0%}"
    return f"{low:.0%} to {high:.0%}"
