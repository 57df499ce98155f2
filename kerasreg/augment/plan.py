"""Which transforms are done in one step, and what that costs.

Colour maps act on one pixel's channels and warps on places, so the two commute: in "flip, brightness,
rotation, contrast" the geometry becomes one matrix and one bilinear resample, the colour one map. Two
things do not commute and decide the rules:

- A constant fill has a colour. It is exact to split the colour map at the warp, `colour, warp, colour`,
  so a step ends where a second filling transform would follow a colour transform in it. The other
  fill modes copy pixels of the image and commute.
- The mean colour of an image changes when a warp moves pixels out of sight. `RandomContrast` is
  defined by the mean before the warp, so that it commutes too.

What is no matrix, a transform of pixels, commutes with neither, and gets a step of its own: neighbouring
tables share one, so do cut-outs and noise; a stencil reads the finished pixels around each, and does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment.color import ColorMap, ColorTransform
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.mix import MixTransform
from kerasreg.augment.pixels import Found, PixelTransform
from kerasreg.augment.transform import Size, Transform
from kerasreg.augment.units import Units

AFFINE = "affine"
"""The kind of step that is one warp and one colour map."""

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
    "mix": "takes the finished pixels of another image",
}


@dataclass(frozen=True)
class Placed:
    """A transform, its unique name in the pipeline, its first column of random numbers, its units."""

    transform: Transform
    name: str
    lane: int
    units: Units

    @property
    def units_after(self) -> Units:
        """The units it leaves."""
        return self.transform.units_after(self.units)

    def numbers(self, uniform: tf.Tensor) -> tf.Tensor:
        """Its columns of the pipeline's uniform numbers, `(images, lanes)`."""
        return uniform[:, self.lane : self.lane + self.transform.lanes]

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Of a transform that moves pixels: each image's matrix, the identity where it does not fire."""
        return self.transform.gated_matrix(self.numbers(uniform), height, width)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor) -> ColorMap:
        """Of a transform of colours: each image's map, the identity where it does not fire."""
        return self.transform.gated_map(self.numbers(uniform), mean, self.units)

    def measure(self, pixels: tf.Tensor, uniform: tf.Tensor) -> Found:
        """Of a transform of pixels: the few numbers that it needs, and which images it changes."""
        return self.transform.gated_numbers(pixels, self.numbers(uniform), self.units)

    def pairs(self, uniform: tf.Tensor, size: Size, rows: tf.Tensor) -> Found:
        """Of a transform that mixes images: each one's partner among the first `rows`, and its own share."""
        return self.transform.gated_shares(self.numbers(uniform), size, rows)


@dataclass(frozen=True)
class Segment:
    """Transforms that are done in one step: one warp and one colour map per image, or one pass of pixels.

    Attributes:
        steps: The transforms, in order.
        reason: Why they are not in the step before; empty for the first.
    """

    steps: tuple[Placed, ...]
    reason: str = ""

    @property
    def kind(self) -> str:
        """`"affine"`, or the kind of its transforms of pixels."""
        return _kind(self.steps[0].transform)

    @property
    def leaves_range(self) -> bool:
        """Whether values can lie outside their range afterwards."""
        return bool(self.color) or any(getattr(s.transform, "leaves_range", False) for s in self.steps)

    @property
    def geometry(self) -> list[Placed]:
        """The transforms that move pixels, in order."""
        return [step for step in self.steps if isinstance(step.transform, GeometricTransform)]

    @property
    def color(self) -> list[Placed]:
        """The transforms that map colours, in order."""
        return [step for step in self.steps if isinstance(step.transform, ColorTransform)]

    @property
    def resamples(self) -> bool:
        """Whether anything is interpolated; flips alone move whole pixels."""
        return any(_fills(step.transform) for step in self.steps)

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
    """

    segments: tuple[Segment, ...]
    fill_mode: str
    fill_value: float
    value_range: tuple[float, float]
    dtype: str
    exact: bool = False

    @property
    def steps(self) -> list[Placed]:
        """All transforms in order."""
        return [step for segment in self.segments for step in segment.steps]

    @property
    def geometry(self) -> list[Placed]:
        """The transforms that move pixels, in order, of all steps."""
        return [step for segment in self.segments for step in segment.geometry]

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
        return sum(segment.resamples for segment in self.segments)

    @property
    def clips(self) -> bool:
        """Whether values can leave their range and are clipped at the end."""
        return any(segment.leaves_range for segment in self.segments)

    def __str__(self) -> str:
        lines = [f"{_count(len(self.steps), 'transform')} in {_count(len(self.segments), 'step')}"]
        for number, segment in enumerate(self.segments, 1):
            lines += [
                f"{number}. {line}" if not i else f"   {line}" for i, line in enumerate(self._tell(segment))
            ]
        alone = sum(_fills(step.transform) for step in self.steps)
        lines.append(f"resamples per image: {self.resamples} (one transform at a time: {alone})")
        # A pure move of pixels never leaves the dtype that it finds.
        moved = not self.resamples and all(s.kind == AFFINE and not s.color for s in self.segments)
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
        if segment.kind != AFFINE:
            parts.append(f"{segment.kind}: {_names(segment.steps)} -> {_DOES[segment.kind]}")
        if segment.kind == "mix":
            like = f"(batch, {self.num_classes})" if self.num_classes else "of their own shape"
            parts.append(f"labels: mixed by the same shares, returned as float32 {like}")
        if segment.resamples:
            fill = f"constant {self.fill_value:g}" if self.fill_mode == "constant" else self.fill_mode
            parts.append(f"geometry: {_names(segment.geometry)} -> one bilinear warp, fill {fill}")
        elif segment.geometry:
            parts.append(f"geometry: {_names(segment.geometry)} -> one exact move of whole pixels")
        if segment.color:
            parts.append(f"colour: {_names(segment.color)} -> one affine map per image")
        if segment.uses_mean:
            parts.append(
                "mean colour: measured once, before the warp" if segment.resamples else "mean colour: once"
            )
        if segment.reason:
            parts.append(f"apart from the step before: {segment.reason}")
        return parts


def make_plan(
    transforms: Sequence[Transform],
    names: Sequence[str],
    fill_mode: str,
    fill_value: float,
    value_range: tuple[float, float],
    dtype: str,
    exact: bool = False,
) -> Plan:
    """Group neighbouring transforms into steps, in order."""
    groups: list[list[Placed]] = [[]]
    reasons = [""]
    lane, units = 0, Units.of(value_range)
    for transform, name in zip(transforms, names, strict=True):
        _refuse_colors_behind_channels(transform, name, units)
        reason = _why_apart(groups[-1], transform, name, fill_mode, exact)
        if reason:
            groups.append([])
            reasons.append(reason)
        groups[-1].append(Placed(transform, name, lane, units))
        lane += transform.lanes
        units = transform.units_after(units)
    segments = tuple(Segment(tuple(group), reason) for group, reason in zip(groups, reasons, strict=True))
    return Plan(segments, fill_mode, fill_value, value_range, dtype, exact)


def _refuse_colors_behind_channels(transform: Transform, name: str, units: Units) -> None:
    if getattr(transform, "needs_rgb", False) and not units.grey:
        raise arguments.refusal(
            "Pipeline",
            "transforms",
            "a list with a Rescale of single channels behind what is about red, green and blue",
            arguments.Came(f"{name} behind it"),
        )


def _why_apart(
    group: Sequence[Placed], transform: Transform, name: str, fill_mode: str, exact: bool
) -> str | None:
    """Why a transform cannot be done in one step with those before it; None if it can."""
    if not group:
        return None
    if exact:
        return "exact=True, one transform at a time"
    kind, before = _kind(transform), _kind(group[-1].transform)
    if kind == AFFINE and before != AFFINE:
        return f"{name} acts on what {group[-1].name} leaves, and does not commute with it"
    if kind != before or kind in ("stencil", "mix"):
        return f"{name} {_APART[kind]}"
    if kind == AFFINE and fill_mode == "constant" and _fills(transform):
        first = next((i for i, step in enumerate(group) if _fills(step.transform)), len(group))
        colored = [step.name for step in group[first:] if isinstance(step.transform, ColorTransform)]
        if colored:
            return f"{name} brings in a fill that {', '.join(colored)} must not colour"
    return None


def _kind(transform: Transform) -> str:
    return transform.kind if isinstance(transform, PixelTransform | MixTransform) else AFFINE


def _fills(transform: Transform) -> bool:
    return isinstance(transform, GeometricTransform) and not transform.moves_whole_pixels


def _names(steps: Sequence[Placed]) -> str:
    return ", ".join(step.name for step in steps)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
