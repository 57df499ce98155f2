"""Models handed to who has Keras alone."""

from kerasreg.migration.migration_report import MigrationReport
from kerasreg.migration.to_keras import to_keras

__all__ = ["MigrationReport", "to_keras"]
