"""One thing that is wrong with one layer, in words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What is wrong, where, how badly, and the edit that cures it.

    Args:
        layer: The layer's path in the model.
        code: A short stable name, such as `dead-units`.
        severity: `"error"`, `"warning"`, or `"note"` for what passes by itself.
        message: One sentence with the numbers.
        remedy: The edit to make.
        step: In a training, the optimizer's step since which it is so.
        cleared: The step by which it was clearly better again.

    Example:
        >>> print(Finding("dense", "dead-units", "warning", "99 % of the outputs are 0.", "Lower the rate."))
        warning dead-units in dense: 99 % of the outputs are 0. Lower the rate.
    """

    layer: str
    code: str
    severity: str
    message: str
    remedy: str
    step: int | None = None
    cleared: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.severity} {self.code} in {self.layer}: {self.message} {self.remedy}"
