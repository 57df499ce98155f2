"""Bounds on weights, put into force after every optimizer step."""

from kerasreg.constraints.norms import MaxNorm, UnitNorm

__all__ = ["MaxNorm", "UnitNorm"]
