"""A dataset with every element told its epoch, and every image its place in it.

tf.data does not say which pass over the data is running. `Dataset.random` with
`rerandomize_each_iteration=True` does: its first number differs from one iteration to the next,
follows from the seed, also under `repeat`, and is saved and restored with the iterator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kerasreg.augment.elements import images_of

_EPOCH_SEED = 20100


@tf.function
def epoch_numbers() -> tf.data.Dataset:
    """An endless dataset of numbers whose first identifies the iteration it belongs to."""
    # tf.data mixes tf.random.set_seed's number into every seed. This one must come from the pipeline
    # alone, so the dataset is built in a graph of its own, with a graph seed of its own.
    tf.compat.v1.set_random_seed(_EPOCH_SEED)
    return tf.data.Dataset.random(seed=_EPOCH_SEED, rerandomize_each_iteration=True)


def numbered(dataset: tf.data.Dataset, batched: bool) -> tf.data.Dataset:
    """Elements `(epoch, first, widest, element)`, all but the last scalar int64.

    `first` is the place in the epoch of the element's first image, so that the numbering does not
    depend on the batch size, and `widest` is the size of the largest batch so far.
    """

    def count(state: tuple[tf.Tensor, ...], item: tuple[tf.Tensor, Any]) -> tuple[Any, Any]:
        epoch, first, widest = state
        epoch = tf.where(epoch < 0, item[0], epoch)
        size = tf.constant(1, tf.int64)
        if batched:
            size = tf.shape(images_of(item[1]), out_type=tf.int64)[0]
        widest = tf.maximum(widest, size)
        return (epoch, first + size, widest), (epoch, first, widest, item[1])

    start = tuple(tf.constant(value, tf.int64) for value in (-1, 0, 0))
    return tf.data.Dataset.zip((epoch_numbers(), dataset)).scan(start, count)


def map_numbered(dataset: tf.data.Dataset, batched: bool, function: Callable[..., Any]) -> tf.data.Dataset:
    """`function(epoch, first, widest, element)` over a dataset, in parallel and in order."""
    return numbered(dataset, batched).map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
