"""What every room of the house stands on; nothing here imports from another kerasreg package."""
