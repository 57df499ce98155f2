"""Images that come as the paths of their files: decoded in the dataset, and no more of them than is seen.

What a decoder says of a damaged file does not name it, and no operation asks it beforehand. So each file is
decoded in a dataset of its own that leaves out what fails, and that an empty image follows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg.augment import dispatch, draws, elements
from kerasreg.augment.execute import chain_matrix, size_after
from kerasreg.augment.plan import Plan
from kerasreg.augment.segment import AFFINE
from kerasreg.augment.stream import Place

IMAGE = tf.TensorSpec([None, None, 3], tf.uint8)
"""What a file is decoded to."""

_MARGIN = 3
"""Pixels around what is read: two for the cubic, one as colours at a JPEG's cut are filled up from inside."""


class Opened(NamedTuple):
    """An element whose file was read.

    Attributes:
        element: The element with an image in the place of the path.
        frame: int32 `(top, left, height, width)`: where the image lies in the whole, and the size of that.
    """

    element: Any
    frame: tf.Tensor


def are_paths(spec: Any) -> bool:
    """Whether what stands for an image is the path of its file.

    Raises:
        ValueError: Several paths, whose images could have no common size.
    """
    if not isinstance(spec, tf.TensorSpec) or spec.dtype != tf.string:
        return False
    if spec.shape.rank != 0:
        raise arguments.refusal(
            "Pipeline",
            "images",
            "paths of files one by one",
            arguments.Came(f"strings of shape {tuple(spec.shape) if spec.shape.rank else 'unknown'}"),
            "batch behind the pipeline, not before",
        )
    return True


def opener(plan: Plan, key: int, crops: bool) -> Callable[[Place, Any], tf.data.Dataset]:
    """What makes of a place and an element a dataset of one `(place, Opened)`.

    Args:
        plan: What will be done with the images.
        key: The pipeline's seed.
        crops: Whether nothing but the image is to move, so that its other pixels need not be there.
    """
    find = None
    if crops and _starts_with_crop(plan):
        # Compiled, since it is two hundred small operations.
        numbers = dispatch.compiler(tf.TensorShape([]))(partial(draws.uniforms, key, plan.lanes))
        find = partial(_window, plan, numbers)

    def opened(place: Place, element: Any) -> tf.data.Dataset:
        path = elements.images_of(element)
        # Outside of what leaves errors out: this one names the file.
        contents = tf.io.read_file(path)
        one = tf.data.Dataset.from_tensors(contents).map(lambda c: _decode(c, place, find)).ignore_errors()
        none = tf.data.Dataset.from_tensors((tf.zeros([0, 0, 3], tf.uint8), tf.zeros([4], tf.int32)))

        def named(image: tf.Tensor, frame: tf.Tensor) -> tuple[Place, Opened]:
            _check_decoded(image, path)
            return place, Opened(elements.joined(element, {elements.KEY: image}), frame)

        return one.concatenate(none).take(1).map(named)

    return opened


def _check_decoded(image: tf.Tensor, path: tf.Tensor) -> None:
    """Have a graph fail, with the file's name, at an image that no decoder took."""
    mark = arguments.Came("'\0'")
    sentence = arguments.refusal(
        "Pipeline",
        "images",
        "paths of JPEG, PNG, GIF or BMP files",
        mark,
        "no decoder could read it to its end",
    )
    head, tail = str(sentence).split("\0")
    tf.debugging.Assert(tf.size(image) > 0, [tf.strings.join([head, path, tail])])


def _decode(
    contents: tf.Tensor, place: Place, find: Callable[..., tf.Tensor] | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The image, or the part of it that is seen, and its frame."""

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_image(contents, 3, expand_animations=False)
        image = tf.ensure_shape(image, IMAGE.shape)
        return image, tf.concat([[0, 0], tf.shape(image)[:2]], axis=0)

    def part() -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.image.extract_jpeg_shape(contents)[:2]
        window = find(place, size)
        image = tf.image.decode_and_crop_jpeg(contents, window, channels=3)
        return tf.ensure_shape(image, IMAGE.shape), tf.concat([window[:2], size], axis=0)

    if find is None:
        return whole()
    # A part may end before what is missing of a file that was cut off: that is for the whole to find.
    complete = tf.equal(tf.strings.substr(contents, -2, 2), b"\xff\xd9")
    return tf.cond(tf.io.is_jpeg(contents) & complete, part, whole)


def _starts_with_crop(plan: Plan) -> bool:
    first = plan.segments[0]
    # The mean colour is that of the whole image.
    return first.kind == AFFINE and bool(first.resizers) and not first.uses_mean and not first.projective


def _window(plan: Plan, numbers: Callable[..., tf.Tensor], place: Place, size: tf.Tensor) -> tf.Tensor:
    """Top, left, height and width of what the first step of a plan reads of an image of this size, int32.

    All of it, if any place that is read lies outside, so that fills find what they repeat.
    """
    steps = plan.segments[0].geometry
    uniform = numbers(place.epoch, place.index[None])
    height, width = tf.unstack(size)
    chain = chain_matrix(steps, uniform, height, width)[0]
    tall, wide = (tf.cast(side, tf.float32) / 2 for side in size_after(steps, (height, width)))
    corners = tf.stack([[-wide, wide, -wide, wide], [-tall, -tall, tall, tall], [1.0] * 4])
    reached = (chain @ corners)[1::-1] + (tf.cast(size, tf.float32)[:, None] - 1) / 2
    low, high = tf.reduce_min(reached, axis=1), tf.reduce_max(reached, axis=1)
    # Half a pixel around the middle of the outermost is still that pixel; the rest is rounding.
    inside = tf.reduce_all((low > -0.51) & (high < tf.cast(size, tf.float32) - 0.49))
    start = tf.maximum(tf.cast(tf.floor(low), tf.int32) - _MARGIN, 0)
    end = tf.minimum(tf.cast(tf.math.ceil(high), tf.int32) + _MARGIN + 1, size)
    return tf.where(inside, tf.concat([start, end - start], 0), tf.concat([[0, 0], size], 0))
