"""One step of a plan: transforms that are done at once, and what there is to know of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kerasreg.augment.color import ColorTransform
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.mix import MixTransform
from kerasreg.augment.mixture import Mixture
from kerasreg.augment.pixels import PixelTransform
from kerasreg.augment.placed import Placed
from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units

if TYPE_CHECKING:
    from kerasreg.augment.plan import Plan

AFFINE = "affine"
"""The kind of step that is one warp and one colour map."""

CHOICE = "choice"
"""The kind of step that goes through the images one by one, and does to each what its policy chose for it."""

MIXTURE = "mixture"
"""The kind of step that mixes each image with what several draws of a chain of steps make of it."""


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
        return CHOICE if self.rounds else kind_of(self.steps[0].transform)

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
        return max((i for i, step in enumerate(self.steps) if brings_fill(step.transform)), default=0)


def kind_of(transform: Transform) -> str:
    """The kind of step that a transform needs."""
    return transform.kind if isinstance(transform, PixelTransform | MixTransform | Mixture) else AFFINE


def brings_fill(transform: Transform) -> bool:
    """Whether what stands outside the image can come into sight by a transform."""
    return isinstance(transform, GeometricTransform) and transform.fills


def listed(steps: Sequence[Placed]) -> str:
    """The names under which transforms stand in the pipeline, each once."""
    return ", ".join(dict.fromkeys(step.listed for step in steps))
