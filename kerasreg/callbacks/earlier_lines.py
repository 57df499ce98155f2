"""What a log folder already tells of a training that goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Of longer files every second, third, ... line is read: enough for a picture.
_BYTES_READ = 32 * 2**20
_TAIL = 2**20


class EarlierLines:
    """The lines of `activations.jsonl` from before this training.

    Args:
        path: The file.
        size: The bytes of it that stood there when this training began.
    """

    def __init__(self, path: Path, size: int):
        self._path = path
        self._size = size

    def read(self, names: Sequence[str]) -> dict[int, list[dict[str, Any]]]:
        """From each step to its rows, with some of their figures; of what was trained twice the later."""
        steps: dict[int, list[dict[str, Any]]] = {}
        for step, layers in self._every():
            # Trained again from an earlier step: what came after it was another training.
            while steps and next(reversed(steps)) > step:
                steps.popitem()
            rows = [{"layer": layer, **_numbers(row, names)} for layer, row in layers.items()]
            steps[step] = steps.get(step, []) + rows
        return steps

    def figures_now(self) -> set[str]:
        """The names of the figures in the file's last lines, whoever wrote them."""
        with self._path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - _TAIL, 0))
            found = filter(None, map(_parse, file.read().splitlines()[-8:]))
            rows = [row for _, layers in found for row in layers.values()]
        return {name for row in rows for name, value in row.items() if _is_number(value)}

    def _every(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        share, left = math.ceil(self._size / _BYTES_READ), self._size
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                left -= len(line)
                if left < 0:
                    return
                found = _parse(line) if number % share == 0 else None
                if found is not None:
                    yield found


def _parse(line: bytes) -> tuple[int, Mapping[str, Any]] | None:
    """Step and layers of a line; None of one that is not ours."""
    try:
        entry = json.loads(line)
        return int(entry["step"]), {layer: dict(row) for layer, row in entry["layers"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _numbers(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    known = {name: row[name] for name in names if _is_number(row.get(name, ""))}
    return {name: math.nan if value is None else value for name, value in known.items()}


def _is_number(value: Any) -> bool:
    """Whether it is a figure; null stands for one that is not finite."""
    return value is None or isinstance(value, (int, float))
