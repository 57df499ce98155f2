"""The IDX format of MNIST and its kin: a path in, a NumPy array out."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from kerasreg._core import arguments

_OWNER = "kerasreg.datasets.idx.read"
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# NumPy 1 can hold no more axes, so no file that anybody could have written has them.
_MAX_RANK = 32
_CHUNK = 1 << 20

PathLike = str | os.PathLike


def read(path: PathLike, rank: int | None = None) -> np.ndarray:
    """The array that an IDX file holds, plain or gzip-compressed.

    The format: two zero bytes, a byte for the dtype, a byte for the rank, the sizes as big-endian uint32,
    and the values in C order. The file is read in small pieces and never beyond what its header claims plus
    one byte, so a false header costs no memory.

    Args:
        path: the file; gzip is told by the content, not by the name.
        rank: the number of axes that the file must have; None takes any.

    Returns:
        A writable array in the machine's byte order.

    Raises:
        ValueError: the file is no IDX file, has another rank, claims a size that no memory can hold, is cut
            short, goes on past its end, or is a damaged gzip file. The sentence names the file.

    Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".

    Example:
        >>> import struct, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "labels-idx1-ubyte")
        >>> _ = path.write_bytes(struct.pack(">BBBBI", 0, 0, 0x08, 1, 3) + bytes([7, 8, 9]))
        >>> read(path)
        array([7, 8, 9], dtype=uint8)
    """
    with _opened(path) as stream:
        dtype, shape = _header(path, stream, rank)
        claimed = math.prod(shape) * dtype.itemsize
        values = _read_up_to(stream, claimed + 1)
    if len(values) != claimed:
        came = f"with {len(values)}" if len(values) < claimed else f"with more than {claimed}"
        fault = "cut short" if len(values) < claimed else "followed by bytes that belong to nothing"
        raise _refusal(
            path,
            f"an IDX file with {claimed} bytes of values, as its header's sizes {shape} claim",
            came,
            f"the file is {fault}, fetch it again",
        )
    array = np.frombuffer(values, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def shape(path: PathLike, rank: int | None = None) -> tuple[int, ...]:
    """The sizes that the header of an IDX file claims; its values are not read.

    Args:
        path: the file, plain or gzip-compressed.
        rank: the number of axes that the file must have; None takes any.

    Raises:
        ValueError: the header is not that of an IDX file, as in `read`.

    Example:
        >>> import struct, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "images-idx3-ubyte")
        >>> _ = path.write_bytes(struct.pack(">BBBBIII", 0, 0, 0x08, 3, 60000, 28, 28))
        >>> shape(path)
        (60000, 28, 28)
    """
    with _opened(path) as stream:
        return _header(path, stream, rank)[1]


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[BinaryIO]:
    with open(path, "rb") as raw:
        packed = raw.peek(2)[:2] == _GZIP_MAGIC
        try:
            yield gzip.GzipFile(fileobj=raw) if packed else raw
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            came = f"that gzip cannot unpack ({error})".replace(".)", ")")
            raise _refusal(path, "a whole gzip file", came, "fetch it again") from error


def _header(path: PathLike, stream: BinaryIO, rank: int | None) -> tuple[np.dtype, tuple[int, ...]]:
    magic = bytes(_read_up_to(stream, 4))
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MAX_RANK:
        codes = ", ".join(f"{code:#04x}" for code in _DTYPES)
        allowed = (
            f"an IDX file (two zero bytes, a dtype code out of {codes}, a rank between 1 and {_MAX_RANK})"
        )
        raise _refusal(path, allowed, f"that begins with {magic.hex(' ') or 'nothing'}")
    if rank is not None and magic[3] != rank:
        raise _refusal(path, f"an IDX file of rank {rank}", f"of rank {magic[3]}")
    sizes = _read_up_to(stream, 4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        allowed = f"an IDX file with a header of {4 + 4 * magic[3]} bytes, as its rank {magic[3]} asks"
        raise _refusal(path, allowed, f"that ends after {4 + len(sizes)}", "fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(_DTYPES[magic[2]])
    if math.prod(shape) * dtype.itemsize > sys.maxsize:
        raise _refusal(path, f"an IDX file of at most {sys.maxsize} bytes", f"whose header claims {shape}")
    return dtype, shape


def _read_up_to(stream: BinaryIO, limit: int) -> bytearray:
    values = bytearray()
    while len(values) < limit:
        chunk = stream.read(min(_CHUNK, limit - len(values)))
        if not chunk:
            break
        values += chunk
    return values


def _refusal(path: PathLike, allowed: str, came: str, remedy: str | None = None) -> ValueError:
    return arguments.refusal(_OWNER, "path", allowed, arguments.Came(f"{os.fspath(path)!r} {came}"), remedy)
