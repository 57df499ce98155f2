"""Every private name of Keras and TensorFlow that kerasreg uses, each with its reason.

`tests/test_private.py` fails for each name that a new version takes away.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

_RATE_SCHEDULE = keras.optimizers.schedules.LearningRateSchedule


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


def graph_of_sequential(model: keras.Sequential) -> keras.Model:
    """The Functional model that a built Sequential one runs as (`Sequential._functional`).

    `keras.Model(model.inputs, model.outputs)` is another one like it, which takes longer to make than a small
    model to run.
    """
    return model._functional


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


def backend_random() -> Any:
    """The module in which every draw of `keras.random` and of layers ends (`keras.src.backend.random`).

    The public functions are handed around by name, and Keras' own layers do not call them.
    """
    from keras.src import backend

    return backend.random


def own_seed_generators(layer: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """The generators that a layer itself holds, in attributes, lists and dicts (`Layer._seed_generators`)."""
    return [found for found in layer._seed_generators if isinstance(found, keras.random.SeedGenerator)]


def is_augmentation(layer: keras.layers.Layer) -> bool:
    """Whether a layer is one of Keras' image augmentations, or a user's on their base, which has no name."""
    from keras.src.layers.preprocessing.image_preprocessing import base_image_preprocessing_layer as base

    return isinstance(layer, base.BaseImagePreprocessingLayer)


class PassedOn(Exception):
    """An error that a layer call hands on as it is.

    Keras makes another of every error, with the call's arguments in its words, unless it is marked as one
    that has them (`_keras_call_info_injected`).
    """

    _keras_call_info_injected = True


def trace_state() -> Any:
    """Something that is equal for two moments in one trace, and not inside a loop or branch of it.

    JAX's `get_opaque_trace_state` is public, and moved from `jax.core` to `jax.extend.core`.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.compat.v1.get_default_graph()
    import jax
    from jax.extend import core

    found = getattr(core, "get_opaque_trace_state", None) or jax.core.get_opaque_trace_state
    return found()


def optimizer_slot(optimizer: keras.optimizers.Optimizer, name: str, variable: keras.Variable) -> Any:
    """What an optimizer keeps of one variable under a name of its own.

    Used are `_velocities` of Adam, Nadam and RMSprop, `_velocity_hats` of Adam with amsgrad,
    `_average_gradients` of RMSprop, `_accumulators` of Adagrad and `_u` of Adamax. The public
    `Optimizer.variables` holds them all, but says neither which is which nor whose.
    """
    return getattr(optimizer, name)[optimizer._get_variable_index(variable)]


def steps_taken(optimizer: keras.optimizers.Optimizer) -> Any:
    """How often an optimizer was applied; the public `iterations` leaves out what gathered gradients only."""
    # A sum is read now; a variable may be read when it is used.
    return optimizer._iterations + 0


def learning_rate_at(optimizer: keras.optimizers.Optimizer, step: Any) -> Any:
    """The learning rate of a step; the public `learning_rate` is that of the counter.

    Up to some version Keras has moved the counter on before it puts the constraints into force.
    """
    rate = optimizer._learning_rate
    return rate(step) if isinstance(rate, _RATE_SCHEDULE) else optimizer.learning_rate


def built_for(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable] | None:
    """The weights that a built optimizer trains, in its order (`_trainable_variables`), or None."""
    return list(optimizer._trainable_variables) if optimizer.built else None


def attached_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """The metrics that a model holds beside those it was compiled with (`_metrics`), to be changed.

    The public way, an attribute, is refused once the model is built, and would be saved with it.
    """
    return model._metrics


def begin_at_epoch(model: keras.Model, epoch: int | None) -> int | None:
    """Have the `fit` that runs begin with an epoch (`_initial_epoch`); what stood there before.

    Keras' `BackupAndRestore` sets it and nobody takes it back, so that the next `fit` begins there too.
    """
    before = model._initial_epoch
    model._initial_epoch = epoch
    return before


def global_seed_generator(make: bool) -> keras.random.SeedGenerator | None:
    """The generator of draws from `keras.random` that are given no seed; None if there is none so far.

    The public functions draw from it and none hands it out. With `make` it is made where it is missing,
    which takes a number from Python's `random`.
    """
    from keras.src.backend.common import global_state
    from keras.src.random import seed_generator

    if make:
        return seed_generator.global_seed_generator()
    # Keras 3.10 has no name for the key yet.
    return global_state.get_global_attribute("global_seed_generator")


def weights_in_memory(model: keras.Model) -> io.BytesIO:
    """What `Model.save_weights` writes into a file, in memory (`saving_lib._save_state`, `H5IOStore`).

    The public method takes a path only, and HDF5 takes the process down where the disk is full.
    """
    from keras.src.saving import saving_lib

    file = io.BytesIO()
    store = saving_lib.H5IOStore(file, mode="w")
    try:
        saving_lib._save_state(
            model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
        )
    finally:
        store.close()
    return file
