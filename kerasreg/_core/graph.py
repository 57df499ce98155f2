"""Models as graphs of calls: look through them, and build them anew with other layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.layer_state import copy_state
from kerasreg._core.private import graph_nodes, graph_of_sequential


class _Removed(Enum):
    """Says that a layer is to be left out."""

    REMOVED = "removed"


REMOVED = _Removed.REMOVED


@dataclass(frozen=True)
class Replacement:
    """A new layer in the place of another one.

    Attributes:
        layer: The layer, not built yet; it is called as the old one was.
        weights: What its `set_weights` takes once it is built.
        finish: What gives it its state once all is built, instead of `weights`.
    """

    layer: keras.layers.Layer
    weights: Sequence[np.ndarray] = ()
    finish: Callable[[], None] | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer, or another operation, in a model's graph.

    Attributes:
        operation: What is called.
        args: Its arguments; tensors in them are symbolic.
        kwargs: Its keyword arguments.
        inputs: The tensors among the arguments.
        outputs: The tensors that come out.
    """

    operation: Any
    args: tuple
    kwargs: dict
    inputs: list[Any] = field(repr=False)
    outputs: list[Any] = field(repr=False)

    @property
    def first(self) -> Any:
        """The first argument, however it was given."""
        return _first(self.operation, self.args, self.kwargs)


def is_graph(layer: Any) -> bool:
    """Whether a layer is a Functional model or a built Sequential one, which can be built anew."""
    if isinstance(layer, keras.Sequential):
        # One with nested inputs runs layer by layer, without a graph.
        return layer.built and getattr(layer, "inputs", None) is not None
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def graph_calls(model: keras.Model) -> list[Call]:
    """The calls that a graph is made of, in an order in which they can run."""
    functional = graph_of_sequential(model) if isinstance(model, keras.Sequential) else model
    return [
        Call(
            node.operation,
            node.arguments.args,
            node.arguments.kwargs,
            node.input_tensors,
            node.output_tensors,
        )
        for node in graph_nodes(functional)
    ]


def subgraphs(model: keras.Model) -> Iterator[keras.Model]:
    """A graph and the graphs that it calls, each once, the outer ones first."""
    found = {}
    waiting = [model]
    while waiting:
        graph = waiting.pop(0)
        if id(graph) not in found:
            found[id(graph)] = graph
            waiting += [layer for layer in graph.layers if is_graph(layer)]
    yield from found.values()


def rebuilt(
    owner: str,
    model: keras.Model,
    replace: Callable[[keras.layers.Layer], Replacement | _Removed | None],
    compiled: bool = True,
) -> keras.Model:
    """A new model like a given one, with layers replaced or left out; the given one stays as it is.

    Functional and Sequential models stay what they are, at every level, with their names; a layer that is
    called several times is one layer in the new model too. It is compiled as the old one was, with a new
    optimizer, where Keras can serialize what it was compiled with. A class of its own is kept where its
    constructor is Keras'; else the new model is a plain Functional or Sequential one.

    Args:
        owner: Who asks, for an error's sentence.
        model: A Functional model, or a built Sequential one.
        replace: Called once with each layer of each graph: a `Replacement`; `REMOVED`, for a layer whose
            output is to be its first argument; or None for a copy with the same weights. A nested graph for
            which it says None is rebuilt with the same `replace`.
        compiled: Whether to compile the new model as the old one was.

    Raises:
        ValueError: If a layer cannot be copied.
    """
    work = _Rebuild(owner, replace)
    new = work.graph(model)
    for finish in work.unfinished:
        finish()
    if compiled:
        _compile_like(new, model)
    return new


class _Rebuild:
    """The new layers made so far, and what is to be done with them once all are built."""

    def __init__(self, owner: str, replace: Callable[[keras.layers.Layer], Any]):
        self._owner = owner
        self._replace = replace
        self._new: dict[int, Any] = {}
        self.unfinished: list[Callable[[], None]] = []

    def graph(self, model: keras.Model) -> keras.Model:
        # Before those of its layers, whose own flags then have the last word.
        finished = len(self.unfinished)
        new = self._sequential(model) if isinstance(model, keras.Sequential) else self._functional(model)
        self.unfinished.insert(finished, lambda: _set_trainable(new, model.trainable))
        return new

    def _functional(self, model: keras.Model) -> keras.Model:
        optional = {layer.name: layer.optional for layer in model.layers if hasattr(layer, "optional")}
        inputs = keras.tree.map_structure(lambda tensor: _input_like(tensor, optional), model.input)
        # Keras' clone would compile it too, and fail where a loss cannot be serialized.
        plain = keras.Model(model.input, model.output, name=model.name)
        new = keras.models.clone_model(plain, inputs, clone_function=self._layer, call_function=_call)
        if type(model) is not type(plain) and type(model).__init__ is type(plain).__init__:
            new = type(model)(new.input, new.output, name=model.name)
        return new

    def _sequential(self, model: keras.Sequential) -> keras.Sequential:
        layers = [new for new in map(self._layer, model.layers) if not isinstance(new, _Gap)]
        kept = type(model).__init__ is keras.Sequential.__init__
        cls = type(model) if kept else keras.Sequential
        new = cls([_input_like(model.inputs[0], {}), *layers], name=model.name)
        if not new.built:
            # Of no layers but the input, which Keras does not build by itself.
            new.build(model.inputs[0].shape)
        return new

    def _layer(self, layer: Any) -> Any:
        if id(layer) not in self._new:
            self._new[id(layer)] = self._make(layer)
        return self._new[id(layer)]

    def _make(self, layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return self._copied(layer)
        wanted = self._replace(layer)
        if wanted is REMOVED:
            return _Gap(layer)
        if wanted is not None:
            self.unfinished.append(wanted.finish or (lambda: wanted.layer.set_weights(list(wanted.weights))))
            return wanted.layer
        if is_graph(layer):
            return self.graph(layer)
        new = self._copied(layer)
        self.unfinished.append(lambda: copy_state(self._owner, layer, new))
        self.unfinished.append(lambda: _set_trainable(new, layer.trainable))
        return new

    def _copied(self, layer: Any) -> Any:
        try:
            return type(layer).from_config(layer.get_config())
        # Whatever a user's own class raises: it cannot be copied.
        except Exception as error:
            came = Came(f"{type(layer).__name__} '{layer.name}', which cannot ({error})".replace("\n", " "))
            remedy = "give the class get_config and from_config"
            allowed = "a model whose layers can be made anew from their config"
            raise refusal(self._owner, "model", allowed, came, remedy) from error


@dataclass(frozen=True)
class _Gap:
    """Where a layer was."""

    layer: keras.layers.Layer


def _call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(layer, _Gap):
        return _first(layer.layer, args, kwargs)
    # Keras notes down what it adds to a call by itself; another layer need not take it.
    takes = inspect.signature(layer.call).parameters
    return layer(*args, **{k: v for k, v in kwargs.items() if k in takes or k not in ("mask", "training")})


def _first(operation: Any, args: tuple, kwargs: dict) -> Any:
    return args[0] if args else kwargs[next(iter(inspect.signature(operation.call).parameters))]


def _input_like(tensor: Any, optional: dict[str, bool]) -> Any:
    more = {"optional": True} if optional.get(tensor.name) else {}
    return keras.Input(
        batch_shape=tensor.shape, dtype=tensor.dtype, sparse=bool(tensor.sparse), name=tensor.name, **more
    )


def _set_trainable(new: keras.layers.Layer, value: bool) -> None:
    # Setting it reaches every layer below.
    if new.trainable != value:
        new.trainable = value


def _compile_like(new: keras.Model, model: keras.Model) -> None:
    if not model.compiled:
        return
    # Losses and metrics of a user's own need not be serializable; the model is right without them.
    try:
        new.compile_from_config(model.get_compile_config())
    except Exception:
        return
