"""Which transforms are done in one step, and what that costs.

Colour maps act on one pixel's channels and warps on places, so the two commute: in "flip, brightness,
rotation, contrast" the geometry becomes one matrix and one bilinear resample, the colour one map. Two
things do not commute and decide the rules:

- A constant fill has a colour. It is exact to split the colour map at the warp, `colour, warp, colour`,
  so a step ends where a second filling transform would follow a colour transform in it. The other
  fill modes copy pixels of the image and commute.
- The mean colour of an image changes when a warp moves pixels out of sight. `RandomContrast` is
  defined by the mean before the warp, so that it commutes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kerasreg.augment.color import ColorTransform
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.transform import Transform


@dataclass(frozen=True)
class Placed:
    """A transform, its unique name in the pipeline, and the first of its columns of uniform numbers."""

    transform: Transform
    name: str
    lane: int


@dataclass(frozen=True)
class Segment:
    """Transforms that are done in one step: at most one warp and one colour map per image."""

    steps: tuple[Placed, ...]

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
        last = max((i for i, step in enumerate(self.steps) if _fills(step.transform)), default=0)
        return [step for step in self.steps[:last] if isinstance(step.transform, ColorTransform)]


@dataclass(frozen=True)
class Plan:
    """What a pipeline does, step by step; `print` it.

    Attributes:
        segments: The steps, each a group of transforms that are done at once.
        fill_mode: What stands outside the image.
        fill_value: The colour of a constant fill, in the units of the images.
        value_range: The smallest and the largest value of a pixel.
        dtype: What comes out.
    """

    segments: tuple[Segment, ...]
    fill_mode: str
    fill_value: float
    value_range: tuple[float, float]
    dtype: str

    @property
    def steps(self) -> list[Placed]:
        """All transforms in order."""
        return [step for segment in self.segments for step in segment.steps]

    @property
    def resamples(self) -> int:
        """How often a pixel is interpolated on its way through the pipeline."""
        return sum(segment.resamples for segment in self.segments)

    @property
    def clips(self) -> bool:
        """Whether colours can leave the value range and are clipped at the end."""
        return any(segment.color for segment in self.segments)

    def __str__(self) -> str:
        lines = [f"{_count(len(self.steps), 'transform')} in {_count(len(self.segments), 'step')}"]
        for number, segment in enumerate(self.segments, 1):
            lines += [
                f"{number}. {line}" if not i else f"   {line}" for i, line in enumerate(self._tell(segment))
            ]
        alone = sum(_fills(step.transform) for step in self.steps)
        lines.append(f"resamples per image: {self.resamples} (one transform at a time: {alone})")
        clipped = f", clipped to {_interval(self.value_range)} at the end" if self.clips else ""
        # A pure move of pixels never leaves the dtype that it finds.
        inner = "float32" if self.resamples or self.clips else "the images' own dtype"
        lines.append(f"computed in {inner}{clipped}, returned as {self.dtype}")
        return "\n".join(lines)

    def _tell(self, segment: Segment) -> list[str]:
        parts = []
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
        return parts


def make_plan(
    transforms: Sequence[Transform],
    names: Sequence[str],
    fill_mode: str,
    fill_value: float,
    value_range: tuple[float, float],
    dtype: str,
) -> Plan:
    """Group neighbouring transforms into steps, in order."""
    groups: list[list[Placed]] = [[]]
    lane = 0
    for transform, name in zip(transforms, names, strict=True):
        if _must_split(groups[-1], transform, fill_mode):
            groups.append([])
        groups[-1].append(Placed(transform, name, lane))
        lane += transform.lanes
    segments = tuple(Segment(tuple(group)) for group in groups)
    return Plan(segments, fill_mode, fill_value, value_range, dtype)


def _must_split(group: Sequence[Placed], transform: Transform, fill_mode: str) -> bool:
    if fill_mode != "constant" or not _fills(transform):
        return False
    filled = False
    for step in group:
        filled = filled or _fills(step.transform)
        if filled and isinstance(step.transform, ColorTransform):
            return True
    return False


def _fills(transform: Transform) -> bool:
    return isinstance(transform, GeometricTransform) and not transform.moves_whole_pixels


def _names(steps: Sequence[Placed]) -> str:
    return ", ".join(step.name for step in steps)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _interval(pair: tuple[float, float]) -> str:
    return f"[{pair[0]:g}, {pair[1]:g}]"
