"""The page of text: what was found, and each layer's figures, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerasreg.callbacks.activation_table import as_markdown, code, printable, table
from kerasreg.diagnostics.finding import Finding

_SEVERITIES = ("error", "warning", "note")


def activation_page(
    step: int,
    latest: Iterable[Mapping[str, Any]],
    findings: Sequence[Finding] | None,
    skipped: Mapping[str, str],
) -> str:
    """What a person reads first.

    Args:
        step: The step observed last.
        latest: Each layer's row of `ActivationStats.history`.
        findings: What was found; None if nobody looked.
        skipped: What could not be seen, and why.

    Returns:
        Markdown.
    """
    parts = []
    if findings is not None:
        parts.append("## Findings")
        ordered = sorted(findings, key=lambda finding: (finding.cleared is not None, _rank(finding)))
        parts.append("\n".join(map(_item, ordered)) or "Nothing wrong was found.")
    parts += [f"## Layers at step {step}", as_markdown(table(latest, findings), findings is not None)]
    if skipped:
        parts += [
            "## Not seen",
            "\n".join(f"- {code(path)}: {_escaped(reason)}" for path, reason in skipped.items()),
        ]
    return "\n\n".join(parts) + "\n"


def _rank(finding: Finding) -> int:
    return _SEVERITIES.index(finding.severity) if finding.severity in _SEVERITIES else len(_SEVERITIES)


def _item(finding: Finding) -> str:
    if finding.cleared is not None:
        head = f"{finding.code} in {code(finding.layer)}"
        return f"- Better since step {finding.cleared}: {head}. {_escaped(finding.message)}"
    said = f"{finding.message} {finding.remedy}"
    return f"- **{finding.severity}: {finding.code}** in {code(finding.layer)}. {_escaped(said)}"


def _escaped(words: str) -> str:
    """Words as they stand: a name such as `__init__` or `2 * 3` makes nothing bold."""
    words = printable(words)
    for mark in "\\`*_<>|[]":
        words = words.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return words
