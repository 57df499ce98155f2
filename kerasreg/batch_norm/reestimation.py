"""What `reestimate` did, in plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Reestimation:
    """How far the statistics of each batch norm moved.

    Attributes:
        batches: How many batches were measured.
        rows: A dict for each layer: `layer`, its path; `values`, how many values each of its features had, of
            the feature with the fewest; `mean_shift`, the root mean square over the features of
            (new mean - old mean) / new standard deviation; `variance_ratio`, the geometric mean over the
            features of new / old variance. Both count epsilon into the variances, as the layer does.
        frozen: The paths of the batch norms that are frozen, and kept what they had.
    """

    batches: int
    rows: tuple[dict[str, Any], ...]
    frozen: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        width = max(len(row["layer"]) for row in (*self.rows, {"layer": "layer"}))
        lines = [f"{'layer':<{width}}  {'values':>12}  {'mean shift':>10}  {'variance':>9}"]
        lines += [
            f"{row['layer']:<{width}}  {row['values']:>12}  {row['mean_shift']:>7.3g} sd  "
            f"{'x ' + format(row['variance_ratio'], '.3g'):>9}"
            for row in self.rows
        ]
        lines += [f"frozen, as it was: {path}" for path in self.frozen]
        return "\n".join([*lines, f"{self.batches} batch{'' if self.batches == 1 else 'es'}"])
