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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kerasreg._core import arguments
from kerasreg.augment.color import ColorTransform
from kerasreg.augment.explanation import explained
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.mix import MixTransform
from kerasreg.augment.mixture import Mixture
from kerasreg.augment.pixels import PixelTransform
from kerasreg.augment.placed import Lanes, Placed
from kerasreg.augment.policy import Policy, place
from kerasreg.augment.segment import AFFINE, CHOICE, MIXTURE, Segment, brings_fill, listed
from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units

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
        return explained(self)


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
        first = next(
            (i for i, step in enumerate(before.steps) if brings_fill(step.transform)), len(before.steps)
        )
        colored = [step for step in before.steps[first:] if isinstance(step.transform, ColorTransform)]
        if colored:
            return f"{name} brings in a fill that {listed(colored)} must not colour"
    return None
