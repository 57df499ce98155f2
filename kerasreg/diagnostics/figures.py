"""What one look at a model measures, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class KernelFigures:
    """A layer's kernel, and the signal at one call of the layer.

    Args:
        layer: The layer's path; a later call of a shared layer is `path:2`.
        type: The layer's class.
        kernel: The name of the variable in the layer.
        kind: What the layer does with it, as in `kr.initializers.Calibrated`.
        shape: The kernel's shape.
        mean: The mean of the weights.
        std: Their standard deviation.
        largest: The largest absolute weight.
        constant: Whether all weights are one number.
        distinct_units: How many different units the kernel and the bias make.
        input_rms: The RMS of what the layer reads; 1 for an embedding.
        input_variation: The part of it that differs between rows and positions.
        predicted_rms: sqrt(n Var(w) E[x^2]).
        output_rms: The RMS of the linear output, before the activation.
        output_variation: The part of it that differs between rows and positions.
        dead: The share of units whose activation is 0 throughout the batch.
        saturated: The share of activations in the flat part of a bounded activation.
        gradient: The norm of the loss' gradient in the kernel, None without targets.
        output: Whether no other linear layer comes after it.
        branch_end: Whether it is the last of a residual branch.
        frozen: Whether the kernel is not trained.
        remedy: The call of a fitting initializer.
        intended_variance: What the kernel's initializer would give with the right fan.
        misread_variance: What it gives with the fan that Keras reads off the shape; None where that is right.
        signature: A projection of the kernel that equal kernels share.
    """

    layer: str
    type: str
    kernel: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    std: float
    largest: float
    constant: bool
    distinct_units: int
    input_rms: float
    input_variation: float
    predicted_rms: float
    output_rms: float
    output_variation: float
    dead: float | None = None
    saturated: float | None = None
    gradient: float | None = None
    output: bool = False
    branch_end: bool = False
    frozen: bool = False
    remedy: str = ""
    intended_variance: float | None = None
    misread_variance: float | None = None
    signature: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def units(self) -> int:
        """The units or channels of the output."""
        return self.shape[-2] if self.kind == "transpose" else self.shape[-1]


@dataclass(frozen=True)
class ActivationFigures:
    """A layer that is an activation of its own: the share of units dead, the share of values saturated."""

    layer: str
    type: str
    dead: float
    saturated: float
    input_variation: float


@dataclass(frozen=True)
class NormFigures:
    """A batch norm's moving statistics against the batch's.

    Args:
        layer: The layer's path.
        shift: The RMS over features of (batch mean - moving mean) / moving standard deviation.
        ratio: The mean over features of |log(batch variance / moving variance)|.
        untouched: Whether the moving statistics are those of a new layer.
        rows: Rows of the batch.
    """

    layer: str
    shift: float
    ratio: float
    untouched: bool
    rows: int


@dataclass(frozen=True)
class InputFigures:
    """One of the model's inputs, as it came.

    Args:
        name: The input's name.
        rms: The RMS of its numbers.
        offset: The share of features whose mean is over ten standard deviations from 0.
        spread: The largest standard deviation over the median one, among features that vary.
        varying: The share of features that vary at all.
    """

    name: str
    rms: float
    offset: float
    spread: float
    varying: float


@dataclass(frozen=True)
class Figures:
    """Everything that a look at a model measures, in the order of the calls."""

    kernels: tuple[KernelFigures, ...]
    activations: tuple[ActivationFigures, ...]
    norms: tuple[NormFigures, ...]
    inputs: tuple[InputFigures, ...]
    first_inputs: tuple[InputFigures, ...]
    loss: float | None = None
    skipped: dict[str, str] = field(default_factory=dict)
