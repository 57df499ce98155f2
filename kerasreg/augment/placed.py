"""A transform at its place in a plan: its name, its columns of random numbers, its units, and its gate."""

from __future__ import annotations

from dataclasses import dataclass, field

import tensorflow as tf

from kerasreg.augment import draws
from kerasreg.augment.color import ColorMap
from kerasreg.augment.gates import Gate, opens
from kerasreg.augment.pixels import Found
from kerasreg.augment.transform import Size, Transform
from kerasreg.augment.units import Units


@dataclass
class Lanes:
    """The columns of random numbers of a plan, in the order in which they were taken.

    Attributes:
        words: For each column what `draws.uniforms` makes it from.
    """

    words: list[tuple[int, int]] = field(default_factory=list)

    def take(self, name: str, size: int) -> int:
        """The first of so many new columns under a name."""
        first = len(self.words)
        self.words += draws.lane_words([name], [size])
        return first


@dataclass(frozen=True)
class Placed:
    """A transform, its unique name in the pipeline, its first column of random numbers, its units.

    Attributes:
        gate: Of a member of a policy, what must hold for it to act.
        at_ends: Whether its magnitudes are the ends of its ranges, by the toss of a coin.
        policy: The name in the pipeline of the policy that it is of; empty where it is of none.
    """

    transform: Transform
    name: str
    lane: int
    units: Units
    gate: Gate = ()
    at_ends: bool = False
    policy: str = ""

    @property
    def units_after(self) -> Units:
        """The units it leaves."""
        return self.transform.units_after(self.units)

    @property
    def listed(self) -> str:
        """The name under which it stands in the pipeline."""
        return self.policy or self.name

    @property
    def turn(self) -> str:
        """What it shares with the other members of its round, of which at most one acts on an image."""
        return self.name.rpartition("/")[0] if self.policy else self.name

    def numbers(self, uniform: tf.Tensor) -> tf.Tensor:
        """Its columns of the pipeline's uniform numbers, `(images, lanes)`."""
        own = uniform[:, self.lane : self.lane + self.transform.lanes]
        if not self.at_ends:
            return own
        # The first number decides whether it fires, the others are magnitudes.
        return tf.concat([own[:, :1], tf.floor(2.0 * own[:, 1:])], axis=1)

    def fires(self, uniform: tf.Tensor) -> tf.Tensor:
        """Which images it changes, bool of shape `(images,)`."""
        return self.transform.fires(self.numbers(uniform)) & opens(self.gate, uniform)

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Of a transform that moves pixels: each image's matrix, the identity where it does not fire."""
        matrix = self.transform.gated_matrix(self.numbers(uniform), height, width)
        if not self.gate:
            return matrix
        idle = self.transform.idle_matrix(height, width)
        return tf.where(opens(self.gate, uniform)[:, None, None], matrix, idle)

    def color_map(self, uniform: tf.Tensor, mean: tf.Tensor) -> ColorMap:
        """Of a transform of colours: each image's map, the identity where it does not fire."""
        gain, bias = self.transform.gated_map(self.numbers(uniform), mean, self.units)
        if not self.gate:
            return gain, bias
        acts = opens(self.gate, uniform)[:, None]
        same = tf.ones_like(bias)
        if gain.shape.rank == 2:
            return tf.where(acts, gain, same), tf.where(acts, bias, 0.0)
        return tf.where(acts[:, None], gain, tf.linalg.diag(same)), tf.where(acts, bias, 0.0)

    def measure(self, pixels: tf.Tensor, uniform: tf.Tensor) -> Found:
        """Of a transform of pixels: the few numbers that it needs, and which images it changes."""
        found = self.transform.gated_numbers(pixels, self.numbers(uniform), self.units)
        return {**found, "fires": found["fires"] & opens(self.gate, uniform)} if self.gate else found

    def pairs(self, uniform: tf.Tensor, size: Size, rows: tf.Tensor) -> Found:
        """Of a transform that mixes images: each one's partner among the first `rows`, and its own share."""
        return self.transform.gated_shares(self.numbers(uniform), size, rows)
