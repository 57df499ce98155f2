"""Cut a model where noise comes in: what no noise reaches is computed once, the rest in each pass.

A model is called twice while it is being compiled. The first call, under a `Recording`, is watched: an output
of a layer, or of an operation of a functional graph, is clean if all it was made of is clean, and everything
is clean until the first stochastic layer is called. The second call, under a `Replay`, gets the clean outputs
handed back instead of computing them. It may be made inside a loop, where a turn costs what noise reaches.

What Python code computes between the layers of a subclassed model, once there is noise, is taken to be
noisy, and so is what a user's own layer gives then: it may remember what it saw before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kerasreg._core.counter_random import Where
from kerasreg._core.private import get_mask, set_mask
from kerasreg._core.tensors import is_traced, num_bytes, traced_leaves
from kerasreg.uncertainty.exact_head import conditional_variance, is_linear_head
from kerasreg.uncertainty.own_noise import OwnNoise, Sources
from kerasreg.uncertainty.rowwise import is_builtin, is_graph, is_rowwise

# What a stochastic layer's input becomes, and the place of a call of a layer with its noise inside; both are
# given the number of the layer's call.
Draw = Callable[[keras.layers.Layer, int, Any], Any]
Place = Callable[[keras.layers.Layer, int], Where]


class Uncut(Exception):
    """The model does not do what it did while it was recorded, or not with several passes as one batch."""


@dataclass
class Call:
    """One call: its outputs where no noise reaches them; the dropout that feeds it where it is linear."""

    operation: keras.Operation
    # Whether a layer made the call, and no graph.
    inside: bool = False
    outputs: Any = None
    clean: bool = False
    feeding: keras.layers.Layer | None = None


@dataclass(frozen=True)
class Noise:
    """What there is to draw for one call of a model.

    Args:
        sources: The stochastic layers.
        draw: Called as `draw(layer, number of its call, input)` for the input with noise.
        place: Called as `place(layer, number of its call)`, of a layer with its noise inside.
        found: What a recording tells a replay about such layers; see `OwnNoise`.
        scope: Gives a scope in which a layer can be tried.
    """

    sources: Sources
    draw: Draw
    place: Place
    found: dict[keras.layers.Layer, list[Any]]
    scope: Callable[[], keras.StatelessScope]


class _Drawing:
    """What both handlers do about stochastic layers.

    Args:
        noise: The layers, and how to draw for them.
        rows: The rows of the batch, for a recording.

    Attributes:
        draws: How often a stochastic layer was called.
        own: What is done about those with their noise inside.
    """

    def __init__(self, noise: Noise, rows: int | None = None) -> None:
        self.noise = noise
        self.draws = 0
        self.own = OwnNoise(noise.sources, self._place, noise.found, rows, noise.scope)
        self._number: dict[keras.layers.Layer, int] = {}
        # The outputs of stochastic layers; held here, so that no other tensor takes one's id.
        self._drawn: dict[int, tuple[Any, keras.layers.Layer, Any]] = {}

    def _with_noise(self, layer: keras.layers.Layer, x: Any) -> Any:
        mask = get_mask(x)
        x = layer.dtype_policy.convert_input(x, layer.autocast, layer.input_dtype)
        set_mask(x, mask)
        y = self.noise.draw(layer, self._next_number(layer), x)
        if layer.supports_masking:
            set_mask(y, layer.compute_mask(x, mask))
        self._drawn[id(y)] = y, layer, x
        return y

    def _place(self, layer: keras.layers.Layer) -> Where:
        return self.noise.place(layer, self._next_number(layer))

    def _next_number(self, layer: keras.layers.Layer) -> int:
        self.draws += 1
        self._number[layer] = self._number.get(layer, -1) + 1
        return self._number[layer]


class Recording(_Drawing):
    """The handler that watches a model's call; afterwards, what it saw.

    Attributes:
        calls: What a replay will be asked for, in order.
        draws: How often a stochastic layer was called.
        rowwise: Whether all that noise reaches treats rows alone, so that passes may share a batch.
        bytes_per_pass: The largest tensor that noise reaches.
    """

    def __init__(self, noise: Noise, inputs: Any, rows: int) -> None:
        super().__init__(noise, rows)
        self.rows = rows
        self.calls: list[Call] = []
        self.rowwise = True
        self.bytes_per_pass = 0
        self._clean: dict[int, Any] = {}
        self._heads: dict[int, tuple[Any, Call, bool]] = {}
        self._user_calls = 0
        self._inside = 0
        leaves = traced_leaves(inputs)
        self._graph = getattr(leaves[0], "graph", None) if leaves else None
        self._learn(inputs)

    @property
    def drawn_layers(self) -> Collection[keras.layers.Layer]:
        """The stochastic layers that were called."""
        return self._number.keys()

    def is_clean(self, tensor: Any) -> bool:
        """Whether it is known that no noise reaches the tensor."""
        return id(tensor) in self._clean

    def exact_head(self, output: Any) -> tuple[Call | None, bool]:
        """The linear layer behind a dropout that made this output; whether other noise reaches it too."""
        _, call, upstream = self._heads.get(id(output), (None, None, True))
        return call, upstream

    def __call__(self, operation: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Let the call happen, and see whether noise reaches what it gives."""
        args, kwargs = self.own.at_inference(operation, args, kwargs)
        if self.own.trying:
            return self.own.call(operation, proceed, args, kwargs)
        if self.draws == 0:
            self._learn((args, kwargs))
        if operation in self.noise.sources.added:
            return self._stochastic(operation, _input(args, kwargs))
        call, graph = Call(operation, self._inside > 0), is_graph(operation)
        self.calls.append(call)
        inner, draws, user_calls = len(self.calls), self.draws, self._user_calls
        clean = all(map(self.is_clean, traced_leaves(args, kwargs)))
        self._user_calls += not is_builtin(operation)
        self._inside += not graph
        outputs = self.own.call(operation, proceed, args, kwargs)
        self._inside -= not graph
        builtin = self._user_calls == user_calls
        if clean and self.draws == draws and (builtin or draws == 0) and self._belongs(outputs):
            del self.calls[inner:]
            call.clean, call.outputs = True, outputs
            self._learn(outputs)
        elif not graph:
            self._measure(outputs)
            if self._inside == 0:
                self.rowwise = self.rowwise and builtin and is_rowwise(operation, args, kwargs)
                self._see_head(call, args, outputs)
        return outputs

    def _stochastic(self, layer: keras.layers.Layer, x: Any) -> Any:
        clean = self.is_clean(x)
        y = self._with_noise(layer, x)
        if clean:
            self._learn(self._drawn[id(y)][2])
        self.rowwise = self.rowwise and x.shape[0] == self.rows
        self._measure(y)
        return y

    def _see_head(self, call: Call, args: tuple, outputs: Any) -> None:
        if not args or id(args[0]) not in self._drawn:
            return
        _, layer, x = self._drawn[id(args[0])]
        if is_linear_head(layer, call.operation):
            call.feeding = layer
            self._heads[id(outputs)] = outputs, call, not self.is_clean(x)

    def _learn(self, structure: Any) -> None:
        self._clean.update((id(leaf), leaf) for leaf in traced_leaves(structure) if self._belongs(leaf))

    def _belongs(self, structure: Any) -> bool:
        """Whether these are tensors of the function itself, and of no loop or branch inside it."""
        return all(getattr(leaf, "graph", None) is self._graph for leaf in traced_leaves(structure))

    def _measure(self, structure: Any) -> None:
        self.bytes_per_pass = max([self.bytes_per_pass, *map(num_bytes, traced_leaves(structure))])


class Replay(_Drawing):
    """The handler that makes another call of the model cost what noise reaches.

    Args:
        recording: What the first call showed, or None to compute everything.
        noise: As the recording's; what is drawn for has `passes` times as many rows.
        passes: How many passes go through the model as one batch, one below the other.
        exact: The calls of linear layers that are to give their mean over the dropout before them.
    """

    def __init__(
        self,
        recording: Recording | None,
        noise: Noise,
        passes: int = 1,
        exact: Collection[Call] = (),
    ) -> None:
        super().__init__(noise)
        self._recording = recording
        self.passes = passes
        self._exact = exact
        self._at = 0
        self._inside = 0
        self._aside = False
        self._variances: dict[int, tuple[Any, Any]] = {}

    def variance(self, output: Any) -> Any:
        """The variance of an exact layer's output over the dropout before it; None for other outputs."""
        return self._variances.get(id(output), (None, None))[1]

    def every_row(self, tensor: Any) -> Any:
        """A tensor as the passes of one batch see it: one copy for each, where it has the batch's rows."""
        if self.passes == 1 or not is_traced(tensor):
            return tensor
        rows = self._recording.rows
        if not tensor.shape or tensor.shape[0] is None:
            raise Uncut("a tensor without rows")
        if not self._recording.is_clean(tensor):
            if tensor.shape[0] % (self.passes * rows):
                raise Uncut("a tensor with rows of its own")
            return tensor
        if tensor.shape[0] != rows:
            raise Uncut("a tensor with rows of its own")
        repeated = ops.tile(tensor, (self.passes,) + (1,) * (len(tensor.shape) - 1))
        mask = get_mask(tensor)
        if mask is not None:
            set_mask(repeated, ops.tile(mask, (self.passes,) + (1,) * (len(mask.shape) - 1)))
        return repeated

    def __call__(self, operation: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Hand back what was recorded, or let the call happen."""
        args, kwargs = self.own.at_inference(operation, args, kwargs)
        if self._aside:
            return proceed(*args, **kwargs)
        if operation in self.noise.sources.added:
            x = _input(args, kwargs)
            return self._with_noise(operation, x if self._inside else self.every_row(x))
        if self._recording is None:
            return self.own.call(operation, proceed, args, kwargs)
        call = self._next(operation)
        if call.clean:
            return call.outputs if not self._inside else self._whole(proceed, args, kwargs)
        if call in self._exact and id(args[0]) in self._drawn:
            x = self._drawn[id(args[0])][2]
            mean = self._whole(proceed, (x, *args[1:]), kwargs)
            self._variances[id(mean)] = mean, conditional_variance(call.feeding, operation, x)
            return mean
        if self.passes == 1 or is_graph(operation):
            return self.own.call(operation, proceed, args, kwargs)
        if not self._inside:
            args, kwargs = keras.tree.map_structure(self.every_row, (args, kwargs))
        self._inside += 1
        try:
            return self.own.call(operation, proceed, args, kwargs)
        finally:
            self._inside -= 1

    def _next(self, operation: keras.Operation) -> Call:
        calls = self._recording.calls
        if self._at >= len(calls) or calls[self._at].operation is not operation:
            raise Uncut("a call that was not recorded")
        self._at += 1
        return calls[self._at - 1]

    def _whole(self, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Compute a call that was recorded as one, and so has no records of what is inside it."""
        self._aside = True
        try:
            return proceed(*args, **kwargs)
        finally:
            self._aside = False


def _input(args: tuple, kwargs: dict) -> Any:
    """The tensor that a stochastic layer is called with."""
    return args[0] if args else next(iter(kwargs.values()))
