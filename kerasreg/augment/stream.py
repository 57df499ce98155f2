"""A dataset with every element told its epoch, and every image its number in it.

Both are counted here, or are read from the element, which holds them where the data is shared out.

tf.data does not say which pass over the data is running. `Dataset.random` with
`rerandomize_each_iteration=True` does: its first number differs from one iteration to the next,
follows from the seed, also under `repeat`, and is saved and restored with the iterator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment import elements

_EPOCH_SEED = 20100
_OPEN = 16
"""How many files may be open at a time, where tf.data chooses how many really are."""


class Keys(NamedTuple):
    """Under which keys of an element its number and its epoch stand; None for what is counted."""

    index: str | None = None
    epoch: str | None = None


class Place(NamedTuple):
    """Where an element stands in the data.

    Attributes:
        epoch: int64 that is the same in one pass over the data; a scalar, or one for each image.
        index: int64, the number of the image, `()`, or of each image of a batch, `(images,)`.
        widest: Scalar int64, the size of the largest batch so far.
        is_first: Scalar bool, true for the first element of an iteration.
    """

    epoch: tf.Tensor
    index: tf.Tensor
    widest: tf.Tensor
    is_first: tf.Tensor


@tf.function
def epoch_numbers() -> tf.data.Dataset:
    """An endless dataset of numbers whose first identifies the iteration it belongs to."""
    # tf.data mixes tf.random.set_seed's number into every seed. This one must come from the pipeline
    # alone, so the dataset is built in a graph of its own, with a graph seed of its own.
    tf.compat.v1.set_random_seed(_EPOCH_SEED)
    return tf.data.Dataset.random(seed=_EPOCH_SEED, rerandomize_each_iteration=True)


def map_numbered(
    dataset: tf.data.Dataset,
    batched: bool,
    function: Callable[[Place, Any], Any],
    keys: Keys,
    num_parallel_calls: int,
    deterministic: bool,
    opener: Callable[[Place, Any], tf.data.Dataset] | None = None,
) -> tf.data.Dataset:
    """`function(place, element)` over a dataset.

    Args:
        dataset: What to read.
        batched: Whether its elements are batches.
        function: What to make of each.
        keys: Where an element says its place, if it does.
        num_parallel_calls: How many elements at a time.
        deterministic: Whether in order.
        opener: Makes of a place and an element a dataset of one such pair, which is mapped in its stead.
    """
    epochs = epoch_numbers()
    data = numbered(dataset, batched, keys, epochs)
    if opener is not None:
        # One at a time from each of many: in order, and opened in parallel.
        many = _OPEN if num_parallel_calls == tf.data.AUTOTUNE else num_parallel_calls
        calls = {"num_parallel_calls": num_parallel_calls, "deterministic": deterministic}
        data = data.interleave(opener, cycle_length=many, block_length=1, **calls)
    data = data.map(function, num_parallel_calls=num_parallel_calls, deterministic=deterministic)
    # A parallel map reads ahead, and what has come to its end saves no state: an iterator saved near the end
    # of an epoch would not know which is the next. So the same numbers are read here once more, in step with
    # who asks. By `scan`, since tf.data may make a parallel one of `map`.
    return tf.data.Dataset.zip((data, epochs)).scan(False, lambda state, item: (state, item[0]))


def numbered(dataset: tf.data.Dataset, batched: bool, keys: Keys, epochs: tf.data.Dataset) -> tf.data.Dataset:
    """Elements `(place, element)`.

    What is counted is the images, so that the numbering does not depend on the batch size.
    """

    def count(state: tuple[tf.Tensor, ...], item: tuple[tf.Tensor, Any]) -> tuple[Any, Any]:
        epoch, first, widest = state
        epoch = tf.where(epoch < 0, item[0], epoch)
        element = item[1]
        size, index = tf.constant(1, tf.int64), first
        if batched:
            size = tf.shape(elements.images_of(element), out_type=tf.int64)[0]
            index = first + count_up(elements.images_of(element))
        widest = tf.maximum(widest, size)
        place = Place(
            epoch if keys.epoch is None else read_numbers(element, keys.epoch),
            index if keys.index is None else read_numbers(element, keys.index),
            widest,
            tf.equal(first, 0),
        )
        return (epoch, first + size, widest), (place, element)

    start = tuple(tf.constant(value, tf.int64) for value in (-1, 0, 0))
    return tf.data.Dataset.zip((epochs, dataset)).scan(start, count)


def count_up(images: tf.Tensor) -> tf.Tensor:
    """0, 1, ... for the images of a batch, 0 for a single one; int64."""
    size = tf.shape(images, out_type=tf.int64)[0]
    return tf.range(size) if images.shape.rank == 4 else tf.constant(0, tf.int64)


def only_first(place: Place, check: Callable[[], None]) -> None:
    """Have a check made on the first element of an iteration."""

    def checked() -> tf.Tensor:
        check()
        return tf.constant(True)

    tf.cond(place.is_first, checked, lambda: tf.constant(True))


def check_key_names(index_key: Any, epoch_key: Any) -> Keys:
    """Names of keys, or None; the epoch alone is not enough where the data is shared out."""
    for argument, key in (("index_key", index_key), ("epoch_key", epoch_key)):
        if key is not None and (not isinstance(key, str) or not key):
            raise arguments.refusal("Pipeline", argument, "a non-empty string or None", key)
    if epoch_key is not None and index_key is None:
        raise arguments.refusal("Pipeline", "index_key", "given together with epoch_key", None)
    return Keys(index_key, epoch_key)


def check_calls(num_parallel_calls: Any, deterministic: Any) -> tuple[int, bool]:
    """How many calls at a time, tf.data's choice for None, and whether in order."""
    calls = tf.data.AUTOTUNE
    if num_parallel_calls not in (None, calls):
        calls = arguments.integer("Pipeline", "num_parallel_calls", num_parallel_calls, 1)
    return calls, arguments.flag("Pipeline", "deterministic", deterministic)


def check_keys(element: Any, keys: Keys) -> None:
    """Refuse an element (or its spec) in which a key is missing or does not hold one number per image.

    Raises:
        ValueError: Which key, and what stands there.
    """
    images = elements.images_of(element)
    for argument, key in (("index_key", keys.index), ("epoch_key", keys.epoch)):
        if key is None:
            continue
        entries = entries_of(element)
        if key not in entries:
            found = f"{key!r} for elements with the keys {', '.join(map(repr, entries)) or '(none)'}"
            raise arguments.refusal(
                "Pipeline", argument, "a key of the dict that holds the images", arguments.Came(found)
            )
        spec = entries[key]
        readable = spec.dtype.is_integer or (argument == "index_key" and spec.dtype == tf.string)
        if not readable or spec.shape.rank != (1 if images.shape.rank == 4 else 0):
            kind = "whole number or string" if argument == "index_key" else "whole number"
            found = f"{key!r}, {spec.dtype.name} of shape {tuple(spec.shape)}"
            raise arguments.refusal(
                "Pipeline", argument, f"a key of one {kind} per image", arguments.Came(found)
            )


def entries_of(element: Any) -> dict[str, Any]:
    """The dict that the images are in; empty where they are in none."""
    while isinstance(element, tuple) and element:
        element = element[0]
    return element if isinstance(element, dict) else {}


def read_numbers(element: Any, key: str) -> tf.Tensor:
    """What stands under a key as int64; of a string, its hash."""
    found = entries_of(element)[key]
    if found.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(found, 2**63 - 1)
    return tf.cast(found, tf.int64)
