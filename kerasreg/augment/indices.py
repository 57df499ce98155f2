"""A dataset of numbers to load by: every element knows its number and its epoch, wherever it is loaded."""

from __future__ import annotations

import tensorflow as tf

from kerasreg._core import arguments

INDEX, EPOCH = "index", "epoch"
_ENDLESS = 2**62


def indices(
    count: int, epochs: int | None = None, shuffle: bool = False, seed: int = 0, start: int = 0
) -> tf.data.Dataset:
    """Elements `{"index": i, "epoch": e}`, both int64: the numbers 0 to `count - 1`, epoch after epoch.

    Map a function over it that loads the `index`-th example and keeps both numbers in its dict, and give
    their names to `Pipeline(index_key="index", epoch_key="epoch")`: what is drawn for an example is then the
    same whoever loads it, in a tf.data service with any number of workers too.

    Args:
        count: How many examples there are, at least 1.
        epochs: How many times each number comes; `None` for an endless dataset (give `fit` its
            `steps_per_epoch`). `Dataset.repeat` would count no epochs.
        shuffle: Whether every epoch has an order of its own: a permutation of all numbers, without a buffer
            (`tf.random.experimental.index_shuffle`).
        seed: What the order follows from, a whole number.
        start: How many elements to leave out at the beginning, over all epochs, at no cost: where a training
            goes on that has seen as many.

    Returns:
        A `tf.data.Dataset` that can be split among workers.

    Raises:
        ValueError: An argument outside what is stated here.

    Example:
        >>> [(int(x["epoch"]), int(x["index"])) for x in indices(2, epochs=2)]
        [(0, 0), (0, 1), (1, 0), (1, 1)]
        >>> [int(x["index"]) for x in indices(5, epochs=1, shuffle=True)]
        [0, 2, 1, 3, 4]
        >>> [(int(x["epoch"]), int(x["index"])) for x in indices(2, epochs=2, start=3)]
        [(1, 1)]
    """
    count = arguments.integer("indices", "count", count, 1)
    passes = None if epochs is None else arguments.integer("indices", "epochs", epochs, 1)
    shuffle = arguments.flag("indices", "shuffle", shuffle)
    seed = arguments.integer("indices", "seed", seed)
    # One source, and a pure function of its numbers: a service shares out what a single source gives.
    total = _ENDLESS if passes is None else count * passes
    start = arguments.integer("indices", "start", start, 0)
    if start > total:
        allowed = f"at most the {total} elements of {passes} epochs"
        raise arguments.refusal("indices", "start", allowed, start)
    return tf.data.Dataset.range(start, total).map(
        lambda place: _number(place, count, seed if shuffle else None)
    )


def _number(place: tf.Tensor, count: int, seed: int | None) -> dict[str, tf.Tensor]:
    epoch, index = place // count, place % count
    if seed is not None:
        words = tf.stack([tf.constant(seed % 2**63, tf.int64), epoch])
        index = tf.random.experimental.index_shuffle(index, words, count - 1)
    return {INDEX: index, EPOCH: epoch}
