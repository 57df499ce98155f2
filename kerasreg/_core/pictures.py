"""Pictures on disk: whole, or as they were before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from kerasreg._core.arguments import Came, refusal


def save_figure(owner: str, figure: Any, path: str | os.PathLike[str], dpi: float | None = None) -> None:
    """Write a matplotlib figure to a file, in the format of its ending.

    A picture that stands there is replaced once the new one is whole; one that cannot be drawn leaves it.

    Args:
        owner: Whose argument `path` is, for an error's sentence.
        figure: The figure.
        path: The file.
        dpi: Dots per inch; the figure's own if None.

    Raises:
        ValueError: If the ending is no format of matplotlib's, or the file cannot be written.
    """
    allowed = "a path of a picture, in a folder that is there and can be written"
    if not isinstance(path, (str, os.PathLike)):
        raise refusal(owner, "path", allowed, path)
    target = Path(path)
    kinds = figure.canvas.get_supported_filetypes()
    ending = target.suffix[1:].lower() or "png"
    if ending not in kinds:
        remedy = f"give it an ending out of {', '.join(sorted(kinds))}"
        raise refusal(owner, "path", allowed, str(path), remedy)
    if target.is_dir() or not target.parent.is_dir():
        raise refusal(owner, "path", allowed, str(path))
    # matplotlib names a file without an ending itself.
    target = target if target.suffix else target.with_suffix(".png")
    # A link goes on leading where it leads.
    target = target.resolve()
    whole = None
    try:
        handle, whole = tempfile.mkstemp(prefix=".picture_", suffix=f".{ending}", dir=target.parent)
        os.close(handle)
        figure.savefig(whole, **({} if dpi is None else {"dpi": dpi}))
        # What a temporary file may be read by is its owner; a picture's readers are those of any new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(whole, 0o666 & ~mask)
        os.replace(whole, target)
        whole = None
    except OSError as error:
        came = Came(f"{str(path)!r}, which cannot be written ({error.strerror})")
        raise refusal(owner, "path", allowed, came) from error
    finally:
        if whole is not None:
            Path(whole).unlink(missing_ok=True)
