"""Rounds of a policy, image by image: each image costs what was chosen for it, and no more.

Done for the whole batch and masked, every member would be worked out for every image, a histogram for all
where one in fourteen needs it. So a loop runs over the images for which something was chosen, and branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import tensorflow as tf

from kerasreg.augment.color import ColorMap, ColorTransform, mean_color
from kerasreg.augment.placed import Placed
from kerasreg.augment.transform import Transform
from kerasreg.augment.units import Units

Rounds = Sequence[Sequence[Placed]]
Work = dict[str, tf.Tensor]


def find_work(rounds: Rounds, uniform: tf.Tensor) -> Work:
    """What is to be done to which image, and in which order.

    Returns:
        For each image and round, one after the other, `"branch"`, the place of what is chosen in `branches`,
        or -1, and `"numbers"`, its uniform numbers; `"order"`, the entries with something to do first, in
        order; and `"count"`, how many these are.
    """
    every = branches(rounds)
    widest = max(transform.lanes for transform in every)
    chosen, numbers = [], []
    for steps in rounds:
        here, own = tf.fill([tf.shape(uniform)[0]], -1), tf.zeros([tf.shape(uniform)[0], widest])
        for step in steps:
            fires, mine = step.fires(uniform), step.numbers(uniform)
            here = tf.where(fires, _place(step.transform, every), here)
            own = tf.where(fires[:, None], tf.pad(mine, [[0, 0], [0, widest - mine.shape[1]]]), own)
        chosen.append(here)
        numbers.append(own)
    branch = tf.reshape(tf.stack(chosen, axis=1), [-1])
    idle = tf.cast(branch < 0, tf.int32)
    return {
        "branch": branch,
        "numbers": tf.reshape(tf.stack(numbers, axis=1), [-1, widest]),
        "order": tf.argsort(idle, stable=True),
        "count": tf.reduce_sum(1 - idle),
    }


def carry_out(rounds: Rounds, images: tf.Tensor, work: Work) -> tf.Tensor:
    """The images afterwards.

    Args:
        rounds: The transforms, of colours and of pixels; all in the same units.
        images: float32 of shape `(images, height, width, channels)`, in the range.
        work: From `find_work`.
    """
    units = rounds[0][0].units
    changes = [partial(changed, transform, units) for transform in branches(rounds)]
    shape = images.shape[1:]
    # A list of images is updated in place by XLA; a scatter into one tensor copies what it scatters.
    listed = tf.raw_ops.TensorListFromTensor(tensor=images, element_shape=_open(shape))

    def step(done: tf.Tensor, listed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # By gathers: of a slice, XLA wants to know the place when it compiles, and compiles for each anew.
        entry = tf.gather(work["order"], done)
        place = entry // len(rounds)
        image = tf.raw_ops.TensorListGetItem(
            input_handle=listed, index=place, element_shape=_open(shape), element_dtype=tf.float32
        )
        image = tf.ensure_shape(image, shape)[None]
        numbers = tf.gather(work["numbers"], entry)[None]
        image = tf.switch_case(
            tf.gather(work["branch"], entry), [partial(one, image, numbers) for one in changes]
        )
        return done + 1, tf.raw_ops.TensorListSetItem(input_handle=listed, index=place, item=image[0])

    _, listed = tf.while_loop(lambda done, _: done < work["count"], step, [tf.constant(0), listed])
    images = tf.raw_ops.TensorListStack(
        input_handle=listed, element_shape=_open(shape), element_dtype=tf.float32, num_elements=-1
    )
    return tf.ensure_shape(images, [None, *shape])


def changed(transform: Transform, units: Units, image: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """One image after a transform of colours or of pixels, clipped to the range.

    Args:
        transform: What to do.
        units: The range of the values.
        image: `(1, height, width, channels)`.
        numbers: Its uniform numbers, `(1, lanes)` or more.
    """
    uniform = numbers[:, 1 : transform.lanes]
    if isinstance(transform, ColorTransform):
        mean = mean_color(image) if transform.uses_mean else tf.zeros([1, image.shape[3]])
        gain, bias = transform.color_map(uniform, mean, units)
        return _apart(numbers, lambda: _clipped(_mapped((gain, bias), image), units), image)
    found = transform.measure(image, uniform, units)
    clips = getattr(transform, "leaves_range", False)
    passes = transform.passes()
    for one in passes:
        last = one is passes[-1]

        def result(one: Callable = one, image: tf.Tensor = image, last: bool = last) -> tf.Tensor:
            made = one(image, found, units)
            return _clipped(made, units) if last and clips else made

        image = _apart(numbers, result, image)
    return image


def branches(rounds: Rounds) -> list[Transform]:
    """The transforms of all rounds, each once."""
    found: list[Transform] = []
    for steps in rounds:
        found += [step.transform for step in steps if _place(step.transform, found) is None]
    return found


def _place(transform: Transform, among: Sequence[Transform]) -> int | None:
    return next((i for i, other in enumerate(among) if other is transform), None)


def _apart(numbers: tf.Tensor, made: Callable[[], tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """Work something out from finished numbers: in one loop with them, XLA works them out for every pixel."""
    # Always true, which the compiler cannot know.
    return tf.cond(numbers[0, 0] >= 0, made, lambda: image)


def _mapped(color: ColorMap, image: tf.Tensor) -> tf.Tensor:
    gain, bias = color
    if gain.shape.rank == 2:
        return image * gain[:, None, None] + bias[:, None, None]
    # Written as a product of matrices, a single image takes twice as long.
    mixed = [image[..., i : i + 1] * gain[:, None, None, :, i] for i in range(image.shape[3])]
    return tf.add_n(mixed) + bias[:, None, None]


def _clipped(image: tf.Tensor, units: Units) -> tf.Tensor:
    low, high = units.bounds
    return tf.minimum(tf.maximum(image, low), high)


def _open(shape: tf.TensorShape) -> list[int] | tf.Tensor:
    return [-1 if side is None else side for side in shape]
