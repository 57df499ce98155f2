"""AugMix: the image mixed with several chains of operations on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.distributions import beta_quantile, dirichlet
from kerasreg.augment.gates import Gate, Window
from kerasreg.augment.mixture import Mixture
from kerasreg.augment.operations import GEOMETRY, TABLES, check_operations, operation
from kerasreg.augment.pixels import Found
from kerasreg.augment.policy import Member, Policy
from kerasreg.augment.tables import RandomPosterize
from kerasreg.augment.units import Units

_HIGHEST = 10.0
_DEEPEST = 3
_OPERATIONS = (*GEOMETRY, *TABLES)


@register
class AugMix(Mixture):
    """Mixes each image with `width` chains of one to three random operations on it.

        out = (1 - m) * image + m * (w_1 chain_1(image) + ... + w_width chain_width(image)),

    `w ~ Dirichlet(alpha, ..., alpha)`, `m ~ Beta(alpha, alpha)`, all drawn for each image. Labels stay as
    they are. Masks, boxes and keypoints have no one place in a mixture: elements with them are refused.

    The operations, each with the range from which its magnitude is drawn, at severities of 3 and 10:

        operation                                      3                    10
        ShearX, ShearY: slope                          +-0.09               +-0.3
        TranslateX, TranslateY: share of the side      +-0.1                +-0.333
        Rotate: degrees                                +-9                  +-30
        Posterize: bits kept                           4 or (1 in 6) 3      1 to 4
        Solarize: inverted from this share of the range up
                                                       0.7 to 1             0 to 1
        AutoContrast, Equalize                         have none

    They do not overlap with the corruptions of ImageNet-C, on which such models are judged. Where that does
    not matter, `operations` takes Brightness, Color, Contrast and Sharpness too (by 1 +- 0.09 * severity).

    In a chain, what moves pixels is done first, in one warp, and the rest in the order that was drawn; with
    `Pipeline(..., exact=True)` all is done in that order. A chain costs about what `RandAugment` does.

    Args:
        severity: How strong the operations are, from 0 to 10.
        width: How many chains, a whole number of at least 1.
        depth: How many operations a chain has; -1 to draw 1, 2 or 3 for each image and chain.
        alpha: The parameter of both distributions, above 0. The smaller, the more often one chain, or the
            image, is nearly alone.
        operations: Names of the operations, out of those of `RandAugment`; `None` for the nine.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Hendrycks et al., "AugMix: A simple data processing method to improve robustness and uncertainty",
        2020; the ranges are those of the code that its authors published.

    Example:
        >>> from kerasreg.augment import AugMix, Pipeline
        >>> print(Pipeline([AugMix()]).explain())
        1 transform in 1 step
        1. mixture: AugMix -> a weighted mean of the image and 3 chains, of each
              geometry: AugMix -> one bilinear warp, fill reflect
              AugMix: ShearX, ShearY, TranslateX, TranslateY, Rotate
              choice: AugMix, 3 rounds -> what each image drew, one by one
              AugMix: Posterize, Solarize, AutoContrast, Equalize
        resamples per image: 3 (one transform at a time: 9)
        computed in float32, clipped to [0, 255] at the end, returned as float32
    """

    def __init__(
        self,
        severity: float = 3,
        width: int = 3,
        depth: int = -1,
        alpha: float = 1.0,
        operations: Sequence[str] | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.severity = arguments.number(self._owner, "severity", severity, 0, _HIGHEST)
        self.width = arguments.integer(self._owner, "width", width, 1)
        self.depth = arguments.integer(self._owner, "depth", depth, -1)
        if self.depth == 0:
            raise arguments.refusal(self._owner, "depth", "a whole number of at least 1, or -1", depth)
        self.alpha = arguments.number(self._owner, "alpha", alpha, 0, open_low=True)
        self.operations = operations if operations is None else check_operations(self._owner, operations)
        self._chain = _Chain(self.severity, self.depth, self.operations or _OPERATIONS)

    @property
    def magnitudes(self) -> int:
        """The share of the chains together, and a weight for each."""
        return 1 + self.width

    @property
    def chain(self) -> Policy:
        """See `Mixture.chain`."""
        return self._chain

    def shares(self, uniform: tf.Tensor) -> Found:
        """See `Mixture.shares`."""
        mixed = tf.where(self.fires(uniform), beta_quantile(uniform[:, 1], self.alpha, self.alpha), 0.0)
        return {"image": 1.0 - mixed, "chains": mixed[:, None] * dirichlet(uniform[:, 2:], self.alpha)}

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`, in types that JSON has."""
        named = ("severity", "width", "depth", "alpha", "operations")
        return {**{name: getattr(self, name) for name in named}, **super().get_config()}


class _Chain(Policy):
    """One chain: rounds of the same members, as many as are drawn or as were asked for."""

    def __init__(self, severity: float, depth: int, operations: Sequence[str]) -> None:
        super().__init__()
        share = severity / _HIGHEST
        self._random = depth == -1
        self._depth = _DEEPEST if self._random else depth
        self._members = []
        for one in operations:
            made = operation(
                one,
                shear=0.3 * share,
                shift=share / 3,
                degrees=30 * share,
                strength=0.9 * share,
                bits=(4, 4),
                threshold=(1 - share, 1.0),
            )
            self._members.append(Member(one, _Posterize(4 * share) if one == "Posterize" else made))

    def rounds(self) -> Sequence[Sequence[Member]]:
        """See `Policy.rounds`."""
        return [self._members] * self._depth

    def when(self, lane: int, number: int) -> Gate:
        """Of the depths, which are as likely as each other, those above the round's number have it."""
        return (Window(lane, number / self._depth, 1.0),) if self._random and number else ()


class _Posterize(RandomPosterize):
    """Keeps `4 - floor(level)` bits, with the level drawn below its bound; at least one."""

    def __init__(self, highest: float) -> None:
        super().__init__(4, probability=1)
        self._highest = highest

    def measure(self, images: tf.Tensor, uniform: tf.Tensor, units: Units) -> Found:
        """See `PixelTransform.measure`."""
        bits = tf.maximum(4.0 - tf.floor(self._highest * uniform[:, 0]), 1.0)
        return {"step": tf.pow(2.0, 8.0 - bits)}
