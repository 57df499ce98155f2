"""What the rules know of a training beside the figures of its layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kerasreg.diagnostics.figures import InputFigures, KernelFigures


@dataclass(frozen=True)
class LayerFacts:
    """What a layer is, as far as a rule asks.

    Args:
        type: Its class.
        activation: The name of its activation, empty if it has none.
        weighted: Whether it multiplies by a kernel that is trained.
        rectifier: Whether its units can fall silent for good.
        bounded: Whether its activation is flat at both ends.
        output: Whether it is the model's last linear layer or comes after it.
        units: Its channels; 0 where nobody knows.
        momentum: Of a batch norm, the weight of the old value in its moving statistics.
        fresh: Whether a batch norm began this training with the statistics it was built with.
        penalised: Whether a regularizer or a constraint acts on its kernel.
        remedy: The argument that gives its kernel a fitting initializer.
    """

    type: str = "Layer"
    activation: str = ""
    weighted: bool = False
    rectifier: bool = False
    bounded: bool = False
    output: bool = False
    units: int = 0
    momentum: float | None = None
    fresh: bool = False
    penalised: bool = False
    remedy: str = "kernel_initializer=kr.initializers.Calibrated('relu')"


@dataclass(frozen=True)
class Training:
    """A training up to the end of an epoch.

    Args:
        layers: What each layer is, by its path; empty where only rows are known.
        rate: The optimizer's learning rate now.
        largest_rate: The largest learning rate so far: schedules end at small ones.
        logs: Keras' logs of the epoch.
        losses: The loss that Keras showed at observed steps, a mean over its epoch so far.
        first_step: The first step observed in this training.
        first: Each layer's row at that step.
        first_dead: Each layer's share of dead units at the end of the first window.
        first_window: How many steps were observed in it.
        inputs: The scale of the data, one entry for each input.
        first_inputs: What the first linear layers read.
        bad_inputs: How many numbers of each input were not finite, by observed step.
        kernels: The kernels as they were when training began, in the order of the calls.
        stuck: Paths of kernels that began with equal units or zeros and still have them.
        bad_weights: Paths of layers that hold non-finite weights now.
        advised: The learning rate that the size of the updates speaks for.
    """

    layers: Mapping[str, LayerFacts] = field(default_factory=dict)
    rate: float | None = None
    largest_rate: float | None = None
    logs: Mapping[str, float] = field(default_factory=dict)
    losses: Mapping[int, float] = field(default_factory=dict)
    first_step: int = 0
    first: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    first_dead: Mapping[str, float] = field(default_factory=dict)
    first_window: int = 0
    inputs: tuple[InputFigures, ...] = ()
    first_inputs: tuple[InputFigures, ...] = ()
    bad_inputs: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    kernels: tuple[KernelFigures, ...] = ()
    stuck: frozenset[str] = frozenset()
    bad_weights: frozenset[str] = frozenset()
    advised: float | None = None

    def of(self, layer: str) -> LayerFacts | None:
        """What the layer of a row is; None where nothing is known."""
        return self.layers.get(layer.partition(":")[0])

    def called(self, layer: str) -> str:
        """The layer's class and path, for a message."""
        facts = self.of(layer)
        return f"{facts.type if facts else 'Layer'} '{layer}'"

    def remedy(self, layer: str) -> str:
        """The argument that gives the layer a fitting initializer."""
        return (self.of(layer) or LayerFacts()).remedy

    def is_output(self, layer: str) -> bool:
        """Whether nothing linear comes after the layer."""
        facts = self.of(layer)
        return facts is not None and facts.output

    @property
    def learning(self) -> bool:
        """Whether the epoch's loss is clearly below that of the first batch."""
        first, now = self.losses.get(self.first_step, math.nan), self.logs.get("loss", math.nan)
        return now < first - 0.02 * abs(first)

    def lower_rate(self, factor: float = 10.0) -> str:
        """What to do about a learning rate that is too high, with the number where it is known."""
        if not self.rate:
            return f"Divide the learning rate by {factor:.0f}"
        lower = min(self.rate / factor, self.advised or math.inf)
        return f"Lower the learning rate from {self.rate:.3g} to {rounded(lower)}"


def rounded(value: float) -> str:
    """One digit: more would pretend to know.

    >>> rounded(0.000348), rounded(0.0096), rounded(2.4)
    ('0.0003', '0.01', '2')
    """
    return f"{float(f'{value:.0e}'):g}"
