"""The layers at the step observed last, as a table for a terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kerasreg.diagnostics.finding import Finding


def _number(value: float) -> str:
    """At most seven characters: TensorBoard breaks what is longer."""
    if 0 < abs(value) < 0.01:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits}e{int(power)}"
    return f"{value:.3g}"


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else _number(value)


_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("mean", "mean", _number),
    ("std", "std", _number),
    ("rms", "RMS", _number),
    ("zeros", "zeros", _share),
    ("dead", "dead", _share),
    ("saturated", "saturated", _share),
    ("nonfinite", "NaN/inf", _number),
    ("gradient_norm", "gradient", _number),
    ("update_ratio", "update", _number),
    ("batch_norm_drift", "BN drift", _number),
    ("skipped_batches", "skipped", _number),
)
# Counts of what should not happen: a column of zeros would say nothing.
_ONLY_IF_ANY = {"nonfinite", "skipped_batches"}


def table(latest: Iterable[Mapping[str, Any]], findings: Sequence[Finding] | None) -> list[list[str]]:
    """Header and rows: the figures that any layer has, and what was found about each.

    Args:
        latest: Each layer's row of `ActivationStats.history`.
        findings: What was found, of which only what still holds counts; None if nobody looked.
    """
    rows = list(latest)
    shown = [
        column
        for column in _COLUMNS
        if any((row[column[0]] if column[0] in _ONLY_IF_ANY else True) for row in rows if column[0] in row)
    ]
    lines = [["layer", *(title for _, title, _ in shown)]]
    for row in rows:
        lines.append([row["layer"], *(text(row[name]) if name in row else "" for name, _, text in shown)])
    if findings is not None:
        codes: dict[str, list[str]] = {}
        for finding in (finding for finding in findings if finding.cleared is None):
            codes.setdefault(finding.layer, []).append(finding.code)
        lines[0].append("state")
        for line in lines[1:]:
            line.append(", ".join(dict.fromkeys(codes.get(line[0], ["healthy"]))))
    return lines


def as_text(lines: Sequence[Sequence[str]], judged: bool) -> str:
    """The table for a terminal, names to the left and numbers to the right."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    words = {0, len(widths) - 1} if judged else {0}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in words else cell.rjust(max(width, 6))
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(lines: Sequence[Sequence[str]], judged: bool) -> str:
    """The table in Markdown; names as code, so that nothing in them is taken for markup."""
    last = len(lines[0]) - 1
    words = {0, last} if judged else {0}
    header, *rows = lines
    marks = [":--" if column in words else "--:" for column in range(len(header))]
    body = [[code(row[0]), *(cell.replace("|", "\\|") for cell in row[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, marks, *body])


def code(name: str) -> str:
    """A name as code in Markdown, in a table too."""
    return "`" + printable(name).replace("`", "'").replace("|", "¦") + "`"


def printable(words: str) -> str:
    """Words on one line, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "�" for c in words)
