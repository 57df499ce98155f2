"""A plan in words: what was fused into what, how often pixels are read, and what stands apart and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerasreg.augment.placed import Placed
from kerasreg.augment.segment import AFFINE, CHOICE, MIXTURE, Segment, listed

if TYPE_CHECKING:
    from kerasreg.augment.plan import Plan

_DOES = {
    "table": "value by value",
    "stencil": "each pixel from those around it",
    "noise": "added to every value",
    "cut-out": "written over the image",
    "mix": "with another image of the batch",
}


def explained(plan: Plan) -> str:
    """What a plan does, step by step, in words."""
    written = {step.listed for step in plan.steps}
    lines = [f"{_count(len(written), 'transform')} in {_count(len(plan.segments), 'step')}"]
    for number, segment in enumerate(plan.segments, 1):
        lines += [
            f"{number}. {line}" if not i else f"   {line}" for i, line in enumerate(_tell(plan, segment))
        ]
    alone = plan.resamples_alone
    lines.append(f"resamples per image: {plan.resamples} (one transform at a time: {alone})")
    moved = all(_copies(plan, segment) for segment in plan.segments)
    inner = "the images' own dtype" if moved else "float32"
    when = (
        "after every transform and" if plan.exact else "before every table and" if _has_tables(plan) else ""
    )
    clipped = f", clipped {when} to {plan.units} at the end".replace("  ", " ") if plan.clips else ""
    lines.append(f"computed in {inner}{clipped}, returned as {plan.dtype}")
    return "\n".join(lines)


def _has_tables(plan: Plan) -> bool:
    return any(segment.kind == "table" for segment in plan.segments)


def _tell(plan: Plan, segment: Segment) -> list[str]:
    parts = []
    if segment.kind == CHOICE:
        rounds = _count(len(segment.rounds), "round")
        parts.append(f"choice: {listed(segment.steps)}, {rounds} -> what each image drew, one by one")
        parts += _drawn(segment.steps)
        return parts + [f"apart from the step before: {reason}" for reason in [segment.reason] if reason]
    if segment.kind == MIXTURE:
        chains = _count(segment.steps[0].transform.width, "chain")
        parts.append(
            f"mixture: {listed(segment.steps)} -> a weighted mean of the image and {chains}, of each"
        )
        parts += [f"   {line}" for one in segment.chain.segments for line in _tell(plan, one)]
    elif segment.kind != AFFINE:
        parts.append(f"{segment.kind}: {listed(segment.steps)} -> {_DOES[segment.kind]}")
    if segment.kind == "mix":
        like = f"(batch, {plan.num_classes})" if plan.num_classes else "of their own shape"
        parts.append(f"labels: mixed by the same shares, returned as float32 {like}")
    if segment.geometry:
        parts.append(f"geometry: {listed(segment.geometry)} -> {_tell_geometry(plan, segment)}")
        parts += _drawn(segment.geometry)
        parts += _tell_sizes(plan, segment)
    if plan.smooths(segment):
        parts.append("where an image shrinks to less than half: the mean of what each pixel covers")
    if segment.color:
        parts.append(f"colour: {listed(segment.color)} -> one affine map per image")
        parts += _drawn(segment.color)
    if segment.uses_mean:
        parts.append(
            "mean colour: measured once, before the warp"
            if segment.resamples
            else "mean colour: measured once, before the move"
            if segment.resizers
            else "mean colour: once"
        )
    if segment.reason:
        parts.append(f"apart from the step before: {segment.reason}")
    return parts


def _tell_sizes(plan: Plan, segment: Segment) -> list[str]:
    if not segment.resizers:
        return []
    before = plan.size_before(segment)
    sizes = [before] if before else []
    sizes += [step.transform.size for step in segment.resizers]
    return [f"size: {'' if before else '-> '}{' -> '.join(f'{h}x{w}' for h, w in sizes)}"]


def _tell_geometry(plan: Plan, segment: Segment) -> str:
    does = "one exact move of whole pixels"
    if segment.resamples:
        does = f"one {plan.interpolation} {'projective ' if segment.projective else ''}warp"
    if segment.fills:
        does += f", fill {plan.fill_mode}"
        does += f" {plan.fill_value:g}" if plan.fill_mode == "constant" else ""
    return does


def _copies(plan: Plan, segment: Segment) -> bool:
    """Whether a step only copies pixels, and leaves them the dtype that it finds."""
    colored = segment.kind != AFFINE or segment.color or (segment.fills and plan.fill_mode == "constant")
    return not colored and (plan.interpolation == "nearest" or not segment.resamples)


def _drawn(steps: Sequence[Placed]) -> list[str]:
    """For each policy, which of its members these are."""
    members: dict[str, dict[str, None]] = {}
    for step in steps:
        if step.policy:
            members.setdefault(step.policy, {})[step.name.rpartition("/")[2]] = None
    return [f"{policy}: {', '.join(names)}" for policy, names in members.items()]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
