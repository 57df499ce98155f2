"""The catalogue of what nobody should give to the library, and what has to come of it."""

from __future__ import annotations

import importlib
import inspect

from bad_case import Case

import kerasreg as kr

GROUPS = (
    "bad_layers",
    "bad_augment",
    "bad_callbacks",
    "bad_verbs",
    "bad_scores",
    "bad_parts",
    "bad_files",
)
NAMESPACES = (
    "augment",
    "batch_norm",
    "callbacks",
    "constraints",
    "datasets",
    "diagnostics",
    "initialization",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "migration",
    "regularization",
    "regularizers",
    "sparsity",
    "uncertainty",
)
# What nobody gives input to.
_REPORT, _BASE = "what a verb returns: it is given nothing", "a base class to write transforms on"
EXEMPT = {
    "augment.Plan": _REPORT,
    "augment.Transform": _BASE,
    "augment.GeometricTransform": _BASE,
    "augment.ColorTransform": _BASE,
    "augment.MixTransform": _BASE,
    "augment.PixelTransform": _BASE,
    "batch_norm.FoldReport": _REPORT,
    "batch_norm.Reestimation": _REPORT,
    "diagnostics.Figures": _REPORT,
    "diagnostics.Finding": _REPORT,
    "diagnostics.KernelFigures": _REPORT,
    "diagnostics.LossSensitivity": _REPORT,
    "diagnostics.Report": _REPORT,
    "initialization.CalibratedKernel": _REPORT,
    "initialization.CalibrationReport": _REPORT,
    "migration.MigrationReport": _REPORT,
    "sparsity.ShrinkReport": _REPORT,
    "uncertainty.ReliabilityCurve": _REPORT,
    "uncertainty.RetentionCurve": _REPORT,
}


def cases(*groups: str) -> list[Case]:
    """Every case that this backend runs."""
    modules = [importlib.import_module(group) for group in groups or GROUPS]
    return [case for module in modules for case in module.cases() if case.runs_here]


def public_entries() -> set[str]:
    """Every public class and function by its name without `kerasreg.`, once where it has two."""
    verbs = {name for name in kr.__all__ if not inspect.ismodule(getattr(kr, name))}
    found = set(verbs)
    for namespace in NAMESPACES:
        module = getattr(kr, namespace)
        for name in module.__all__:
            thing = getattr(module, name)
            elsewhere = name in verbs or (namespace != "layers" and name in kr.layers.__all__)
            if not elsewhere and not inspect.ismodule(thing):
                found.add(f"{namespace}.{name}")
    return found
