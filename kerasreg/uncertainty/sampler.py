"""The compiled random passes of one model."""

from __future__ import annotations

import inspect
import operator
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import refusal
from kerasreg._core.counter_random import Where
from kerasreg._core.interception import intercept
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import sublayers
from kerasreg._core.pure_call import compile_pure, fresh_state
from kerasreg._core.random_draws import intercept_draws
from kerasreg._core.tensors import wide_dtype
from kerasreg.uncertainty.graph_cut import Call, Noise, Recording, Replay
from kerasreg.uncertainty.moments import STRIDE
from kerasreg.uncertainty.noise import add_noise
from kerasreg.uncertainty.own_noise import NotSampled, Sources, foreign_draw
from kerasreg.uncertainty.passes import Block, Passes
from kerasreg.uncertainty.sources import how, rate_of, settings
from kerasreg.uncertainty.tiles import tile

# Room for this many calls of one layer before two layers would share their random numbers.
_CALLS = 4096
# So many compiled functions are kept for a model; each number of samples has its own.
_KEPT = 16


class NothingStochastic(Exception):
    """No stochastic layer was called."""


@dataclass(frozen=True)
class Setup:
    """What is compiled into a function, and so compiled anew when it changes."""

    samples: int
    antithetic: bool = False
    exact_last_layer: bool = False
    stops: bool = False
    keeps: bool = False
    # Given up, one after the other, where a model does not bear it.
    tiles: bool = True
    cuts: bool = True


@dataclass
class Report:
    """What was found while a function was compiled."""

    prefix: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    exact: bool = False
    structure: Any = None


class Sampler:
    """Runs batches of rows through a model's random passes; kept as long as the model and its rates stay."""

    _kept: ClassVar[weakref.WeakKeyDictionary[keras.Model, Sampler]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, model: keras.Model, owner: str) -> Sampler:
        """The model's sampler, made anew where a layer or a rate has changed since."""
        if not isinstance(model, keras.Model) or not model.built:
            remedy = "call it once on data, or give it an Input"
            raise refusal(owner, "model", "a built keras.Model", model, remedy)
        kept = cls._kept.get(model)
        if kept is None or not kept.fits(model):
            kept = cls._kept[model] = cls(model)
        return kept

    def __init__(self, model: keras.Model):
        # Weak: what is kept for a model must not keep the model.
        self._model = weakref.ref(model)
        self._layers = list(_all_layers(model))
        self._settings = _settings(filter(how, self._layers))
        self._own_settings = settings(model) if how(model) else None
        self._noisy = {layer: how(layer) for layer in self._settings if rate_of(layer) != 0}
        self._paths = layer_paths(model)
        self._index = {layer: i for i, layer in enumerate(self._paths)}
        self._variables = list(model.variables)
        takes_training = "training" in inspect.signature(model.call).parameters
        self._arguments = {"training": False} if takes_training else {}
        self._functions: OrderedDict[Setup, tuple[Callable[..., Any], Report]] = OrderedDict()
        self._borne: dict[Setup, Setup] = {}

    def fits(self, model: keras.Model) -> bool:
        """Whether this is still a sampler of the model."""
        layers = list(_all_layers(model))
        same = len(layers) == len(self._layers) and all(map(operator.is_, layers, self._layers))
        own = None if self._own_settings is None else settings(model)
        return same and own == self._own_settings and _settings(self._settings) == self._settings

    def stochastic(self) -> dict[str, float | None]:
        """Path and rate of every stochastic layer, reached or not; None where only the layer knows it."""
        rates = {self._paths[layer]: rate_of(layer) for layer in self._settings}
        model = self._model()
        return rates if self._own_settings is None else {**rates, model.name: rate_of(model)}

    def run(
        self, setup: Setup, x: Any, seed: int, first_row: int, rows: int, tolerance: float
    ) -> tuple[Any, Report]:
        """A batch's moments (see `Passes.moments`), or every pass of each output; and what was found."""
        numbers, limit = np.array([seed, first_row, rows], "int32"), np.array(tolerance, "float32")
        failed: Exception | None = None
        for borne in _less_and_less(self._borne.get(setup, setup)):
            function, report = self._function(borne)
            try:
                found = function(x, numbers, limit)
            except (NothingStochastic, NotSampled):
                raise
            # A model may fail in the cut, or as a tile, in as many ways as there are models.
            except Exception as error:
                failed = error
            else:
                self._borne[setup] = borne
                return found, report
        raise failed

    def _function(self, setup: Setup) -> tuple[Callable[..., Any], Report]:
        if setup not in self._functions:
            report = Report()
            compiled = compile_pure(self._model(), partial(self._sample, setup, report))
            self._functions[setup] = compiled, report
            while len(self._functions) > _KEPT:
                self._functions.popitem(last=False)
        return self._functions[setup]

    def _sample(self, setup: Setup, report: Report, x: Any, numbers: Any, limit: Any) -> Any:
        """Everything that is computed for a batch; runs while it is compiled."""
        seed, first_row, real = numbers[0], numbers[1], numbers[2]
        rows = keras.tree.flatten(x)[0].shape[0]
        found: dict[keras.layers.Layer, list[Any]] = {}
        recording = Recording(self._noise(Where(seed, 0, 0, first_row, rows), found), x, rows)
        outputs = self._call(x, recording)
        foreign = foreign_draw()
        if foreign is not None:
            raise NotSampled(f"an operation that draws from TensorFlow's own generators ({foreign})")
        if recording.draws == 0:
            raise NothingStochastic
        flat = [_wide(y) for y in keras.tree.flatten(outputs)]
        exact: list[Call] = []
        report.structure = keras.tree.map_structure(lambda y: 0, outputs)
        if setup.cuts and setup.exact_last_layer:
            heads = [recording.exact_head(y) for y in keras.tree.flatten(outputs)]
            exact = [call for call, _ in heads if call is not None]
            report.exact = not any(upstream for _, upstream in heads)
        passes = self._plan(setup, recording, report.exact)
        report.prefix, report.tail = self._named(recording, setup.cuts, passes.tile > 1)

        def run(first: Any) -> list[Block]:
            """A block of passes of each output."""
            blocks = []
            for where in passes.places(seed, first, first_row, rows):
                noise = self._noise(where, found)
                replay = Replay(recording if setup.cuts else None, noise, passes.tile, exact)
                ys = keras.tree.flatten(self._call(x, replay))
                blocks.append([(_by_pass(replay, y, y), _by_pass(replay, y, replay.variance(y))) for y in ys])
            return [tuple(map(_joined, zip(*parts, strict=True))) for parts in zip(*blocks, strict=True)]

        if setup.keeps:
            return passes.every(run, flat)
        return passes.moments(run, flat, real, limit if setup.stops else None)

    def _plan(self, setup: Setup, recording: Recording, exact: bool) -> Passes:
        if exact:
            return Passes(1)
        side_by_side = 1
        if setup.tiles and setup.cuts and recording.rowwise:
            divides = STRIDE if setup.stops else None
            size = recording.bytes_per_pass
            side_by_side = tile(setup.samples, recording.rows, size, setup.antithetic, divides)
        return Passes(setup.samples, side_by_side, setup.antithetic)

    def _call(self, x: Any, handler: Recording | Replay) -> Any:
        """A call of the model that sees nothing of the calls before."""
        drawing = intercept_draws(handler.own.draw)
        with fresh_state(self._variables), drawing, intercept(handler, operations=True):
            return self._model()(x, **self._arguments)

    def _noise(self, where: Where, found: dict[keras.layers.Layer, list[Any]]) -> Noise:
        def place(layer: keras.layers.Layer, number: int) -> Where:
            # The model itself, and what it does not count among its layers, come last.
            return replace(where, stream=self._index.get(layer, len(self._index)) * _CALLS + number)

        def draw(layer: keras.layers.Layer, number: int, x: Any) -> Any:
            # Rows that are no multiple of the batch's are counted by themselves.
            known = x.shape[0] is None or x.shape[0] % (where.samples * where.rows) == 0
            return add_noise(layer, x, replace(place(layer, number), rows=where.rows if known else None))

        return Noise(self._sources(), draw, place, found, partial(fresh_state, self._variables))

    def _sources(self) -> Sources:
        found = Sources(names=lambda layer: self._paths.get(layer, layer.name))
        for layer, way in self._noisy.items():
            getattr(found, way).add(layer)
        if self._own_settings is not None:
            found.drawn.add(self._model())
        return found

    def _named(self, recording: Recording, cut: bool, tiled: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The paths of what is computed once, and of what is computed in each pass."""
        model = self._model()
        drawn = (self._paths.get(layer, layer.name) for layer in recording.drawn_layers if layer is not model)
        prefix, tail = {}, dict.fromkeys(drawn)
        for call in recording.calls:
            if call.operation is not model:
                # Several passes go through a layer as one batch, what it calls itself among it.
                part = prefix if cut and call.clean and not (tiled and call.inside) else tail
                part[self._paths.get(call.operation, call.operation.name)] = None
        return tuple(prefix), tuple(tail)


def _by_pass(replay: Replay, y: Any, part: Any) -> Any:
    """An output, or what belongs to one, with an axis of its own for the passes of a tile."""
    if part is None:
        return None
    part, passes = _wide(replay.every_row(part) if part is y else part), replay.passes
    if passes == 1:
        return ops.expand_dims(part, 0)
    return ops.reshape(part, (passes, part.shape[0] // passes, *part.shape[1:]))


def _joined(blocks: tuple[Any, ...]) -> Any:
    return blocks[0] if len(blocks) == 1 or blocks[0] is None else ops.concatenate(blocks, axis=0)


def _wide(y: Any) -> Any:
    return ops.cast(y, wide_dtype(y.dtype))


def _less_and_less(setup: Setup) -> Iterator[Setup]:
    """The setup, and those that ask less of a model."""
    yield setup
    if setup.tiles:
        yield replace(setup, tiles=False)
    if setup.cuts:
        yield replace(setup, tiles=False, cuts=False)


def _all_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    for child in sublayers(layer):
        yield child
        yield from _all_layers(child)


def _settings(layers: Iterable[keras.layers.Layer]) -> dict[keras.layers.Layer, Any]:
    return {layer: settings(layer) for layer in layers}
