"""Which transforms are done in one step, and what that costs.

Colour maps act on one pixel's channels and warps on places, so the two commute: in "flip, brightness,
rotation, contrast" the geometry becomes one matrix and one bilinear resample, the colour one map. Two
things do not commute and decide the rules:

- A constant fill has a colour. It is exact to split the colour map at the warp, `colour, warp, colour`,
  so a step ends where a second filling transform would follow a colour transform in it. The other
  fill modes copy pixels of the image and commute.
- The mean colour of an image changes when a warp moves pixels out of sight. `RandomContrast` is
  defined by the mean before the warp, so that it commutes too; behind a crop it is that of the whole image.

A crop is a matrix too, so that what it cuts off is out of sight and not gone: a rotation behind it shows what
the image has there. `exact=True` forgets it.

What is no matrix, a transform of pixels, commutes with neither, and gets a step of its own: neighbouring
tables share one, so do cut-outs and noise; a stencil reads the finished pixels around each, and does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kerasreg._core import arguments
from kerasreg.augment.color import ColorTransform
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.mix import MixTransform
from kerasreg.augment.mixture import Mixture
from kerasreg.augment.pixels import PixelTransform
from kerasreg.augment.placed import Lanes, Placed
from kerasreg.augment.policy import Policy, place
from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units

AFFINE = "affine"
"""The kind of step that is one warp and one colour map."""

CHOICE = "choice"
"""The kind of step that goes through the images one by one, and does to each what its policy chose for it."""

MIXTURE = "mixture"
"""The kind of step that mixes each image with what several draws of a chain of steps make of it."""

_DOES = {
    "table": "value by value",
    "stencil": "each pixel from those around it",
    "noise": "added to every value",
    "cut-out": "written over the image",
    "mix": "with another image of the batch",
}
_APART = {
    "table": "is a table of values, no affine map",
    "stencil": "reads the finished pixels around each",
    "noise": "adds to the finished values",
    "cut-out": "hides what has been made so far",
    CHOICE: "goes through the images one by one",
    MIXTURE: "makes several images out of each finished one",
    "mix": "takes the finished pixels of another image",
}


@dataclass(frozen=True)
class Segment:
    """Transforms that are done in one step: one warp and one colour map per image, or one pass of pixels.

    Attributes:
        steps: The transforms, in order.
        reason: Why they are not in the step before; empty for the first.
        rounds: Of a choice, the transforms by rounds: of each, at most one acts on an image.
        chain: Of a mixture, what a chain does; its columns of random numbers are counted from its own first.
        chain_lane: The first column of the first chain. The columns of the others follow.
    """

    steps: tuple[Placed, ...]
    reason: str = ""
    rounds: tuple[tuple[Placed, ...], ...] = ()
    chain: Plan | None = None
    chain_lane: int = 0

    @property
    def kind(self) -> str:
        """`"affine"`, `"choice"`, or the kind of its transform of pixels or of images."""
        return CHOICE if self.rounds else _kind(self.steps[0].transform)

    @property
    def leaves_range(self) -> bool:
        """Whether values can lie outside their range afterwards; a choice clips what it makes."""
        return not self.rounds and (
            bool(self.color) or any(getattr(s.transform, "leaves_range", False) for s in self.steps)
        )

    @property
    def geometry(self) -> list[Placed]:
        """The transforms that move pixels, in order."""
        return [step for step in self.steps if isinstance(step.transform, GeometricTransform)]

    @property
    def resizers(self) -> list[Placed]:
        """The transforms that change the size of the images, in order."""
        return [step for step in self.steps if step.transform.changes_size]

    @property
    def color(self) -> list[Placed]:
        """The transforms that map colours, in order."""
        return [step for step in self.steps if isinstance(step.transform, ColorTransform)]

    @property
    def resamples(self) -> bool:
        """Whether anything is interpolated; flips alone move whole pixels."""
        return any(not step.transform.moves_whole_pixels for step in self.geometry)

    @property
    def fills(self) -> bool:
        """Whether what stands outside the image can come into sight."""
        return any(step.transform.fills for step in self.geometry)

    @property
    def projective(self) -> bool:
        """Whether the matrix is more than affine, and places are quotients."""
        return any(step.transform.projective for step in self.geometry)

    @property
    def shrinks(self) -> float:
        """How many pixels of the input can at most lie side by side in one of the output."""
        by_turn: dict[str, float] = {}
        for step in self.geometry:
            by_turn[step.turn] = max(by_turn.get(step.turn, 1.0), step.transform.shrinks())
        return math.prod(by_turn.values())

    @property
    def uses_mean(self) -> bool:
        """Whether a colour map depends on the image's mean."""
        return any(step.transform.uses_mean for step in self.color)

    @property
    def colors_before_fill(self) -> list[Placed]:
        """The colour transforms that come before the last transform that can bring in a fill."""
        before = self.steps[: self._last_fill]
        return [step for step in before if isinstance(step.transform, ColorTransform)]

    @property
    def fill_units(self) -> Units:
        """The units that a fill stands in when it is brought in."""
        return self.steps[self._last_fill].units

    @property
    def _last_fill(self) -> int:
        return max((i for i, step in enumerate(self.steps) if _fills(step.transform)), default=0)


@dataclass(frozen=True)
class Plan:
    """What a pipeline does, step by step; `print` it.

    Attributes:
        segments: The steps, each a group of transforms that are done at once.
        fill_mode: What stands outside the image.
        fill_value: The colour of a constant fill, in the units of the images.
        value_range: The smallest and the largest value of a pixel that comes in.
        dtype: What comes out.
        exact: Whether every transform is a step of its own, clipped before the next.
        interpolation: How pixels are read between pixels.
        image_size: Height and width of the images, if they were told to `explain`.
        lanes: For each column of random numbers what `draws.uniforms` makes it from.
    """

    segments: tuple[Segment, ...]
    fill_mode: str
    fill_value: float
    value_range: tuple[float, float]
    dtype: str
    exact: bool = False
    interpolation: str = "bilinear"
    image_size: tuple[int, int] | None = None
    lanes: tuple[tuple[int, int], ...] = ()

    @property
    def steps(self) -> list[Placed]:
        """All transforms in order."""
        return [step for segment in self.segments for step in segment.steps]

    @property
    def geometry(self) -> list[Placed]:
        """The transforms that move pixels, in order, of all steps."""
        return [step for segment in self.segments for step in segment.geometry]

    @property
    def mixtures(self) -> list[Placed]:
        """The transforms that mix an image with draws of its own, in order."""
        return [step for step in self.steps if isinstance(step.transform, Mixture)]

    @property
    def mixes(self) -> list[Placed]:
        """The transforms that mix images, in order."""
        return [step for step in self.steps if isinstance(step.transform, MixTransform)]

    @property
    def num_classes(self) -> int | None:
        """How many classes sparse labels have that are mixed; None where none are."""
        return next((s.transform.num_classes for s in self.mixes if s.transform.num_classes), None)

    @property
    def units(self) -> Units:
        """The range of values that come out."""
        return self.steps[-1].units_after

    @property
    def channels(self) -> dict[str, int]:
        """By the name of a transform that is about so many channels, their number."""
        needed = {step.name: 3 for step in self.steps if getattr(step.transform, "needs_rgb", False)}
        return {**needed, **{s.name: s.transform.channels for s in self.steps if s.transform.channels}}

    @property
    def resamples(self) -> int:
        """How often a pixel is interpolated on its way through the pipeline."""
        chains = sum(s.chain.resamples * s.steps[0].transform.width for s in self.segments if s.chain)
        return chains + sum(segment.resamples for segment in self.segments)

    @property
    def resamples_alone(self) -> int:
        """How often it would be, one transform at a time."""
        turns = {step.turn for step in self.geometry if not step.transform.moves_whole_pixels}
        return len(turns) + sum(
            s.chain.resamples_alone * s.steps[0].transform.width for s in self.segments if s.chain
        )

    @property
    def fills(self) -> bool:
        """Whether what stands outside the image can come into sight."""
        return any(segment.fills for segment in self.segments)

    @property
    def clips(self) -> bool:
        """Whether values can leave their range and are clipped at the end."""
        return any(self.leaves_range(segment) for segment in self.segments)

    def leaves_range(self, segment: Segment) -> bool:
        """Whether values can lie outside their range after a step: bicubic weights are partly negative."""
        return segment.leaves_range or (segment.resamples and self.interpolation == "bicubic")

    def size_before(self, segment: Segment) -> tuple[int, int] | None:
        """Height and width of the images as they come into a step, if they are known."""
        size = self.image_size
        for before in self.segments:
            if before is segment:
                break
            size = before.resizers[-1].transform.size if before.resizers else size
        return size

    def smooths(self, segment: Segment) -> bool:
        """Whether images can shrink so far in a step that pixels would be skipped."""
        return segment.resamples and segment.shrinks > 2 and self.interpolation != "nearest"

    def __str__(self) -> str:
        listed = {step.listed for step in self.steps}
        lines = [f"{_count(len(listed), 'transform')} in {_count(len(self.segments), 'step')}"]
        for number, segment in enumerate(self.segments, 1):
            lines += [
                f"{number}. {line}" if not i else f"   {line}" for i, line in enumerate(self._tell(segment))
            ]
        alone = self.resamples_alone
        lines.append(f"resamples per image: {self.resamples} (one transform at a time: {alone})")
        moved = all(self._copies(segment) for segment in self.segments)
        inner = "the images' own dtype" if moved else "float32"
        when = "after every transform and" if self.exact else "before every table and" if self._tables else ""
        clipped = f", clipped {when} to {self.units} at the end".replace("  ", " ") if self.clips else ""
        lines.append(f"computed in {inner}{clipped}, returned as {self.dtype}")
        return "\n".join(lines)

    @property
    def _tables(self) -> bool:
        return any(segment.kind == "table" for segment in self.segments)

    def _tell(self, segment: Segment) -> list[str]:
        parts = []
        if segment.kind == CHOICE:
            rounds = _count(len(segment.rounds), "round")
            parts.append(f"choice: {_names(segment.steps)}, {rounds} -> what each image drew, one by one")
            parts += _drawn(segment.steps)
            return parts + [f"apart from the step before: {reason}" for reason in [segment.reason] if reason]
        if segment.kind == MIXTURE:
            chains = _count(segment.steps[0].transform.width, "chain")
            parts.append(
                f"mixture: {_names(segment.steps)} -> a weighted mean of the image and {chains}, of each"
            )
            parts += [f"   {line}" for one in segment.chain.segments for line in self._tell(one)]
        elif segment.kind != AFFINE:
            parts.append(f"{segment.kind}: {_names(segment.steps)} -> {_DOES[segment.kind]}")
        if segment.kind == "mix":
            like = f"(batch, {self.num_classes})" if self.num_classes else "of their own shape"
            parts.append(f"labels: mixed by the same shares, returned as float32 {like}")
        if segment.geometry:
            parts.append(f"geometry: {_names(segment.geometry)} -> {self._tell_geometry(segment)}")
            parts += _drawn(segment.geometry)
            parts += self._tell_sizes(segment)
        if self.smooths(segment):
            parts.append("where an image shrinks to less than half: the mean of what each pixel covers")
        if segment.color:
            parts.append(f"colour: {_names(segment.color)} -> one affine map per image")
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

    def _tell_sizes(self, segment: Segment) -> list[str]:
        if not segment.resizers:
            return []
        before = self.size_before(segment)
        sizes = [before] if before else []
        sizes += [step.transform.size for step in segment.resizers]
        return [f"size: {'' if before else '-> '}{' -> '.join(f'{h}x{w}' for h, w in sizes)}"]

    def _tell_geometry(self, segment: Segment) -> str:
        does = "one exact move of whole pixels"
        if segment.resamples:
            does = f"one {self.interpolation} {'projective ' if segment.projective else ''}warp"
        if segment.fills:
            does += f", fill {self.fill_mode}"
            does += f" {self.fill_value:g}" if self.fill_mode == "constant" else ""
        return does

    def _copies(self, segment: Segment) -> bool:
        """Whether a step only copies pixels, and leaves them the dtype that it finds."""
        colored = segment.kind != AFFINE or segment.color or (segment.fills and self.fill_mode == "constant")
        return not colored and (self.interpolation == "nearest" or not segment.resamples)


def make_plan(
    transforms: Sequence[Transform],
    names: Sequence[str],
    fill_mode: str,
    fill_value: float,
    value_range: tuple[float, float],
    dtype: str,
    exact: bool = False,
    interpolation: str = "bilinear",
) -> Plan:
    """Group neighbouring transforms into steps, in order."""
    lanes, units = Lanes(), Units.of(value_range)
    frame = Plan((), fill_mode, fill_value, value_range, dtype, exact, interpolation)
    segments: list[Segment] = []
    for transform, name in zip(transforms, names, strict=True):
        policy = transform.chain if isinstance(transform, Mixture) else transform
        for one in policy.members if isinstance(policy, Policy) else [transform]:
            _refuse_colors_behind_channels(one, name, units)
        for segment in _alone(transform, name, lanes, units, frame):
            reason = _why_apart(segments[-1], segment, fill_mode, exact) if segments else ""
            if reason is None:
                segments[-1] = replace(segments[-1], steps=segments[-1].steps + segment.steps)
            else:
                segments.append(replace(segment, reason=reason))
        units = transform.units_after(units)
    return replace(frame, segments=tuple(segments), lanes=tuple(lanes.words))


def _alone(transform: Transform, name: str, lanes: Lanes, units: Units, frame: Plan) -> list[Segment]:
    """The steps that a transform would be without the others, in a plan that has none yet."""
    if isinstance(transform, Policy):
        return _of_rounds(place(transform, name, lanes, units), frame.exact)
    if isinstance(transform, Mixture):
        step = Placed(transform, name, lanes.take(name, transform.lanes), units)
        first = len(lanes.words)
        for number in range(transform.width):
            # The columns of every chain are in the same order, so that the steps of one serve all.
            own = Lanes()
            rounds = place(transform.chain, f"{name}/{number}", own, units, outermost=name)
            lanes.words += own.words
        segments = tuple(_of_rounds(rounds, frame.exact))
        chain = replace(frame, segments=segments, dtype="float32", lanes=tuple(own.words))
        return [Segment((step,), chain=chain, chain_lane=first)]
    return [Segment((Placed(transform, name, lanes.take(name, transform.lanes), units),))]


def _of_rounds(rounds: list[list[Placed]], exact: bool) -> list[Segment]:
    """One warp of all that moves pixels, and one choice of all else; with `exact` for each round."""
    if exact and len(rounds) > 1:
        return [segment for one in rounds for segment in _of_rounds([one], exact)]
    moving = tuple(step for one in rounds for step in one if isinstance(step.transform, GeometricTransform))
    others = [tuple(s for s in one if not isinstance(s.transform, GeometricTransform)) for one in rounds]
    others = tuple(one for one in others if one)
    rest = tuple(step for one in others for step in one)
    if not exact and not any(isinstance(step.transform, PixelTransform) for step in rest):
        return [Segment(moving + rest)]
    warp = [Segment(moving)] if moving else []
    return [*warp, Segment(rest, rounds=others)] if rest else warp


def _refuse_colors_behind_channels(transform: Transform, name: str, units: Units) -> None:
    about_grey = getattr(transform, "needs_rgb", False) or getattr(transform, "needs_grey", False)
    if about_grey and not units.grey:
        raise arguments.refusal(
            "Pipeline",
            "transforms",
            "a list with a Rescale of single channels behind what is about red, green and blue",
            arguments.Came(f"{name} behind it"),
        )


def _why_apart(before: Segment, segment: Segment, fill_mode: str, exact: bool) -> str | None:
    """Why what a transform does cannot be done in one step with what is before it; None if it can."""
    if exact:
        return "exact=True, one transform at a time"
    kind, name = segment.kind, segment.steps[0].listed
    if kind == AFFINE and before.kind != AFFINE:
        return f"{name} acts on what {before.steps[-1].listed} leaves, and does not commute with it"
    if kind != before.kind or kind in ("stencil", "mix", CHOICE, MIXTURE):
        return f"{name} {_APART[kind]}"
    if kind == AFFINE and fill_mode == "constant" and segment.fills:
        first = next((i for i, step in enumerate(before.steps) if _fills(step.transform)), len(before.steps))
        colored = [step for step in before.steps[first:] if isinstance(step.transform, ColorTransform)]
        if colored:
            return f"{name} brings in a fill that {_names(colored)} must not colour"
    return None


def _kind(transform: Transform) -> str:
    return transform.kind if isinstance(transform, PixelTransform | MixTransform | Mixture) else AFFINE


def _fills(transform: Transform) -> bool:
    return isinstance(transform, GeometricTransform) and transform.fills


def _names(steps: Sequence[Placed]) -> str:
    return ", ".join(dict.fromkeys(step.listed for step in steps))


def _drawn(steps: Sequence[Placed]) -> list[str]:
    """For each policy, which of its members these are."""
    members: dict[str, dict[str, None]] = {}
    for step in steps:
        if step.policy:
            members.setdefault(step.policy, {})[step.name.rpartition("/")[2]] = None
    return [f"{policy}: {', '.join(names)}" for policy, names in members.items()]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
