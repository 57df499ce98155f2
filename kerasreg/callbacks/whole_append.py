"""Files that only grow, by whole entries, whatever stops the process or fills the disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path

# Of every line that is ours.
_BEGINNING = b'{"step": '


def append(path: Path, data: bytes) -> None:
    """Append all of `data`, in one write, or nothing of it.

    No handle stays open, so that what was appended outlives a kill, and entries of several writers stand one
    after the other.

    Raises:
        OSError: If it cannot be written; what a full disk took of it is cut off again.
    """
    with path.open("ab", buffering=0) as file:
        written = 0
        try:
            while written < len(data):
                written += file.write(data[written:])
        except OSError:
            if written:
                file.truncate(file.tell() - written)
            raise


def mend_lines(path: Path) -> int:
    """Make sure that a file of JSON lines can be appended to, and is there; its size in bytes.

    A last line without its end is what a machine that went down leaves: it is finished if it is a whole
    record and cut off if not.

    Raises:
        FileExistsError: If something else stands there: a file whose end is no line of ours and would be cut
            off, or a link, behind which there may be anything.
    """
    if path.is_symlink():
        raise FileExistsError(errno.EEXIST, f"{path.name} is a link there")
    with path.open("a+b") as file:
        size = start = file.tell()
        tail = b""
        while start and b"\n" not in tail:
            start = max(start - 65536, 0)
            file.seek(start)
            tail = file.read(size - start)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if torn:
            try:
                json.loads(torn)
                file.write(b"\n")
            except ValueError:
                if not _BEGINNING.startswith(torn[: len(_BEGINNING)]):
                    words = f"{path.name} is there and ends in what is no line of a log"
                    raise FileExistsError(errno.EEXIST, words) from None
                file.truncate(size - len(torn))
        return file.seek(0, 2)
