"""What is wrong with kernels themselves: zeros, equal units, equal layers, a misread fan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kerasreg.diagnostics.figures import KernelFigures
from kerasreg.diagnostics.finding import Finding

# From which factor in the variance a misread fan is worth a word, and how near a kernel's own variance has to
# be to the misread one to be as the initializer left it.
FAN_FACTOR = 3.0
AS_DRAWN = 0.5
# The share of the variation that a layer was given at first, under which nothing is left of it.
NOTHING = 1e-4
# The rounding of the sums in a signature, relative to the largest weight.
ALIKE = 1e-5


def judge_kernels(kernels: Sequence[KernelFigures]) -> Iterator[Finding]:
    """Findings about kernels, in the order of the calls.

    A kernel of zeros is none in an output layer, at the end of a residual branch, or where the signal goes on
    beside it.
    """
    first: dict[tuple[str, str], KernelFigures] = {}
    for row in kernels:
        first.setdefault((row.layer.partition(":")[0], row.kernel), row)
    first_calls = list(first.values())
    # With the first number of each signature, by which almost all pairs are told apart.
    alike: dict[tuple[tuple[int, ...], str], list[tuple[float, KernelFigures]]] = {}
    for i, row in enumerate(first_calls):
        after = first_calls[i + 1] if i + 1 < len(first_calls) else None
        if row.frozen:
            continue
        if row.largest == 0:
            if not _on_purpose(row, after):
                yield _zeros(row)
        elif _symmetric(row):
            yield _equal_units(row)
        else:
            others = alike.setdefault((row.shape, row.kind), [])
            mark = float(row.signature[0])
            near = (other for m, other in others if abs(m - mark) <= ALIKE * other.largest)
            twin = next((other for other in near if _twins(other, row)), None)
            others.append((mark, row))
            if twin is not None:
                yield _equal_kernels(twin, row)
            if _misread(row, after):
                yield _wrong_fan(row)


def _on_purpose(row: KernelFigures, after: KernelFigures | None) -> bool:
    if row.output or row.branch_end or after is None:
        return True
    return after.kind != "embedding" and after.input_variation > NOTHING * max(row.input_variation, 1e-30)


def _symmetric(row: KernelFigures) -> bool:
    if row.kind in ("depthwise", "embedding") or row.output or row.units < 2:
        return False
    return row.distinct_units <= row.units // 2


def _twins(one: KernelFigures, other: KernelFigures) -> bool:
    # One unit's weights may agree by chance, as may those of a kernel with a single weight.
    if len(one.signature) < 4:
        return False
    return bool(np.allclose(one.signature, other.signature, rtol=0, atol=ALIKE * one.largest))


def _misread(row: KernelFigures, after: KernelFigures | None) -> bool:
    if row.misread_variance is None or row.intended_variance is None or row.output or after is None:
        return False
    factor = row.misread_variance / row.intended_variance
    variance = row.std**2
    if 1 / FAN_FACTOR < factor < FAN_FACTOR:
        return False
    if not AS_DRAWN < variance / row.misread_variance < 1 / AS_DRAWN:
        return False
    # What a normalisation puts right does no harm.
    came = after.input_rms / max(row.input_rms, 1e-30)
    return came < 0.5 if factor < 1 else came > 2.0


def _zeros(row: KernelFigures) -> Finding:
    return Finding(
        row.layer,
        "zero-kernel",
        "error",
        f"{row.type} '{row.layer}': its {row.kernel} of shape {row.shape} is all zeros, so nothing of "
        "the input goes on and the layers before it get no gradient.",
        f"Use {_argument(row)}={row.remedy}.",
    )


def _equal_units(row: KernelFigures) -> Finding:
    if row.distinct_units == 1:
        what = f"all {row.units} units compute the same"
    else:
        what = f"its {row.units} units compute only {row.distinct_units} different things"
    constant = "; its kernel is constant" if row.constant else ""
    return Finding(
        row.layer,
        "symmetric-units",
        "error",
        f"{row.type} '{row.layer}': {what}{constant}.",
        f"Use {_argument(row)}={row.remedy}.",
    )


def _equal_kernels(first: KernelFigures, second: KernelFigures) -> Finding:
    return Finding(
        second.layer,
        "duplicate-kernels",
        "warning",
        f"{second.type} '{second.layer}' starts with the same {second.shape} weights as '{first.layer}', as "
        "two layers do that share one seeded initializer.",
        "Give each layer an initializer of its own, or one without a seed: "
        f"{_argument(second)}={second.remedy}.",
    )


def _wrong_fan(row: KernelFigures) -> Finding:
    factor = row.misread_variance / row.intended_variance
    return Finding(
        row.layer,
        "wrong-fan",
        "warning",
        f"{row.type} '{row.layer}': Keras reads the fan of a {row.kind} kernel of shape {row.shape} wrongly, "
        f"so that its weights have {factor:.2g} of the variance that its initializer means.",
        f"Use {_argument(row)}={row.remedy}.",
    )


def _argument(row: KernelFigures) -> str:
    """The keyword that gives a layer this kernel's initializer."""
    if row.kind == "embedding":
        return "embeddings_initializer"
    if row.kind == "depthwise":
        return "depthwise_initializer"
    return (
        row.kernel.replace("_kernel", "") + "_initializer" if row.kernel != "kernel" else "kernel_initializer"
    )
