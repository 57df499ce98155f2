"""Penalties R(W) on weights: L = data loss + lambda R(W)."""

from kerasreg.regularizers.norms import L1, L2, ElasticNet

__all__ = ["L1", "L2", "ElasticNet"]
