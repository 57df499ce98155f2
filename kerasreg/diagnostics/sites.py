"""Where the figures of a look at a model come from."""

from __future__ import annotations

from dataclasses import dataclass

from kerasreg._core.kernels import Kernel, calibrated_call
from kerasreg.diagnostics.intentions import right_fans, variances


@dataclass(frozen=True)
class KernelFacts:
    """What is known of a kernel without its numbers; as in `KernelFigures`."""

    type: str
    attribute: str
    kind: str
    shape: tuple[int, ...]
    fan_in: float
    remedy: str
    intended_variance: float | None
    misread_variance: float | None

    @classmethod
    def of(cls, kernel: Kernel) -> KernelFacts:
        """The facts of one kernel."""
        meant, given = variances(kernel) or (None, None)
        return cls(
            type(kernel.layer).__name__,
            kernel.attribute,
            kernel.kind,
            tuple(kernel.variable.shape),
            right_fans(kernel)[0],
            calibrated_call(kernel),
            meant,
            given,
        )


@dataclass(frozen=True)
class Site:
    """Where figures come from: what sort, the layer's path and call, and of a kernel what it is."""

    sort: str
    path: str
    call: int = 1
    kernel: KernelFacts | None = None

    @property
    def name(self) -> str:
        """The path, with the number of a later call."""
        return self.path if self.call == 1 else f"{self.path}:{self.call}"
