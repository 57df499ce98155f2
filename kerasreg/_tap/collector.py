"""Listens to a training step's layer calls while the step runs or is traced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kerasreg._core.traces import current_trace
from kerasreg._tap.statistics import summarize

IN_A_LOOP = "it runs inside a loop or a rematerialised block, whose values cannot leave it"


class Collector:
    """An `intercept` handler that keeps the statistics of each selected layer's output.

    Args:
        paths: The layers to be seen, with the path that names each one's row.
    """

    def __init__(self, paths: Mapping[keras.layers.Layer, str]):
        self._paths = paths
        self._trace = current_trace()
        self._calls: Counter[str] = Counter()
        self._rows: list[str] = []
        self._vectors: list[Any] = []
        self.skipped: dict[str, str] = {}

    def __call__(
        self, layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
    ) -> Any:
        """Let the layer run, then look at what came out."""
        outputs = proceed(*args, **kwargs)
        if layer in self._paths:
            self._look(self._paths[layer], outputs)
        return outputs

    @property
    def rows(self) -> tuple[str, ...]:
        """The layers seen, in the order of their calls; a layer's second call is `path:2`."""
        return tuple(self._rows)

    def packed(self) -> Any:
        """All rows' figures as one tensor of shape (rows, figures), or None where nothing was seen."""
        return ops.stack(self._vectors) if self._vectors else None

    @contextmanager
    def inside_transform(self) -> Iterator[list[Any]]:
        """Collect inside a function transform; on the way out, its vectors are in the list yielded.

        The values made inside belong to the transform's own trace. They have to leave it as its outputs and
        come back through `resume`.
        """
        outer_trace, outer_vectors = self._trace, self._vectors
        self._trace, self._vectors = current_trace(), []
        inner = self._vectors
        try:
            yield inner
        finally:
            self._trace, self._vectors = outer_trace, outer_vectors

    def resume(self, vectors: list[Any]) -> None:
        """Take the vectors that came out of a transform."""
        self._vectors.extend(vectors)

    def _look(self, path: str, outputs: Any) -> None:
        tensor = next((t for t in keras.tree.flatten(outputs) if _is_float_tensor(t)), None)
        if tensor is None:
            self.skipped[path] = "its output is not a floating-point tensor"
        elif current_trace() != self._trace:
            self.skipped[path] = IN_A_LOOP
        else:
            # A layer that is built on its first call runs once symbolically before it runs for real.
            self.skipped.pop(path, None)
            self._calls[path] += 1
            call = self._calls[path]
            self._rows.append(path if call == 1 else f"{path}:{call}")
            self._vectors.append(summarize(tensor))


def _is_float_tensor(value: Any) -> bool:
    return ops.is_tensor(value) and keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))
