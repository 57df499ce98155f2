"""Listens to a training step's layer calls while the step runs or is traced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kerasreg._core.tracing import current_trace
from kerasreg._tap import batch_norms
from kerasreg._tap.inputs import InputWatch
from kerasreg._tap.layout import RowLayout, lay
from kerasreg._tap.statistics import PLAIN, Look, channel_axis, summarize
from kerasreg._tap.tensorflow_gradients import is_working_backwards

IN_A_LOOP = "it runs inside a loop or a rematerialised block, whose values cannot leave it"


class Collector:
    """An `intercept` handler that keeps the statistics of each selected layer's output.

    Args:
        paths: The layers to be seen, with the path that names each one's row.
        looks: What is looked at in each of them.
        inputs: Looks at what the model is called with.
    """

    def __init__(
        self,
        paths: Mapping[keras.layers.Layer, str],
        looks: Mapping[keras.layers.Layer, Look] | None = None,
        inputs: InputWatch | None = None,
    ):
        self._inputs = inputs
        self._paths = paths
        self._looks = looks or {}
        self._trace = current_trace()
        self._calls: Counter[str] = Counter()
        self._rows: list[RowLayout] = []
        self._vectors: list[Any] = []
        self.skipped: dict[str, str] = {}

    def __call__(
        self, layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
    ) -> Any:
        """Let the layer run, then look at what came out."""
        if is_working_backwards():
            return proceed(*args, **kwargs)
        visible = current_trace() == self._trace
        if self._inputs is not None and visible:
            for name, figures in self._inputs.look(layer, args[0] if args else None):
                self._keep(name, figures, None)
        if layer not in self._paths:
            return proceed(*args, **kwargs)
        moving = batch_norms.moving_statistics(layer) if visible else None
        outputs = proceed(*args, **kwargs)
        inputs = args[0] if args else kwargs.get("inputs")
        self._look(layer, outputs, None if moving is None or inputs is None else (inputs, moving))
        return outputs

    def look_at_data(self, data: Any) -> None:
        """Look at what the step is given."""
        for name, figures in self._inputs.given(data) if self._inputs is not None else ():
            self._keep(name, figures, None)

    @property
    def rows(self) -> tuple[RowLayout, ...]:
        """The layers seen, in the order of their calls; a layer's second call is `path:2`."""
        return tuple(self._rows)

    @property
    def vectors(self) -> list[Any]:
        """The figures of each row."""
        return self._vectors

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

    def _look(self, layer: keras.layers.Layer, outputs: Any, normalized: tuple[Any, Any] | None) -> None:
        path = self._paths[layer]
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
            figures = summarize(layer, tensor, self._looks.get(layer, PLAIN))
            if normalized is not None:
                figures["drift"] = batch_norms.drift(layer, *normalized)
                skipped = batch_norms.skipped_batches(layer)
                figures |= {} if skipped is None else {"skipped": skipped}
            axis = channel_axis(layer, tensor)
            name = path if call == 1 else f"{path}:{call}"
            self._keep(name, figures, None if axis is None else tensor.shape[axis])

    def _keep(self, name: str, figures: dict[str, Any], channels: int | None) -> None:
        row, vector = lay(name, figures, channels)
        self._rows.append(row)
        self._vectors.append(vector)


def _is_float_tensor(value: Any) -> bool:
    return ops.is_tensor(value) and keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))
