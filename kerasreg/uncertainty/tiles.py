"""How many passes go through a model side by side."""

from __future__ import annotations

# Fewer rows leave a processor's lanes empty, more tensors than fit its cache make it wait for memory.
_ROWS = 256
_BYTES = 4 * 2**20


def tile(samples: int, rows: int, bytes_per_pass: int, even: bool = False, divides: int | None = None) -> int:
    """How many passes make one batch.

    Args:
        samples: How many there are in all.
        rows: The rows of one pass.
        bytes_per_pass: The largest tensor of one pass.
        even: Whether the number must be even, or 1.
        divides: What the number must divide, or None.

    >>> tile(50, 1, 4096), tile(50, 32, 2**17), tile(50, 32, 2**24)
    (50, 5, 1)
    """
    most = max(1, min(samples, _ROWS // rows, _BYTES // max(bytes_per_pass, 1)))
    allowed = [
        size
        for size in range(1, most + 1)
        if (size == 1 or not even or size % 2 == 0) and (divides is None or divides % size == 0)
    ]
    # What is computed in all, the last block's surplus too, and what a block costs by itself.
    return min(allowed, key=lambda size: (-(-samples // size) * (size + 1), size))
