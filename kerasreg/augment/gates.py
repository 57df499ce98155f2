"""When a member of a policy acts on an image: conditions on the image's uniform numbers.

Every member of a round holds a ticket of its own, keyed by its own name, and the smallest wins. A member that
is added to a policy then changes the choice of those images alone that it wins itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Window:
    """A number in `[low, high)`: so a policy's probability is drawn, and how many of its rounds there are."""

    lane: int
    low: float
    high: float

    def holds(self, uniform: tf.Tensor) -> tf.Tensor:
        """For which images, bool of shape `(images,)`."""
        number = uniform[:, self.lane]
        return (number >= self.low) & (number < self.high)


@dataclass(frozen=True)
class Win:
    """The smallest `-log(u) / weight` of a round: each member has it by its share of the sum of weights.

    Attributes:
        lanes: The column of every member's ticket.
        weights: Of every member, at least 0.
        place: Which of the members.
    """

    lanes: tuple[int, ...]
    weights: tuple[float, ...]
    place: int

    def holds(self, uniform: tf.Tensor) -> tf.Tensor:
        """For which images, bool of shape `(images,)`."""
        return tf.equal(winner(uniform, self.lanes, self.weights), self.place)


Gate = tuple[Window | Win, ...]
"""What must hold together."""


def winner(uniform: tf.Tensor, lanes: Sequence[int], weights: Sequence[float]) -> tf.Tensor:
    """Which member wins each image, int32 of shape `(images,)`; one of weight 0 never does.

    Source:
        The minimum of exponential numbers; with keyed numbers it is the weighted rendezvous hashing of
        Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005.
    """
    with_chance = [i for i, weight in enumerate(weights) if weight > 0]
    tickets = tf.gather(uniform, [lanes[i] for i in with_chance], axis=1)
    waits = -tf.math.log(tickets + 2.0**-25) / tf.constant([weights[i] for i in with_chance], tf.float32)
    return tf.gather(tf.constant(with_chance, tf.int32), tf.argmin(waits, axis=1, output_type=tf.int32))


def opens(gate: Gate, uniform: tf.Tensor) -> tf.Tensor:
    """For which images all conditions hold, bool of shape `(images,)`."""
    together = tf.ones_like(uniform[:, 0], tf.bool)
    for condition in gate:
        together &= condition.holds(uniform)
    return together
