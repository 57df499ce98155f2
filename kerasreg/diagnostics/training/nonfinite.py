"""Where NaN or infinity came from: the data, a layer, the weights or the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training.facts import Training
from kerasreg.diagnostics.training.window import Row, Window

# From this growth of a layer's RMS before the break on, the break is the end of an explosion.
GREW = 100.0


def judge_nonfinite(window: Window, training: Training) -> Iterator[Finding]:
    """One finding, at the first place in the first step where a number was not finite."""
    for step in window.steps:
        rows = [row for row in window.rows if row["step"] == step]
        if training.bad_inputs.get(step):
            yield _in_data(step, training)
            return
        bad = [row for row in rows if _is_bad(row)]
        if bad:
            yield _in_layer(bad, rows, step, window, training)
            return
        if not math.isfinite(training.losses.get(step, 0.0)):
            yield _in_loss(step, window, training)
            return
    # The loss broke between two observed steps, or in the last ones.
    if window.steps and not math.isfinite(training.logs.get("loss", 0.0)):
        yield _unseen(window, training)
    elif window.steps and training.bad_weights:
        yield _hidden(window, training)


def _is_bad(row: Row) -> bool:
    return bool(row.get("nonfinite")) or not math.isfinite(row.get("rms", 0.0))


def _in_data(step: int, training: Training) -> Finding:
    name, count = next(iter(training.bad_inputs[step].items()))
    return Finding(
        name,
        "non-finite",
        "error",
        f"The data: {count} number{'s' if count > 1 else ''} of the batch at step {step} "
        f"{'are' if count > 1 else 'is'} NaN or infinite before any layer has seen them.",
        "Find them with np.isfinite(x).all(axis=-1), and drop or fill those rows.",
        step,
    )


def _in_layer(bad: list[Row], rows: list[Row], step: int, window: Window, training: Training) -> Finding:
    layer = bad[0]["layer"]
    earlier = [s for s in window.steps if s < step]
    count = bad[0].get("nonfinite")
    many = f"{int(count)} of its outputs are" if count and count > 1 else "its output is"
    what = f"{training.called(layer)}: {many} NaN or infinite at step {step}"
    last = rows[-1]
    passes = len(bad) == 1 and not _is_bad(last) and math.isfinite(training.losses.get(step, 0.0))
    if passes and layer != last["layer"]:
        return Finding(
            layer,
            "non-finite",
            "warning",
            f"{what}, while the layers after it and the loss stay finite.",
            "If that is not meant, as a mask of minus infinity is, look for a division or a logarithm at 0.",
            step,
        )
    growth = _growth(window, earlier, training)
    if growth is not None:
        return Finding(
            layer,
            "non-finite",
            "error",
            f"{what}, the first in the order of the calls; {growth}.",
            f"{training.lower_rate(100.0)}, and give the optimizer clipnorm=1.0.",
            step,
        )
    if earlier and layer.partition(":")[0] in training.bad_weights:
        return Finding(
            layer,
            "non-finite",
            "error",
            f"{what}, the first in the order of the calls, because its own weights are; they were finite at "
            f"step {earlier[-1]}, so an update between the two was not.",
            f"Look for NaN in the data and the targets and for a logarithm of 0 in the loss; "
            f"{_lower_first(training.lower_rate())}, and observe with every=1 to see the very step.",
            step,
        )
    at_start = "; no step before it was observed" if not earlier else ""
    return Finding(
        layer,
        "non-finite",
        "error",
        f"{what}, while what the layers before it gave was finite: it arose in this layer{at_start}.",
        "Look for a division, a root or a logarithm at 0 in it and at its weights; "
        f"{_lower_first(training.lower_rate())} if its values grow.",
        step,
    )


def _in_loss(step: int, window: Window, training: Training) -> Finding:
    return Finding(
        "loss",
        "non-finite",
        "error",
        f"The loss is {_named(training.losses[step])} at step {step}, while every observed layer's output is "
        "finite in that step: it arose in the loss or in the targets.",
        "Look at the targets for NaN, and at the loss for a logarithm or a division at 0: give it "
        "from_logits=True and no softmax or sigmoid before it.",
        step,
    )


def _unseen(window: Window, training: Training) -> Finding:
    earlier = window.steps
    growth = _growth(window, earlier, training)
    weights = f"; the weights of '{sorted(training.bad_weights)[0]}' are too" if training.bad_weights else ""
    told = f"; {growth}" if growth else ""
    remedy = (
        f"{training.lower_rate(100.0)}, and give the optimizer clipnorm=1.0."
        if growth
        else "Observe with every=1 to see where, and look at data and targets for NaN."
    )
    return Finding(
        "loss",
        "non-finite",
        "error",
        f"The loss is {_named(training.logs['loss'])} at the end of the epoch, while all {len(earlier)} "
        f"observed steps were finite, the last of them step {earlier[-1]}{weights}{told}.",
        remedy,
        earlier[-1],
    )


def _hidden(window: Window, training: Training) -> Finding:
    layer = next((layer for layer in window.layers if layer in training.bad_weights), None)
    layer = layer or sorted(training.bad_weights)[0]
    return Finding(
        layer,
        "non-finite",
        "error",
        f"{training.called(layer)}: its weights are NaN or infinite at step {window.steps[-1]}; a rectifier "
        "makes 0 of what comes out, so that the outputs do not show it.",
        "Look for NaN in the data and the targets; load or initialise the weights anew.",
        window.steps[0],
    )


def _growth(window: Window, earlier: list[int], training: Training) -> str | None:
    """The layer that had grown most before the break, in words."""
    found = None
    for layer in window.layers:
        first = training.first.get(layer, {}).get("rms")
        sizes = [v for s, v in window.series(layer, "rms") if s in earlier]
        if first and sizes and math.isfinite(first) and max(sizes) > GREW * first:
            growth = max(sizes) / first
            if found is None or growth > found[0]:
                found = (growth, layer, first, max(sizes))
    if found is None:
        return None
    _, layer, first, last = found
    return (
        f"the outputs of '{layer}' had grown from an RMS of {first:.2g} at step {training.first_step} to "
        f"{last:.1e} before: the training diverged"
    )


def _named(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite"


def _lower_first(words: str) -> str:
    return words[0].lower() + words[1:]
