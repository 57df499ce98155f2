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

        Args:
            path: Where to save the picture; it is not saved if None.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from matplotlib.figure import Figure

        rows = self.figures.kernels
        gradients = [row.gradient for row in rows]
        known = any(gradient is not None for gradient in gradients)
        figure = Figure(figsize=(7.0, 5.6 if known else 3.2), layout="constrained")
        panels = figure.subplots(2 if known else 1, 1, sharex=True, squeeze=False)[:, 0]
        places = range(len(rows))
        panels[0].plot(places, _drawable([row.output_rms for row in rows]), "o-", ms=4, label="measured")
        predicted = _drawable([row.predicted_rms for row in rows])
        panels[0].plot(places, predicted, "x--", ms=5, color="0.4", label="predicted, n Var(w) E[x²]")
        panels[0].set_ylabel("RMS of the linear output")
        panels[0].legend(frameon=False, fontsize=8)
        if known:
            panels[1].plot(places, _drawable(gradients), "s-", ms=4, color="C3")
            panels[1].set_ylabel("norm of the gradient")
        for panel in panels:
            panel.set_yscale("log")
            panel.grid(alpha=0.25)
        every = max(1, len(rows) // 24)
        panels[-1].set_xticks(
            list(places)[::every], [row.layer for row in rows][::every], rotation=90, fontsize=7
        )
        if path is not None:
            figure.savefig(path, dpi=110)
        return figure


def _cells(row: KernelFigures) -> tuple[str, ...]:
    name = row.layer if row.kernel in ("kernel", "embeddings") else f"{row.layer}.{row.kernel}"
    gradient = "" if row.gradient is None else f"{row.gradient:.3g}"
    figures = (row.std, row.input_rms, row.predicted_rms, row.output_rms)
    return (name, *(f"{value:.3g}" for value in figures), gradient)


def _drawable(values: Sequence[float | None]) -> list[float]:
    """Values on a logarithmic axis: zeros and missing ones leave a gap."""
    return [value if value else float("nan") for value in values]
