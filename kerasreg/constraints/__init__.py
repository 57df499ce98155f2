"""Bounds on weights, and exact zeros, put into force after every optimizer step."""

from kerasreg.constraints.norms import MaxNorm, UnitNorm
from kerasreg.constraints.soft_threshold import GroupSoftThreshold, SoftThreshold

__all__ = ["GroupSoftThreshold", "MaxNorm", "SoftThreshold", "UnitNorm"]
