"""One of several transforms for each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.color import ColorTransform
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.pixels import PixelTransform
from kerasreg.augment.policy import Member, Policy, unique_names
from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units


@register
class RandomChoice(Policy):
    """Exactly one of several transforms for each image, drawn anew for every one.

    The one that is drawn keeps its own `probability`, so that an image may come out as it was. An image
    costs what its own transform costs; all that move pixels are one warp, with the geometry before them.

    A further transform in the list changes the choice of those images alone that it is drawn for.

    Args:
        transforms: What is chosen among, two or more; another policy may be one of them. What changes the
            size of images or their units (`Rescale`), or mixes images, cannot.
        weights: How often each is drawn, as shares of 1; `None` for all alike.
        probability: How often any is drawn at all, a number in [0, 1].
        name: See `Pipeline`.

    Raises:
        ValueError: No list of transforms, one that cannot be among them, or weights that are negative, not
            as many as the transforms, or do not sum to 1.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomChoice, RandomEqualize, RandomRotation, RandomShear
        >>> members = [RandomRotation(20), RandomShear(0.2), RandomEqualize(1)]
        >>> print(Pipeline([RandomChoice(members, weights=[0.3, 0.3, 0.4])]).explain())
        1 transform in 2 steps
        1. geometry: RandomChoice -> one bilinear warp, fill reflect
           RandomChoice: RandomRotation, RandomShear
        2. choice: RandomChoice, 1 round -> what each image drew, one by one
           RandomChoice: RandomEqualize
           apart from the step before: RandomChoice goes through the images one by one
        resamples per image: 1 (one transform at a time: 1)
        computed in float32, returned as float32
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        weights: Sequence[float] | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.transforms = _check_members(self._owner, transforms)
        self.weights = None if weights is None else _check_weights(self._owner, weights, len(self.transforms))
        names = unique_names(self.transforms, self._owner)
        shares = self.weights or [1.0] * len(names)
        self._members = [Member(*three) for three in zip(names, self.transforms, shares, strict=True)]

    def rounds(self) -> Sequence[Sequence[Member]]:
        """See `Policy.rounds`."""
        return [self._members]

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`, in types that JSON has."""
        transforms = [keras.saving.serialize_keras_object(transform) for transform in self.transforms]
        return {"transforms": transforms, "weights": self.weights, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RandomChoice:
        """The policy that `get_config` described."""
        transforms = [
            one if isinstance(one, Transform) else keras.saving.deserialize_keras_object(one)
            for one in config["transforms"]
        ]
        return cls(**{**config, "transforms": transforms})


def _check_members(owner: str, transforms: Any) -> list[Transform]:
    allowed = "a list of two or more transforms"
    if not isinstance(transforms, list | tuple) or len(transforms) < 2:
        raise arguments.refusal(owner, "transforms", allowed, transforms)
    for transform in transforms:
        if not isinstance(transform, Transform):
            hint = "write its call, with parentheses" if isinstance(transform, type) else None
            raise arguments.refusal(
                owner, "transforms", allowed, arguments.Came(f"{transform!r} in it"), hint
            )
        _check_member(owner, transform)
    return list(transforms)


def _check_member(owner: str, transform: Transform) -> None:
    units = Units.of((0, 255))
    if not isinstance(transform, GeometricTransform | ColorTransform | PixelTransform | Policy):
        allowed = "transforms of one image that are matrices or work on its pixels, or policies of these"
    elif transform.units_after(units) != units:
        allowed = "transforms that leave the units of the values alone"
    elif transform.changes_size:
        allowed = "transforms that leave the size of images alone"
    else:
        return
    raise arguments.refusal(
        owner,
        "transforms",
        allowed,
        arguments.Came(f"{transform!r} in it"),
        "put it before or behind the choice",
    )


def _check_weights(owner: str, weights: Any, count: int) -> list[float]:
    allowed = f"{count} numbers of at least 0 that sum to 1, one for each transform"
    if not isinstance(weights, list | tuple | np.ndarray) or len(weights) != count:
        raise arguments.refusal(owner, "weights", allowed, weights)
    found = [arguments.number(owner, "weights", weight, 0) for weight in weights]
    if not math.isclose(sum(found), 1, abs_tol=1e-6):
        raise arguments.refusal(
            owner, "weights", allowed, arguments.Came(f"{weights!r}, the sum {sum(found):g}")
        )
    return found
