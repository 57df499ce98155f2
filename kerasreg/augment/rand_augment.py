"""Published policies that need no search: RandAugment and TrivialAugment, drawn for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.operations import OPERATIONS, check_operations, operation
from kerasreg.augment.policy import Member, Policy

_HIGHEST = 30.0


@register
class RandAugment(Policy):
    """Applies `n` operations in turn, each drawn from 14, at one common magnitude.

    Every image draws its own operations, and for each that has a sign its sign. What a magnitude means:

        operation                                      0          9              30
        ShearX, ShearY: slope                          0          +-0.09         +-0.3
        TranslateX, TranslateY: share of the side      0          +-0.136        +-0.453
        Rotate: degrees                                0          +-9            +-30
        Brightness, Color, Contrast, Sharpness: by     1          1 +- 0.27      1 +- 0.9
        Posterize: bits kept                           8          7              4
        Solarize: inverted from this share of the range up
                                                       1          0.7            0
        AutoContrast, Equalize, Identity               have none

    These are the ranges of torchvision's `RandAugment`. Brightness is about black, Color about each pixel's
    grey value, Contrast about the mean grey value, as in Pillow. Color changes nothing on images without
    three channels.

    Order: what moves pixels is done first, in one warp for all rounds together with the geometry before it,
    and the rest in the order of the rounds. An Equalize of the first round thus sees what a Rotate of the
    second has moved. `Pipeline(..., exact=True)` keeps the order of the rounds, at a resample for each.

    Other differences from the paper: bilinear in place of nearest pixels; outside the image stands the
    pipeline's `fill_mode`, not grey; shears are about the centre; nothing is rounded to bytes in between.

    Args:
        n: How many operations in turn, a whole number of at least 1. One may be drawn twice.
        magnitude: From 0 (nothing to be seen, apart from AutoContrast and Equalize) to 30.
        operations: Which of the 14 are drawn from, a list of names; `None` for all.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", 2020.

    Example:
        >>> from kerasreg.augment import Pipeline, RandAugment, RandomFlip
        >>> print(Pipeline([RandomFlip(), RandAugment()]).explain())
        2 transforms in 2 steps
        1. geometry: RandomFlip, RandAugment -> one bilinear warp, fill reflect
           RandAugment: ShearX, ShearY, TranslateX, TranslateY, Rotate
        2. choice: RandAugment, 2 rounds -> what each image drew, one by one
           RandAugment: Brightness, Color, Contrast, Sharpness, Posterize, Solarize, AutoContrast, Equalize
           apart from the step before: RandAugment goes through the images one by one
        resamples per image: 1 (one transform at a time: 2)
        computed in float32, returned as float32
    """

    def __init__(
        self,
        n: int = 2,
        magnitude: float = 9,
        operations: Sequence[str] | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.n = arguments.integer(self._owner, "n", n, 1)
        self.magnitude = arguments.number(self._owner, "magnitude", magnitude, 0, _HIGHEST)
        self.operations = operations if operations is None else check_operations(self._owner, operations)
        share = self.magnitude / _HIGHEST
        bits = 8 - round(4 * share)
        self._members = [
            Member(
                one,
                operation(
                    one,
                    shear=0.3 * share,
                    shift=150 / 331 * share,
                    degrees=30 * share,
                    strength=0.9 * share,
                    bits=(bits, bits),
                    threshold=(1 - share, 1 - share),
                ),
                at_ends=True,
            )
            for one in self.operations or OPERATIONS
        ]

    def rounds(self) -> Sequence[Sequence[Member]]:
        """See `Policy.rounds`."""
        return [self._members] * self.n

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`, in types that JSON has."""
        return {
            "n": self.n,
            "magnitude": self.magnitude,
            "operations": self.operations,
            **super().get_config(),
        }


@register
class TrivialAugment(Policy):
    """Applies one operation to each image, both it and its magnitude drawn evenly. There is nothing to tune.

    The operations are those of `RandAugment`, and magnitudes are drawn up to:

        operation                                      wide               wide=False
        ShearX, ShearY: slope                          +-0.99             +-0.3
        TranslateX, TranslateY: pixels                 +-32               +-10
        Rotate: degrees                                +-135              +-30
        Brightness, Color, Contrast, Sharpness: by     1 +- 0.99          1 +- 0.9
        Posterize: bits kept                           2 to 8             4 to 8
        Solarize: inverted from this share of the range up
                                                       0 to 1             0 to 1
        AutoContrast, Equalize, Identity               have none

    The paper cuts magnitudes into 31 steps; here they are continuous, and every number of bits is as likely.
    What `RandAugment` says of images without three channels, of fills and of bilinear pixels holds here too.

    Args:
        wide: Whether the ranges are the paper's wide ones, by which it is known, or those of RandAugment.
        operations: Which of the 14 are drawn from, a list of names; `None` for all.
        probability: How often an image is changed at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Müller and Hutter, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation", 2021.

    Example:
        >>> TrivialAugment(operations=["Identity", "Rotate", "Equalize"])
        TrivialAugment(operations=['Identity', 'Rotate', 'Equalize'])
    """

    def __init__(
        self,
        wide: bool = True,
        operations: Sequence[str] | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.wide = arguments.flag(self._owner, "wide", wide)
        self.operations = operations if operations is None else check_operations(self._owner, operations)
        self._members = [
            Member(
                one,
                operation(
                    one,
                    shear=0.99 if wide else 0.3,
                    shift=32.0 if wide else 10.0,
                    in_pixels=True,
                    degrees=135.0 if wide else 30.0,
                    strength=0.99 if wide else 0.9,
                    bits=(2 if wide else 4, 8),
                    threshold=(0.0, 1.0),
                ),
            )
            for one in self.operations or OPERATIONS
        ]

    def rounds(self) -> Sequence[Sequence[Member]]:
        """See `Policy.rounds`."""
        return [self._members]

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`, in types that JSON has."""
        return {"wide": self.wide, "operations": self.operations, **super().get_config()}
