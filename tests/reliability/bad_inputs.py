"""The catalogue of what nobody should give to the library, and what has to come of it."""

from __future__ import annotations

import importlib

from bad_case import Case

GROUPS = ("bad_layers", "bad_scores", "bad_parts", "bad_verbs", "bad_augment")


def cases(*groups: str) -> list[Case]:
    """Every case that this backend runs."""
    modules = [importlib.import_module(group) for group in groups or GROUPS]
    return [case for module in modules for case in module.cases() if case.runs_here]
