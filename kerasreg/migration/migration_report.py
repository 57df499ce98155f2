"""What became of each part in `to_keras`, in plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class MigrationReport:
    """Which layers have a counterpart in Keras, and what the new model does not do as the old one did.

    Predictions are the same; what is told here is how the model trains, and what it was compiled with.

    Attributes:
        replaced: From the path of each layer of kerasreg to the layer of Keras in its place.
        differs: From the path of a layer, an argument of one or a weight to what is other than it was, or
            gone because Keras has no counterpart.

    Example:
        >>> print(MigrationReport({"drop": "Dropout"}, {"dense/kernel_regularizer": "GroupLasso is gone"}))
        1 layer replaced by Keras' own, 1 difference in training
        drop -> Dropout
        dense/kernel_regularizer: GroupLasso is gone
    """

    replaced: dict[str, str]
    differs: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        layers, others = len(self.replaced), len(self.differs)
        return "\n".join(
            [
                f"{layers} layer{'s' * (layers != 1)} replaced by Keras' own, "
                f"{others} difference{'s' * (others != 1)} in training",
                *(f"{path} -> {name}" for path, name in self.replaced.items()),
                *(f"{path}: {what}" for path, what in self.differs.items()),
            ]
        )
