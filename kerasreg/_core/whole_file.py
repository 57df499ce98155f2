"""Files that are replaced whole or not at all, whatever stops the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end, in one step.

    A reader, and whoever comes after a kill or a full disk, finds what stood there before or all of what is
    there now. What was begun is taken away again if an error ends it; a kill leaves it, under a hidden name.

    Args:
        path: The file; what it links to, if it is a link.

    Raises:
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "notes.txt"
        >>> with replacing(place) as file:
        ...     characters = file.write_text("all of it")
        >>> place.read_text()
        'all of it'
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb") as file:
            # A machine that goes down must not find the new name before the new bytes.
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove_begun(path: Path) -> None:
    """Take away what killed processes had begun to write for a path that nobody else writes to."""
    for begun in path.parent.glob(f".{path.name}.*.part"):
        begun.unlink(missing_ok=True)


def save_figure(figure: Any, path: Any, **arguments: Any) -> None:
    """`figure.savefig(path)`, by which a picture is replaced whole or not at all.

    Args:
        figure: Of matplotlib.
        path: What `savefig` takes: a path, with the ending of the format or without one, or an open file.
        arguments: Further ones of `savefig`.
    """
    if not isinstance(path, str | os.PathLike) or (os.path.exists(path) and not os.path.isfile(path)):
        figure.savefig(path, **arguments)  # an open file, or a device
        return
    kind = Path(path).suffix[1:] or figure.canvas.get_default_filetype()
    with replacing(Path(path).with_suffix(f".{kind}")) as beside:
        figure.savefig(beside, format=kind, **arguments)
