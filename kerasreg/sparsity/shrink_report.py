"""What became smaller in `shrink`, in plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ShrinkReport:
    """Sizes before and after, and what was left as it was.

    Attributes:
        units: From the path of each layer that lost units or filters to their number before and after.
        left: From the path of each layer whose zero units stay to the reason.
        unused_inputs: From the name of each input of which some features are read by no weight to their
            numbers; they stay, since the model's input keeps its shape.
        parameters: The number of the model's parameters before and after.

    Example:
        >>> left = {"h2": "its output goes to Add 'add'"}
        >>> print(ShrinkReport({"h1": (64, 5)}, left, {"x": [1, 2]}, (900, 81)))
        900 parameters -> 81 (9.0 %)
        h1: 64 units -> 5
        h2 left: its output goes to Add 'add'
        x: 2 features are read by no weight
    """

    units: dict[str, tuple[int, int]]
    left: dict[str, str]
    unused_inputs: dict[str, list[int]]
    parameters: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        before, after = self.parameters
        lines = [f"{before} parameters -> {after} ({after / max(before, 1):.1%})".replace("%", " %")]
        lines += [f"{path}: {old} units -> {new}" for path, (old, new) in self.units.items()]
        lines += [f"{path} left: {why}" for path, why in self.left.items()]
        lines += [
            f"{name}: {len(found)} feature{'s are' if len(found) > 1 else ' is'} read by no weight"
            for name, found in self.unused_inputs.items()
        ]
        return "\n".join(lines)
