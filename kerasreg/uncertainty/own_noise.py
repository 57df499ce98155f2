"""The noise that layers make inside their own calls, each draw from its place.

A layer that draws by itself is called in training mode, and nothing that it holds is. What it draws from
`keras.random` meanwhile becomes numbers that belong to a place: seed, sample, row, layer and draw. A draw
whose first axis is not the rows is one for all of them, such as dropped weights. Of a layer that a user
wrote, nobody knows which of its draws go by the row, or whether it draws at all: while a model is recorded,
such a layer is called once more, with a row too many, and what it draws then tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
from keras import ops

from kerasreg._core.counter_random import Where, uniform
from kerasreg._core.private import PassedOn, trace_state
from kerasreg._core.random_draws import drawn_shape, from_uniform
from kerasreg._core.tensors import is_traced, traced_leaves
from kerasreg.uncertainty.noise import call_with_noise, with_training
from kerasreg.uncertainty.rowwise import is_builtin, is_graph
from kerasreg.uncertainty.sources import cells, is_dropping_cell

_REMEDY = "draw in the layer's own call, with keras.random's normal, uniform or dropout"


class NotSampled(PassedOn):
    """A layer's noise cannot be drawn from its place: what was found, and what to do about it."""

    def __init__(self, came: str, remedy: str = _REMEDY, cause: Exception | None = None) -> None:
        super().__init__(came)
        self.remedy = remedy
        # Keras and TensorFlow take the cause of an error away where they shorten its traceback.
        self.cause = cause


@dataclass
class Sources:
    """A model's layers with noise of their own, and what a recording found out about them.

    Args:
        added: The layers in whose place noise is added; not handled here.
        supplied: Those called with numbers supplied.
        drawn: Those that draw themselves, or may.
        names: What to call a layer in an error.
    """

    added: set[keras.layers.Layer] = field(default_factory=set)
    supplied: set[keras.layers.Layer] = field(default_factory=set)
    drawn: set[keras.layers.Layer] = field(default_factory=set)
    names: Callable[[keras.layers.Layer], str] = lambda layer: layer.name


@dataclass
class _Frame:
    """A layer's call that is being made; whether what it draws is placed, and whether it is told to train."""

    layer: keras.layers.Layer
    draws: bool = False
    told: bool = False
    state: Any = None
    where: Where | None = None
    count: int = 0


class OwnNoise:
    """What one call of a model does about the layers that make noise inside.

    Args:
        sources: Whose noise it is.
        place: Gives the place of a layer's call, which counts it.
        found: By layer, the first sizes of its draws for a row more than there are; filled where `rows` is
            given, empty for a layer that draws nothing.
        rows: The rows of the batch, for a recording.
        scope: Gives a scope in which a layer can be tried.
    """

    def __init__(
        self,
        sources: Sources,
        place: Callable[[keras.layers.Layer], Where],
        found: dict[keras.layers.Layer, list[Any]],
        rows: int | None = None,
        scope: Callable[[], keras.StatelessScope] = keras.StatelessScope,
    ) -> None:
        self._sources = sources
        self._place = place
        self._found = found
        self._rows = rows
        self._scope = scope
        self._frames: list[_Frame] = []
        # What a layer that is being tried has drawn, and how deep its own draws are.
        self._trying: list[Any] | None = None
        self._depth = 0

    @property
    def trying(self) -> bool:
        """Whether a layer is only being tried, with what it holds."""
        return self._trying is not None

    def at_inference(self, operation: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments of a call with `training=False`, where a layer that is told to train holds it."""
        told = any(frame.told for frame in self._frames)
        if not told or not isinstance(operation, keras.layers.Layer) or self._is_running(operation):
            return args, kwargs
        return with_training(operation, args, kwargs, False)

    def call(self, operation: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Make a call, with the noise of its place where it makes noise inside."""
        if not isinstance(operation, keras.layers.Layer) or is_graph(operation):
            return proceed(*args, **kwargs)
        if self.trying:
            with self._frame(operation):
                return proceed(*args, **kwargs)
        if operation in self._sources.supplied:
            with self._frame(operation):
                where = _fitting(self._place(operation), args, kwargs)
                return call_with_noise(operation, proceed, args, kwargs, where)
        running = self._is_running(operation)
        if is_dropping_cell(operation) and not running:
            path = self._sources.names(operation)
            came = f"a recurrent cell with dropout outside of a keras.layers.RNN ({path})"
            raise NotSampled(came, "put the cell into a keras.layers.RNN")
        may_draw = operation in self._sources.drawn and not running
        draws = may_draw and self._draws(operation, proceed, args, kwargs)
        if draws:
            args, kwargs = with_training(operation, args, kwargs, True)
        # What a user's layer draws in any mode is noise too.
        with self._frame(operation, draws or not is_builtin(operation), told=draws):
            try:
                return proceed(*args, **kwargs)
            finally:
                if draws:
                    _forget_masks(operation)

    def draw(self, name: str, original: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """A draw from `keras.random`; for `_core.random_draws.intercept_draws`."""
        if self._trying is not None:
            if self._depth == len(self._frames):
                self._trying.append(_first_size(name, arguments))
            return original(**arguments)
        frame = self._frames[-1] if self._frames else None
        seed = arguments["seed"]
        if frame is None or not frame.draws:
            return original(**arguments)
        if not (seed is None or isinstance(seed, keras.random.SeedGenerator)):
            # The same numbers in every call: no noise.
            return original(**arguments)
        path = self._sources.names(frame.layer)
        if frame.state != trace_state():
            raise NotSampled(f"a layer that draws inside a loop or branch of its own ({path})")
        if frame.where is None:
            frame.where = self._place(frame.layer)
        try:
            return from_uniform(name, arguments, lambda shape: self._numbers(frame, shape))
        except KeyError:
            raise NotSampled(f"a layer that draws from keras.random.{name} ({path})") from None

    def _numbers(self, frame: _Frame, shape: Sequence[Any]) -> Any:
        where = replace(frame.where, draw=frame.count)
        found = self._found.get(frame.layer, ())
        with_one_more = found[frame.count] if frame.count < len(found) else None
        frame.count += 1
        if _goes_by_row(shape, where, with_one_more):
            return uniform(shape, where)
        if where.samples > 1:
            raise ValueError("a draw for all rows, which several passes would share")
        # That of the first row, whichever batch asks for it.
        return uniform((1, *shape), replace(where, first_row=0, rows=1))[0]

    def _draws(
        self, layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
    ) -> bool:
        if is_builtin(layer) or isinstance(layer, keras.layers.RNN):
            return True
        if self._rows is not None and not self._found.get(layer):
            self._found[layer] = self._tried(layer, proceed, args, kwargs)
        return bool(self._found.get(layer))

    def _tried(
        self, layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
    ) -> list[Any]:
        """What a layer draws in training mode with a row too many; nothing of it is used."""
        args, kwargs = with_training(layer, args, kwargs, True)
        failed: Exception | None = None
        # Windows of a row may stand in the place of rows, and other things have an axis of any size. A layer
        # may also be made for one number of rows only; then the first axis of what it draws must tell.
        for most in (None, 1, 0):
            more = keras.tree.map_structure(partial(self._with_a_row_more, most), (args, kwargs))
            self._trying, self._depth = [], len(self._frames) + 1
            try:
                with self._scope(), self._frame(layer, told=True):
                    proceed(*more[0], **more[1])
                return [None] * len(self._trying) if most == 0 else self._trying
            except Exception as error:
                failed = error
            finally:
                self._trying = None
        came = f"a layer whose call with training=True fails ({self._sources.names(layer)})"
        raise NotSampled(came, "mend the layer's training mode", failed)

    def _with_a_row_more(self, most: int | None, leaf: Any) -> Any:
        """A tensor for one row more, where it has at most so many lines for each row."""
        if not is_traced(leaf) or not leaf.shape or not leaf.shape[0] or leaf.shape[0] % self._rows:
            return leaf
        each = leaf.shape[0] // self._rows
        return leaf if most is not None and each > most else ops.concatenate([leaf, leaf[:each]], axis=0)

    def _is_running(self, layer: keras.layers.Layer) -> bool:
        """Whether the layer is a cell that a recurrent layer calls now, and that has its noise from there."""
        return any(layer in _running(frame.layer) for frame in self._frames)

    @contextmanager
    def _frame(self, layer: keras.layers.Layer, draws: bool = False, told: bool = False) -> Iterator[None]:
        self._frames.append(_Frame(layer, draws, told, trace_state() if draws else None))
        try:
            yield
        finally:
            self._frames.pop()


def _fitting(where: Where, args: tuple, kwargs: dict) -> Where:
    """The place, where rows that are no multiple of the batch's are counted by themselves."""
    first = next(iter(traced_leaves(args, kwargs))).shape[0]
    known = first is None or first % (where.samples * where.rows) == 0
    return where if known else replace(where, rows=None)


def _goes_by_row(shape: Sequence[Any], where: Where, with_one_more: Any) -> bool:
    if not shape:
        return False
    first = shape[0]
    if not isinstance(first, int):
        return True
    if isinstance(with_one_more, int):
        return first * (where.rows + 1) == with_one_more * where.rows
    return first % (where.samples * where.rows) == 0


def _first_size(name: str, arguments: dict[str, Any]) -> Any:
    try:
        shape = drawn_shape(name, arguments)
    except KeyError:
        return None
    return shape[0] if shape else 0


def _running(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The cells that a call of the layer runs."""
    while isinstance(layer, keras.layers.TimeDistributed):
        layer = layer.layer
    return cells(layer) if isinstance(layer, keras.layers.RNN) else []


def _forget_masks(layer: keras.layers.Layer) -> None:
    # Also behind an error: a cell would go on with masks of another batch, on JAX with dead tracers.
    for cell in _running(layer):
        if hasattr(cell, "reset_dropout_mask"):
            cell.reset_dropout_mask()
            cell.reset_recurrent_dropout_mask()


def foreign_draw() -> str | None:
    """The name of an operation, in the function that is being traced, that TensorFlow seeds by itself."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    definition = tf.compat.v1.get_default_graph().as_graph_def()
    nodes = [definition.node, *(function.node_def for function in definition.library.function)]
    return next((node.name for part in nodes for node in part if node.op.startswith(_FOREIGN)), None)


# Not `Stateless...`, which draws the same at each place.
_FOREIGN = (
    "Random",
    "TruncatedNormal",
    "Multinomial",
    "StatefulUniform",
    "StatefulStandardNormal",
    "StatefulRandom",
)
