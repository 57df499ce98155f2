"""What a check found: findings in words, figures in a table and in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from kerasreg.diagnostics.figures import Figures, KernelFigures
from kerasreg.diagnostics.finding import Finding

_SERIOUS = {"error": 0, "warning": 1}


class Report:
    """What `kr.check` found.

    Args:
        figures: What was measured.
        findings: What is wrong, in words.

    Example:
        >>> print(Report(Figures((), (), (), (), ()), []))
        nothing wrong was found
        <BLANKLINE>
        layer  weights' std  input RMS  predicted  measured  gradient
    """

    def __init__(self, figures: Figures, findings: Sequence[Finding]):
        self.figures = figures
        self.findings = sorted(findings, key=lambda finding: _SERIOUS.get(finding.severity, 2))

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Findings and figures as plain data, ready for JSON."""
        figures = asdict(self.figures)
        for row in figures["kernels"]:
            del row["signature"]
        return {"findings": [finding.to_dict() for finding in self.findings], "figures": figures}

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings] or ["nothing wrong was found"]
        header = ("layer", "weights' std", "input RMS", "predicted", "measured", "gradient")
        cells = [header, *(_cells(row) for row in self.figures.kernels)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        ]
        skipped = [f"not seen: {path}: {reason}" for path, reason in self.figures.skipped.items()]
        return "\n".join([*lines, "", *table, *skipped])

    __repr__ = __str__

    def plot(self, path: str | None = None) -> Any:
        """Draw the signal through depth, predicted against measured, and the gradient where it is known.

        What is 0 stands as a triangle on the lower edge, what is infinite or NaN on the upper one; the layers
        with findings are shaded.

        Args:
            path: Where to save the picture; it is not saved if None.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from kerasreg.diagnostics.picture import draw

        return draw(self.figures.kernels, self.findings, path)


def _cells(row: KernelFigures) -> tuple[str, ...]:
    name = row.layer if row.kernel in ("kernel", "embeddings") else f"{row.layer}.{row.kernel}"
    gradient = "" if row.gradient is None else f"{row.gradient:.3g}"
    figures = (row.std, row.input_rms, row.predicted_rms, row.output_rms)
    return (name, *(f"{value:.3g}" for value in figures), gradient)
