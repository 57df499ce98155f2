"""Data losses."""

from kerasreg.losses.multiclass_hinge import MulticlassHinge

__all__ = ["MulticlassHinge"]
