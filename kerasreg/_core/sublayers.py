"""A layer and everything below it."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from kerasreg._core.private import sublayers


def with_sublayers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """A layer and all layers below it, each once, the outer ones first."""
    seen: set[int] = set()
    waiting = [layer]
    while waiting:
        found = waiting.pop()
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting.extend(reversed(sublayers(found)))
