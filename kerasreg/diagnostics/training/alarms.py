"""Which findings stand, which are new, and how they are said."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from kerasreg.diagnostics.finding import Finding

SEVERITIES = ("note", "warning", "error")
_WIDTH = 100
# Of the whole net; the layer named is the one where it was worst when it was found.
WHOLE = ("updates-too-large", "updates-too-small", "exploding-gradient")


class Alarms:
    """The findings of one training, each entered and told once.

    Example:
        >>> alarms = Alarms()
        >>> dead = Finding("relu", "dead-units", "warning", "Half is dead.", "Lower the rate.", step=40)
        >>> len(alarms.update([dead], step=90)), len(alarms.update([dead], step=190))
        (1, 0)
        >>> _ = alarms.update([], step=290)
        >>> alarms.all[0].cleared, alarms.standing
        (290, frozenset())
    """

    def __init__(self) -> None:
        self.all: list[Finding] = []

    @property
    def standing(self) -> frozenset[tuple[str, str]]:
        """(layer, code) of what still holds."""
        return frozenset((f.layer, f.code) for f in self.all if f.cleared is None)

    def update(self, found: Sequence[Finding], step: int, whole: bool = True) -> list[Finding]:
        """Enter what was found by a step, and give back what has to be said: the new and the worse.

        What is not found again no longer holds, unless there were too few steps to say so (`whole`).
        """
        now = {_key(finding): finding for finding in found}
        said = []
        for i, old in enumerate(self.all):
            new = now.pop(_key(old), None)
            if new is None:
                if whole and old.cleared is None:
                    self.all[i] = replace(old, cleared=step)
            elif SEVERITIES.index(new.severity) > SEVERITIES.index(old.severity):
                self.all[i] = new
                said.append(new)
            else:
                self.all[i] = replace(old, cleared=None)
        self.all.extend(now.values())
        return [*said, *now.values()]


def _key(finding: Finding) -> tuple[str, str]:
    return ("" if finding.code in WHOLE else finding.layer, finding.code)


def told(findings: Sequence[Finding], epoch: int) -> str:
    """New findings as a paragraph each, those of one sort in several layers together.

    Example:
        >>> found = [Finding(h, "dead-units", "warning", "Half is dead.", "Lower it.") for h in ("a", "b")]
        >>> print(told(found, epoch=1))
        What is wrong, after epoch 1:
          warning dead-units in a: Half is dead. Lower it. The same in b.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.severity), []).append(finding)
    lines = [f"What is wrong, after epoch {epoch}:"]
    for first, *others in groups.values():
        text = str(first)
        if others:
            names = [finding.layer for finding in others]
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            text += f" The same in {', '.join(names[:6])}{more}."
        lines.append(
            textwrap.fill(
                text,
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def reason_to_stop(findings: Sequence[Finding], stop_on: str | None) -> Finding | None:
    """The first finding that is at least as severe as what training is to be stopped on."""
    if stop_on is None:
        return None
    least = SEVERITIES.index(stop_on)
    return next((f for f in findings if SEVERITIES.index(f.severity) >= least), None)
