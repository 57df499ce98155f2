"""Every private name of Keras and TensorFlow that kerasreg uses, each with its reason.

`tests/test_private.py` fails for each name that a new version takes away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer holds, at the first level (`Layer._layers`).

    `Model.layers` is public but exists for models only; a subclassed layer's own layers have no public list.
    """
    return list(layer._layers)


def get_mask(tensor: Any) -> Any:
    """The mask that Keras hangs on a tensor as `_keras_mask`, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Hang a mask on a tensor, as `Layer.__call__` does after `call`."""
    if mask is not None:
        tensor._keras_mask = mask


def graph_is_compiled_by_xla(graph: Any) -> bool:
    """Whether a TensorFlow graph, or one that encloses it, is traced for XLA.

    `tensorflow.python.ops.control_flow_util.GraphOrParentsInXlaContext` tells; nothing public does.
    """
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(graph)


@contextmanager
def unconverted_inputs(layer: keras.layers.Layer) -> Iterator[None]:
    """Have a layer take its inputs as they are, tensors of another framework too (`_convert_input_args`).

    Keras' own preprocessing layers do so in `Dataset.map`, but cast to the compute type first.
    """
    before = layer._convert_input_args
    layer._convert_input_args = False
    try:
        yield
    finally:
        layer._convert_input_args = before


def set_dropout_masks(cell: keras.layers.Layer, inputs: Any, state: Any) -> None:
    """Have a recurrent cell use these masks, where it caches its own.

    `_dropout_mask` and `_recurrent_dropout_mask` are what the public `get_dropout_mask` gives and the public
    `reset_dropout_mask` empties; nothing public fills them but the cell's own draw.
    """
    cell._dropout_mask = inputs
    cell._recurrent_dropout_mask = state


def graph_nodes(model: keras.Model, inputs: bool = False) -> list[Any]:
    """The calls that a Functional model is made of, in the order in which they run (`_nodes_by_depth`).

    Each has `operation`, `arguments` with `args` and `kwargs`, and `output_tensors`. The lists that a layer
    keeps of its own calls hold those of every other model too; nothing public says which are this
    model's. With `inputs`, those that bring the model's inputs in are among them.
    """
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in nodes if inputs or not node.is_input]


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights that a layer itself made to be trained, frozen or not (`Layer._trainable_variables`).

    The public lists leave out what is frozen, or cannot tell it from a moving average.
    """
    return list(layer._trainable_variables)


def own_statistics(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables that a layer itself made not to be trained (`Layer._non_trainable_variables`)."""
    return list(layer._non_trainable_variables)


def in_stateless_scope() -> bool:
    """Whether variables are read from a `keras.StatelessScope`; there is no public question for it."""
    from keras.src.backend.common.stateless_scope import in_stateless_scope as asked

    return asked()


def in_symbolic_scope() -> bool:
    """Whether Keras only works out shapes, as it does when it builds a model."""
    from keras.src.backend.common.symbolic_scope import in_symbolic_scope as asked

    return asked()


def track_counter(layer: keras.layers.Layer, counter: Any) -> None:
    """Have `counter.state` among a built layer's non-trainable variables, outside its weights and its files.

    `Layer._seed_generators` is Keras' list of such state; setting an attribute is refused after `build`.
    """
    layer._seed_generators.append(counter)


def built_for(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable] | None:
    """The weights that a built optimizer trains, in its order (`_trainable_variables`), or None."""
    return list(optimizer._trainable_variables) if optimizer.built else None


def attached_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """The metrics that a model holds beside those it was compiled with (`_metrics`), to be changed.

    The public way, an attribute, is refused once the model is built, and would be saved with it.
    """
    return model._metrics
