"""The signal on its way up through the layers, and the gradient on its way down."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import pairwise

from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.signal_rules import BROUGHT_BACK, EXPLODED, VANISHED
from kerasreg.diagnostics.training.facts import Training
from kerasreg.diagnostics.training.window import Bound, Window, first_since, middle

# Relative to what the first linear layer reads, as in `kr.check`; float16 and the default epsilons of
# optimisers and norms lose what is smaller.
LOST = Bound(alarm=1 / VANISHED, clear=1e3)
BLOWN = Bound(alarm=EXPLODED, clear=1e3)
# Ratio of the largest gradient to the input-most layer's. A logistic unit's derivative is at most 1/4 (Glorot
# and Bengio, AISTATS 2010, on layers of sigmoids): 256 is four such layers that add nothing of their own; in
# the healthy trainings of the tests it stays below 3. It counts where each layer on the way takes half or
# more; a single layer of another kind is none.
STARVED, SURELY_STARVED, PER_LAYER = Bound(alarm=256.0, clear=64.0), Bound(alarm=1e6, clear=1e5), 2.0
# What is left of the ratio without its largest single step: a gradient that is lost at one layer, such as an
# output that starts at zero, comes back as soon as that layer has learned.
OTHER_LAYERS = 30.0
# The derivative of an activation at its centre, by which it shrinks a small signal after its linear layer.
SLOPES = {"sigmoid": 0.25, "hard_sigmoid": 1.0 / 6.0}
# So many standard deviations lie between the extremes of a batch of normal numbers.
SPAN = 4.0
# A gradient this many times the weights that it belongs to; Pascanu, Mikolov and Bengio (ICML 2013) cure it
# by clipping the norm.
LARGE_GRADIENT = Bound(alarm=1e3, clear=1e2)


def judge_signal_in_training(
    window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """The first layer of a stretch whose signal is lost or has blown up, as measured against the input.

    What a normalisation brings back before the next layer reads it has not vanished.
    """
    layers = [layer for layer in window.layers if window.held(layer, "rms")]
    figures, base_variation, base_rms = _base(window, training, layers)
    if not base_rms:
        return
    ends = [i for i, layer in enumerate(layers) if training.is_output(layer)]
    hidden = layers[: ends[0]] if ends else layers[:-1]
    # The output is told by its size where that of a hidden layer has not been.
    lost = blown = False
    for i, layer in enumerate(hidden):
        slope = SLOPES.get(facts.activation, 1.0) if (facts := training.of(layer)) else 1.0
        variation = [(s, _ratio(base_variation * slope, v)) for s, v in window.held(layer, *figures)]
        size = [(s, v / base_rms) for s, v in window.held(layer, "rms")]
        low = LOST.since(variation, (layer, "vanishing-signal") in standing) is not None
        high = BLOWN.since(size, (layer, "exploding-signal") in standing) is not None
        after = layers[i + 1 : (ends[0] if ends else len(layers))]
        if low and not lost and not _comes_back(window, after, figures, base_variation):
            before = hidden[i - 1] if i else None
            yield _vanishing(layer, before, window, figures, base_variation, training)
        if high and not blown and not _calms_down(window, after, base_rms):
            yield _exploding(layer, window, base_rms, training)
        lost, blown = low, high


def judge_gradient_in_training(
    window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """The layer nearest the input, if no gradient gets there; the one whose gradient dwarfs its weights."""
    layers = [
        layer
        for layer in window.layers
        if ":" not in layer and _judged(training, layer) and window.held(layer, "gradient_norm")
    ]
    if len(layers) >= 2:
        yield from _starved(layers, window, training, standing)
    ratios = {layer: _against_weights(window, layer) for layer in layers}
    bad = [
        layer
        for layer, ratio in ratios.items()
        if LARGE_GRADIENT.since(ratio, (layer, "exploding-gradient") in standing) is not None
    ]
    if bad:
        worst = max(bad, key=lambda layer: middle(v for _, v in ratios[layer]))
        norm = middle(v for _, v in window.held(worst, "gradient_norm"))
        since = first_since(ratios[worst], LARGE_GRADIENT.alarm)
        yield Finding(
            worst,
            "exploding-gradient",
            "warning",
            f"{training.called(worst)}: its gradient's norm is {norm:.2g}, "
            f"{middle(v for _, v in ratios[worst]):.1g} times that of its weights, {window.span(since)}"
            f"{_and_others(len(bad))}.",
            "Scale inputs and regression targets to a variance near 1, and give the optimizer clipnorm=1.0.",
            since,
        )


def _judged(training: Training, layer: str) -> bool:
    facts = training.of(layer)
    return facts is None or facts.weighted


def _starved(
    layers: list[str], window: Window, training: Training, standing: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    norms = {layer: dict(window.held(layer, "gradient_norm")) for layer in layers}
    steps = sorted(set.intersection(*(set(series) for series in norms.values())))
    shares: list[tuple[int, float]] = []
    depth = 1
    for step in steps:
        here = [norms[layer][step] for layer in layers]
        # The largest of the layers is where the gradient still is; the way down from it is what is judged.
        top = max(range(len(here)), key=here.__getitem__)
        if here[top] == 0:
            return
        shares.append((step, _ratio(here[top], here[0])))
        depth = max(top, 1)
    was = (layers[0], "vanishing-gradient") in standing
    sure = SURELY_STARVED.since(shares, was) is not None
    since = STARVED.since(shares, was)
    if since is None:
        return
    factor = middle(v for _, v in shares) ** (1.0 / depth)
    last = steps[-1]
    if not sure and (factor < PER_LAYER or _at_one_layer([norms[layer][last] for layer in layers])):
        return
    top = max(layers, key=lambda layer: norms[layer][last])
    since = first_since(shares, STARVED.alarm)
    share = middle(v for _, v in shares)
    kept = f"; on the way down each layer keeps about {1 / factor:.0%} of it" if math.isfinite(factor) else ""
    yield Finding(
        layers[0],
        "vanishing-gradient",
        "warning",
        f"{training.called(layers[0])}: its gradient's norm is {norms[layers[0]][last]:.1e} where that of "
        f"'{top}' is {norms[top][last]:.1e}, a share of {1 / share if share else 0:.0e}, "
        f"{window.span(since)}{kept}.",
        _bring_gradient_back(layers, training),
        since,
    )


def _at_one_layer(here: list[float]) -> bool:
    """Whether all of the loss on the way down to the first layer happens between two of them."""
    top = max(range(len(here)), key=here.__getitem__)
    steps = [_ratio(above, below) for below, above in pairwise(here[: top + 1])]
    return _ratio(here[top], here[0]) / max(steps, default=1.0) < OTHER_LAYERS


def _bring_gradient_back(layers: list[str], training: Training) -> str:
    flat = {
        facts.activation
        for facts in training.layers.values()
        if facts.activation in ("sigmoid", "tanh", "hard_sigmoid", "softsign") and not facts.output
    }
    if flat:
        return (
            f"Replace activation='{sorted(flat)[0]}' by activation='relu' with kernel_initializer="
            "kr.initializers.Calibrated('relu') throughout, or put a BatchNormalization before each of them."
        )
    return (
        f"Use {training.remedy(layers[0])} throughout, or run kr.calibrate(model, x) before training; "
        "normalisation layers and residual connections help too."
    )


def _against_weights(window: Window, layer: str) -> list[tuple[int, float]]:
    weights = dict(window.held(layer, "weight_norm"))
    return [(s, _ratio(g, weights[s])) for s, g in window.held(layer, "gradient_norm") if weights.get(s)]


def _base(window: Window, training: Training, layers: list[str]) -> tuple[tuple[str, ...], float, float]:
    """What tells variation, and the variation and the RMS of what the first linear layer reads.

    Where nobody knows what it reads, what it gives counts in its place.
    """
    ranges = ("range", "std") if any(row.get("range") for row in window.rows) else ("std",)
    if training.first_inputs:
        rms = training.first_inputs[0].rms
        return ranges, (SPAN if "range" in ranges else 1.0) * rms, rms
    for i, layer in enumerate(layers):
        facts = training.of(layer)
        if facts is not None and not facts.weighted:
            continue
        source = layers[i - 1] if i else layer
        # In batches of one row nothing differs from row to row: what differs in a row has to do.
        figures = ranges if middle(v for _, v in window.held(source, "range")) > 0 else ("std",)
        variation = middle(v for _, v in window.held(source, *figures))
        rms = middle(v for _, v in window.held(source, "rms"))
        first = training.first.get(source, {})
        # What it was at the start: a layer that blows up with the others would hide them.
        return figures, variation or 1.0, float(first.get("rms") or rms) or 1.0
    return ranges, 0.0, 0.0


def _comes_back(window: Window, after: list[str], figures: tuple[str, ...], base: float) -> bool:
    return any(middle(v for _, v in window.held(layer, *figures)) >= BROUGHT_BACK * base for layer in after)


def _calms_down(window: Window, after: list[str], base: float) -> bool:
    # The last ones may be small for reasons of their own, such as a softmax; a norm right behind is meant.
    return any(
        middle(v for _, v in window.held(layer, "rms")) <= BROUGHT_BACK * EXPLODED * base
        for layer in after[:2]
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else 1e30


def _and_others(count: int) -> str:
    return "" if count < 2 else f"; so it is in {count - 1} other layer{'s' if count > 2 else ''}"


def _vanishing(
    layer: str,
    before: str | None,
    window: Window,
    figures: tuple[str, ...],
    base: float,
    training: Training,
) -> Finding:
    series = window.held(layer, *figures)
    now = middle(v for _, v in series)
    since = first_since([(s, _ratio(base, v)) for s, v in window.series(layer, *figures)], LOST.alarm)
    step = ""
    if before is not None:
        previous = middle(v for _, v in window.held(before, *figures))
        step = f"; '{before}' before it still gave {previous:.1e}" if previous else ""
    return Finding(
        layer,
        "vanishing-signal",
        "error",
        f"{training.called(layer)}: its output varies by {now:.1e}, a share of {now / base:.0e} of what the "
        f"first layer reads, {window.span(since)}{step}.",
        _bring_gradient_back([layer], training),
        since,
    )


def _exploding(layer: str, window: Window, base: float, training: Training) -> Finding:
    now = middle(v for _, v in window.held(layer, "rms"))
    since = first_since([(s, v / base) for s, v in window.series(layer, "rms")], BLOWN.alarm)
    first = training.first.get(layer, {}).get("rms")
    grown = first is not None and 0 < first * 100 < now
    if grown:
        story = f"; at step {training.first_step} it was {first:.2g}, so the updates did this"
        remedy = f"{training.lower_rate(100.0)}, and give the optimizer clipnorm=1.0."
    else:
        story = ""
        remedy = f"Use {training.remedy(layer)} throughout, or run kr.calibrate(model, x) before training."
    return Finding(
        layer,
        "exploding-signal",
        "error",
        f"{training.called(layer)}: its output's RMS is {now:.1e}, {now / base:.0e} times what the first "
        f"layer reads, {window.span(since)}{story}.",
        remedy,
        since,
    )
