"""What a training began with: kernels of zeros, equal units, equal layers, misread fans, unscaled data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from kerasreg.diagnostics.data_rules import judge_inputs
from kerasreg.diagnostics.figures import KernelFigures
from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.kernel_rules import judge_kernels
from kerasreg.diagnostics.training.facts import Training


def judge_start(training: Training) -> Iterator[Finding]:
    """The findings that `kr.check` makes of data and kernels, by its thresholds, at the first observed step.

    Zeros and equal units that training has parted are a warning; those that stay are an error.
    """
    since = training.first_step
    for finding in judge_inputs(training.inputs, training.first_inputs):
        yield replace(finding, step=since)
    for finding in judge_kernels(with_signal(training)):
        if finding.code not in ("zero-kernel", "symmetric-units"):
            yield replace(finding, step=since)
        elif finding.layer in training.stuck:
            message = f"{finding.message.removesuffix('.')}, and training does not change that."
            yield replace(finding, message=message, step=since)
        else:
            told = finding.message.removesuffix(".").replace(" is all zeros", " began as zeros")
            told = told.partition(", so nothing")[0].replace(" compute ", " began by computing ")
            message = f"{told}; training has parted them since, from a start that all of them shared."
            yield replace(finding, severity="warning", message=message, step=since)


def with_signal(training: Training) -> list[KernelFigures]:
    """The kernels with what each read and gave in the first observed step, in the order of the calls.

    What a layer read is what the layer called before it gave: exact in a stack, near enough beside branches.
    """
    order = list(training.first)
    placed = []
    for kernel in training.kernels:
        place = _row_of(kernel.layer, order)
        if place is not None:
            placed.append((place, kernel))
    placed.sort(key=lambda pair: pair[0])
    found = []
    for place, kernel in placed:
        own = training.first[order[place]]
        read = training.first[order[place - 1]] if place else {}
        first = training.first_inputs[0] if training.first_inputs else None
        input_rms = float(read.get("rms", first.rms if first else 1.0))
        variation = _variation(read, input_rms)
        if found and found[-1].layer == kernel.layer:
            # The second kernel of a separable convolution reads what the first one gives, which nobody sees.
            input_rms = variation = found[-1].predicted_rms * found[-1].input_rms
        if kernel.kind == "embedding":
            input_rms = variation = 1.0
        found.append(
            replace(
                kernel,
                input_rms=input_rms,
                input_variation=variation,
                output_rms=float(own.get("rms", 1.0)),
                output_variation=_variation(own, 1.0),
            )
        )
    return found


def _row_of(path: str, order: list[str]) -> int | None:
    """Where a kernel's layer was called, or the layer that holds it, as a recurrent one holds its cell."""
    while path:
        if path in order:
            return order.index(path)
        path = path.rpartition("/")[0]
    return None


def _variation(row: object, otherwise: float) -> float:
    # In a batch of one row nothing differs from row to row.
    value = row.get("range") or row.get("std", otherwise)
    return float(value) if math.isfinite(value) else otherwise
