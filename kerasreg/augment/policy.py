"""What is common to policies: rounds, in each of which one member acts on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment.color import ColorMap, ColorTransform
from kerasreg.augment.gates import Gate, Win, Window
from kerasreg.augment.placed import Lanes, Placed
from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units


class Member(NamedTuple):
    """One of the transforms that a round chooses among.

    Attributes:
        name: What its random numbers are keyed by within the round.
        transform: What it does.
        weight: How often it is chosen, as a share of the sum of the weights of its round.
        at_ends: Whether its magnitudes are the ends of its ranges, by the toss of a coin.
    """

    name: str
    transform: Transform
    weight: float = 1.0
    at_ends: bool = False


class Identity(ColorTransform):
    """Changes nothing: the member of a policy that leaves an image as it is."""

    magnitudes = 0

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor, units: Units) -> ColorMap:
        """See `ColorTransform.color_map`."""
        return tf.ones_like(mean), tf.zeros_like(mean)


class Policy(Transform):
    """A transform that draws from others for each image; a subclass writes `rounds`."""

    magnitudes = 0

    def rounds(self) -> Sequence[Sequence[Member]]:
        """What is chosen among, one after the other."""
        raise NotImplementedError(f"{type(self).__name__} must write `rounds`")

    @property
    def invertible(self) -> bool:
        """Whether all members are."""
        return all(member.transform.invertible for members in self.rounds() for member in members)

    @property
    def members(self) -> list[Transform]:
        """Every transform that it may choose, those of policies in it too."""
        found: list[Transform] = []
        for members in self.rounds():
            for member in members:
                inner = (
                    member.transform.members if isinstance(member.transform, Policy) else [member.transform]
                )
                found += [one for one in inner if all(one is not other for other in found)]
        return found

    def when(self, lane: int, number: int) -> Gate:
        """When there is a round of this number: where the policy fires, by its own random number."""
        return (Window(lane, 0.0, self.probability),)


def place(
    policy: Policy, name: str, lanes: Lanes, units: Units, gate: Gate = (), outermost: str | None = None
) -> list[list[Placed]]:
    """The members of a policy by rounds, of each of which at most one acts on an image.

    A policy within a policy takes as many rounds as it has, while the other members take the first of these.
    """
    own = lanes.take(name, policy.lanes)
    outermost = outermost or name
    rounds: list[list[Placed]] = []
    for number, members in enumerate(policy.rounds()):
        names = [f"{name}/{number}/{member.name}" for member in members]
        tickets = tuple(lanes.take(f"{one} is chosen", 1) for one in names)
        weights = tuple(member.weight for member in members)
        inner: list[list[Placed]] = [[]]
        for i, (one, member) in enumerate(zip(names, members, strict=True)):
            opens = (*gate, *policy.when(own, number), Win(tickets, weights, i))
            if isinstance(member.transform, Policy):
                placed = place(member.transform, one, lanes, units, opens, outermost)
            elif isinstance(member.transform, Identity):
                continue
            else:
                first = lanes.take(one, member.transform.lanes)
                placed = [[Placed(member.transform, one, first, units, opens, member.at_ends, outermost)]]
            inner += [[] for _ in placed[len(inner) :]]
            for steps, more in zip(inner, placed, strict=False):
                steps += more
        rounds += inner
    return [steps for steps in rounds if steps]


def unique_names(transforms: Sequence[Transform], owner: str = "Pipeline") -> list[str]:
    """The name of each transform: its own, or its class's with a number from the second on."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for transform in transforms:
        name = transform.name
        if name is None:
            kind = type(transform).__name__
            name = f"{kind}_{seen[kind]}" if kind in seen else kind
            seen[kind] = seen.get(kind, 0) + 1
        if name in names:
            raise arguments.refusal(
                owner,
                "transforms",
                "a list of transforms with different names",
                arguments.Came(f"two named {name!r}"),
            )
        names.append(name)
    return names
