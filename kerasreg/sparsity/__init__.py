"""What exact zeros are worth: models without the units that became 0."""

from kerasreg.sparsity.shrink import shrink
from kerasreg.sparsity.shrink_report import ShrinkReport

__all__ = ["ShrinkReport", "shrink"]
