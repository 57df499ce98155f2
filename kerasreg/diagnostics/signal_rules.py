"""What is wrong with the signal on its way through the layers, and with the gradient on its way back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from kerasreg.diagnostics.figures import ActivationFigures, KernelFigures
from kerasreg.diagnostics.finding import Finding

# Relative to what the first layer reads.
VANISHED, EXPLODED = 1e-4, 1e4
# From here on a normalisation has brought a signal back.
BROUGHT_BACK = 1e-3
# The share of the largest gradient's norm that is lost to rounding in every optimiser's sums.
NO_GRADIENT = 1e-6
# The shares from which a layer hands on next to nothing.
DEAD_SHARE, SATURATED_SHARE = 0.9, 0.5


def judge_signal(kernels: Sequence[KernelFigures]) -> Iterator[Finding]:
    """Where the signal vanishes, explodes or is no number, at the first layer of each such stretch.

    What a normalisation brings back before the next layer reads it has not vanished.
    """
    floats = [row for row in kernels if row.kind != "embedding"]
    size = (floats[0].input_rms if floats else 1.0) or 1.0
    variation = (floats[0].input_variation if floats else 1.0) or size
    lost = blown = False
    before = variation
    for i, row in enumerate(kernels):
        after = kernels[i + 1] if i + 1 < len(kernels) else None
        if not math.isfinite(row.output_rms):
            if not blown:
                yield _not_finite(row)
            return
        if row.kind != "embedding":
            lost = lost and row.input_variation < BROUGHT_BACK * variation
            blown = blown and row.input_rms > BROUGHT_BACK * EXPLODED * size
        low = row.output_variation < VANISHED * variation
        back = after is not None and after.input_variation >= BROUGHT_BACK * variation
        if low and not back and not lost:
            lost = True
            if not (row.output or after is None or row.largest == 0 or row.input_variation == 0):
                yield _vanishing(row, variation, before)
        high = row.output_rms > EXPLODED * size
        calm = after is not None and after.input_rms <= BROUGHT_BACK * EXPLODED * size
        if high and not calm and not blown:
            blown = True
            yield _exploding(row, size)
        before = row.output_variation


def judge_gradient(kernels: Sequence[KernelFigures]) -> Iterator[Finding]:
    """The layer whose gradient is lost beside the others'.

    Gradients of exactly 0 are none: an output or a branch that starts at zero sends nothing back at first.
    """
    known = [row for row in kernels if row.gradient is not None and not row.frozen]
    if not known or not all(math.isfinite(row.gradient) for row in known):
        bad = next((row for row in known if not math.isfinite(row.gradient)), None)
        if bad is not None:
            yield Finding(
                bad.layer,
                "non-finite",
                "error",
                f"{bad.type} '{bad.layer}': the loss' gradient in its {bad.kernel} is NaN or infinite.",
                "Look at the loss for a logarithm, a root or a division at 0, and at the targets for NaN.",
            )
        return
    largest = max(known, key=lambda row: row.gradient)
    small = [row for row in known if 0 < row.gradient < NO_GRADIENT * largest.gradient]
    if small:
        row = min(small, key=lambda row: row.gradient)
        yield Finding(
            row.layer,
            "vanishing-signal",
            "warning",
            f"{row.type} '{row.layer}': the gradient in its {row.kernel} is {row.gradient:.1e}, a share of "
            f"{row.gradient / largest.gradient:.0e} of that in '{largest.layer}'.",
            f"Use {row.remedy} with an activation that does not saturate, or residual connections.",
        )


def judge_activations_at_start(
    kernels: Sequence[KernelFigures], activations: Iterable[ActivationFigures], rows: int
) -> Iterator[Finding]:
    """Units that are 0 on every row, and activations in their flat parts. Few rows show no dead unit."""
    fused = [row for row in kernels if row.dead is not None and row.largest > 0 and row.output_variation > 0]
    alone = [row for row in activations if row.input_variation > 0]
    for row in (*fused, *alone):
        output = getattr(row, "output", False)
        if row.dead is not None and row.dead >= DEAD_SHARE and rows >= 8 and not output:
            yield Finding(
                row.layer,
                "dead-units",
                "warning",
                f"{row.type} '{row.layer}': {row.dead:.0%} of its units are 0 on all {rows} rows.",
                "Start its biases at 0 and its kernel at zero mean: kernel_initializer="
                "kr.initializers.Calibrated('relu'), bias_initializer='zeros'.",
            )
        if row.saturated is not None and row.saturated > SATURATED_SHARE and not output:
            yield Finding(
                row.layer,
                "saturated-units",
                "warning",
                f"{row.type} '{row.layer}': {row.saturated:.0%} of its outputs are in the flat part of the "
                "activation, where no gradient comes through.",
                f"Use kernel_initializer={getattr(row, 'remedy', '') or 'kr.initializers.Calibrated()'}, "
                "normalise what it reads, or run kr.calibrate(model, x).",
            )


def _vanishing(row: KernelFigures, variation: float, before: float) -> Finding:
    return Finding(
        row.layer,
        "vanishing-signal",
        "error",
        f"{row.type} '{row.layer}': of what the first layer reads, a share of "
        f"{row.output_variation / variation:.1e} is left of the variation; this layer leaves "
        f"{row.output_variation / max(before, 1e-38):.2g} of what the one before it gave.",
        f"Use kernel_initializer={row.remedy} throughout, or run kr.calibrate(model, x).",
    )


def _exploding(row: KernelFigures, size: float) -> Finding:
    return Finding(
        row.layer,
        "exploding-signal",
        "error",
        f"{row.type} '{row.layer}': its output's RMS is {row.output_rms:.1e}, {row.output_rms / size:.0e} "
        "times what the first layer reads.",
        f"Use kernel_initializer={row.remedy} throughout, or run kr.calibrate(model, x).",
    )


def _not_finite(row: KernelFigures) -> Finding:
    return Finding(
        row.layer,
        "non-finite",
        "error",
        f"{row.type} '{row.layer}': its output holds NaN or infinity.",
        "Look at its weights and at the layers before it; load or initialise the weights anew.",
    )
