"""Where a callback is told to write."""

from __future__ import annotations

import os
from typing import Any

from kerasreg._core.arguments import refusal


def checked_folder(log_dir: Any) -> str | None:
    """A path as text, None as it is; or an error before anything is trained."""
    if log_dir is None:
        return None
    path = os.fspath(log_dir) if isinstance(log_dir, (str, os.PathLike)) else None
    if not isinstance(path, str) or "\0" in path:
        raise refusal("ActivationStats", "log_dir", "a path of a folder or None", log_dir)
    return path
