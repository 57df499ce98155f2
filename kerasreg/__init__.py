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
    from kerasreg.batch_norm import fold_batch_norm, freeze_batch_norm, reestimate
    from kerasreg.diagnostics import check
    from kerasreg.initialization import calibrate
    from kerasreg.migration import to_keras
    from kerasreg.regularization import decay_exclusions, regularize
    from kerasreg.sparsity import shrink
    from kerasreg.uncertainty import mc_predict, tta_predict

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


def __getattr__(name: str) -> Any:
    if name in _LAZY_NAMESPACES:
        return import_module(f"kerasreg.{name}")
    if name in _LAZY_VERBS:
        return getattr(import_module(_LAZY_VERBS[name]), name)
    raise AttributeError(f"module 'kerasreg' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
