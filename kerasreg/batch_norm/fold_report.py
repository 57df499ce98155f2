"""What became of each batch norm in `fold_batch_norm`, in plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FoldReport:
    """Which batch norms were folded, and why the others were not.

    Attributes:
        folded: From the path of each batch norm that is gone to the path of the layer that does its work.
        left: From the path of each batch norm that is left to the reason.

    Example:
        >>> print(FoldReport({"bn1": "conv1"}, {"bn2": "its input comes from ReLU 'relu'"}))
        1 of 2 batch norms folded
        bn1 -> conv1
        bn2 left: its input comes from ReLU 'relu'
    """

    folded: dict[str, str]
    left: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        total = len(self.folded) + len(self.left)
        return "\n".join(
            [
                f"{len(self.folded)} of {total} batch norms folded",
                *(f"{path} -> {into}" for path, into in self.folded.items()),
                *(f"{path} left: {why}" for path, why in self.left.items()),
            ]
        )
