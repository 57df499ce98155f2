"""kerasreg: Keras networks that train, generalise and admit doubt.

Nouns live in namespaces named like Keras' own; verbs that act on a whole model stand at the top.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# What a saved model may name is imported at once, so that `import kerasreg` is all it takes to load one.
from kerasreg import callbacks, constraints, initializers, layers, losses, metrics, regularizers

if TYPE_CHECKING:
    from kerasreg import (
        augment,
        batch_norm,
        datasets,
        diagnostics,
        initialization,
        migration,
        regularization,
        sparsity,
        uncertainty,
    )

    # From the very modules: a function beside a module of its name is mistaken for it by mypy.
    from kerasreg.batch_norm.fold import fold_batch_norm
    from kerasreg.batch_norm.freeze import freeze_batch_norm
    from kerasreg.batch_norm.reestimate import reestimate
    from kerasreg.diagnostics.check import check
    from kerasreg.initialization.calibrate import calibrate
    from kerasreg.migration.to_keras import to_keras
    from kerasreg.regularization.decay_exclusions import decay_exclusions
    from kerasreg.regularization.regularize import regularize
    from kerasreg.sparsity.shrink import shrink
    from kerasreg.uncertainty.mc_predict import mc_predict
    from kerasreg.uncertainty.tta_predict import tta_predict

__version__ = "0.1.0"

# The rest waits for its first use: it brings tf.data, tensorflow-datasets or matplotlib with it.
_LAZY_NAMESPACES = (
    "augment",
    "batch_norm",
    "datasets",
    "diagnostics",
    "initialization",
    "migration",
    "regularization",
    "sparsity",
    "uncertainty",
)
_LAZY_VERBS = {
    "calibrate": "kerasreg.initialization",
    "check": "kerasreg.diagnostics",
    "decay_exclusions": "kerasreg.regularization",
    "fold_batch_norm": "kerasreg.batch_norm",
    "freeze_batch_norm": "kerasreg.batch_norm",
    "mc_predict": "kerasreg.uncertainty",
    "reestimate": "kerasreg.batch_norm",
    "regularize": "kerasreg.regularization",
    "shrink": "kerasreg.sparsity",
    "to_keras": "kerasreg.migration",
    "tta_predict": "kerasreg.uncertainty",
}

__all__ = [
    "augment",
    "batch_norm",
    "calibrate",
    "callbacks",
    "check",
    "constraints",
    "datasets",
    "decay_exclusions",
    "diagnostics",
    "fold_batch_norm",
    "freeze_batch_norm",
    "initialization",
    "initializers",
    "layers",
    "losses",
    "mc_predict",
    "metrics",
    "migration",
    "reestimate",
    "regularization",
    "regularize",
    "regularizers",
    "shrink",
    "sparsity",
    "to_keras",
    "tta_predict",
    "uncertainty",
]


if not TYPE_CHECKING:  # a type checker would take it for a promise of any name

    def __getattr__(name: str) -> Any:
        if name in _LAZY_NAMESPACES:
            return import_module(f"kerasreg.{name}")
        if name in _LAZY_VERBS:
            return getattr(import_module(_LAZY_VERBS[name]), name)
        raise AttributeError(f"module 'kerasreg' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
