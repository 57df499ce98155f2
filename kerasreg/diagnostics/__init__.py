"""What is found about a network, in plain data."""

from kerasreg.diagnostics.finding import Finding

__all__ = ["Finding"]
