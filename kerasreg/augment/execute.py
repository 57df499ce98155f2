"""Carry out a plan on a batch, given the uniform numbers: a pure function of both."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from kerasreg.augment import choice, color, mixture
from kerasreg.augment.color import ColorMap, mean_color
from kerasreg.augment.mix import mix_pixels
from kerasreg.augment.pixels import Found, Pass, gated
from kerasreg.augment.placed import Placed
from kerasreg.augment.plan import Plan
from kerasreg.augment.segment import AFFINE, CHOICE, MIXTURE, Segment
from kerasreg.augment.transform import Size
from kerasreg.augment.units import Units
from kerasreg.augment.warp import move, samples_needed, sizes, supersampled, warp

Parameters = dict[str, tf.Tensor]
Pixels = Any
Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


def execute(
    plan: Plan,
    images: tf.Tensor,
    uniform: tf.Tensor,
    compiled: Compile = lambda f: f,
    pairs: dict[str, Found] | None = None,
    frame: tf.Tensor | None = None,
) -> tf.Tensor:
    """The augmented batch.

    Args:
        plan: What to do.
        images: `(images, height, width, channels)` of any real dtype.
        uniform: float32 of shape `(images, lanes)`, numbers in [0, 1).
        compiled: Wraps each function that is to be compiled on its own. What a step needs to know
            about an image is a few numbers, and is worked out apart from the pixels: in one function
            with them, XLA would work it out again for every pixel.
        pairs: By the name of each transform that mixes images, which with which: from `Placed.pairs`.
        frame: int32 `(top, left, height, width)`, where the images are windows of others: their place in
            those, and the size of those. The first step is then as if it were given the whole.

    Returns:
        A batch of the size that the plan's transforms leave, in the plan's dtype.
    """
    for segment in plan.segments:
        if segment.kind == "mix":
            images = compiled(partial(render_mix, segment, plan))(images, pairs[segment.steps[0].name])
            continue
        if segment.kind == MIXTURE:
            images = mixed_chains(segment, plan, images, uniform, compiled)
            continue
        placed = frame if segment is plan.segments[0] else None
        parameters = compiled(partial(find_parameters, segment, plan))(images, uniform, placed)
        first, *then = parts(segment, plan, parameters)
        if plan.smooths(segment):
            images = run_either(first, images, parameters, compiled)
        else:
            images = compiled(first)(images, parameters)
        for part in then:
            images = compiled(part)(images, parameters)
    return images


def find_parameters(
    segment: Segment, plan: Plan, images: tf.Tensor, uniform: tf.Tensor, frame: tf.Tensor | None = None
) -> Parameters:
    """The few numbers per image that say what a step does to it."""
    if segment.kind == CHOICE:
        return choice.find_work(segment.rounds, uniform)
    if segment.kind != AFFINE:
        return pixel_parameters(segment, images, uniform)
    height, width, _ = sizes(images) if frame is None else (*tf.unstack(frame[2:]), None)
    found: Parameters = {}
    if segment.geometry:
        found["matrices"] = chain_matrix(segment.geometry, uniform, height, width)
        if frame is not None:
            found["matrices"] = from_window(frame, sizes(images)) @ found["matrices"]
        if plan.smooths(segment):
            out = size_after(segment.geometry, (height, width))
            found["samples"] = samples_needed(found["matrices"], out, segment.projective)
    if segment.color:
        mean = mean_color(images) if segment.uses_mean else tf.zeros([tf.shape(images)[0], images.shape[3]])
        before = len(segment.colors_before_fill)
        first = chain_map(segment.color[:before], uniform, mean)
        then = chain_map(segment.color[before:], uniform, color.apply_map_to_vector(first, mean))
        found["gain"], found["bias"] = color.compose(first, then)
        if segment.fills and plan.fill_mode == "constant":
            # Maps before the warp see the image alone, maps after it also the fill:
            # then(first.M x + first.b s + fill (1 - s)), where the pixels x and their share s are 0 outside.
            fill = segment.fill_units.carried(plan.fill_value)
            found["bias"] = color.apply_map_to_vector(then, tf.zeros_like(mean) + fill)
            found["by_share"] = color.apply_map_to_vector(color.linear_part(then), first[1] - fill)
    return found


def pixel_parameters(segment: Segment, images: tf.Tensor, uniform: tf.Tensor) -> Parameters:
    """The same for transforms of pixels; each measures what those before it in the step have made."""
    found: Parameters = {}
    pixels = _entering(images, segment)
    for step in segment.steps:
        numbers = step.measure(pixels, uniform)
        found |= {f"{step.name}/{key}": value for key, value in numbers.items()}
        if step is not segment.steps[-1]:
            pixels = gated(step.transform.change, pixels, numbers, step.units)
    return found


def parts(
    segment: Segment, plan: Plan, parameters: Parameters
) -> list[Callable[[Pixels, Parameters], Pixels]]:
    """The functions of pixels that a step consists of, each to be compiled on its own."""
    if segment.kind == AFFINE:
        mixes = "gain" in parameters and parameters["gain"].shape.rank == 3
        if segment.geometry and mixes:
            # In one function with it, XLA reads the image anew for every channel that is mixed from three.
            return [partial(render_places, segment, plan), partial(render_colors, segment, plan)]
        return [partial(render, segment, plan)]
    if segment.kind == CHOICE:
        return [partial(render_choice, segment, plan)]
    passes = segment.steps[0].transform.passes()
    if len(segment.steps) > 1 or len(passes) == 1:
        return [partial(render_pixels, segment, plan, None, True)]
    last = len(passes) - 1
    return [partial(render_pixels, segment, plan, one, i == last) for i, one in enumerate(passes)]


def render_pixels(
    segment: Segment, plan: Plan, one: Pass | None, last: bool, images: tf.Tensor, parameters: Parameters
) -> tf.Tensor:
    """The pixels after the transforms of a step, or after one pass of its only one."""
    pixels = _entering(images, segment)
    for step in segment.steps:
        prefix = f"{step.name}/"
        found = {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}
        pixels = gated(one or step.transform.change, pixels, found, step.units)
    if last:
        pixels = _left(pixels, segment, plan)
    return tf.ensure_shape(pixels, images.shape)


def render_choice(segment: Segment, plan: Plan, images: tf.Tensor, parameters: Parameters) -> tf.Tensor:
    """The pixels after the rounds of a policy."""
    units = segment.steps[0].units
    pixels = choice.carry_out(segment.rounds, _clipped(tf.cast(images, tf.float32), units), parameters)
    return tf.ensure_shape(_left(pixels, segment, plan), images.shape)


def mixed_chains(
    segment: Segment, plan: Plan, images: tf.Tensor, uniform: tf.Tensor, compiled: Compile
) -> tf.Tensor:
    """The images mixed with what the chains make of them."""
    step, chain = segment.steps[0], segment.chain
    shares = compiled(lambda numbers: step.transform.shares(numbers))(step.numbers(uniform))
    if segment is not plan.segments[0]:
        images = compiled(lambda pixels: _clipped(pixels, step.units))(images)
    kept: list[Callable[..., Any]] = []
    add = compiled(mixture.continued)
    mixed = compiled(mixture.begun)(images, shares["image"])
    for number in range(step.transform.width):
        first = segment.chain_lane + number * len(chain.lanes)
        columns = uniform[:, first : first + len(chain.lanes)]
        made = execute(chain, images, columns, _compiled_once(compiled, kept))
        mixed = add(mixed, made, shares["chains"][:, number])
    return compiled(lambda pixels: _left(pixels, segment, plan))(mixed)


def _compiled_once(compiled: Compile, kept: list[Callable[..., Any]]) -> Compile:
    """For a second run of the same functions in the same order: what was compiled in the first."""
    place = itertools.count()

    def compile_or_take(function: Callable[..., Any]) -> Callable[..., Any]:
        i = next(place)
        if i == len(kept):
            kept.append(compiled(function))
        return kept[i]

    return compile_or_take


def run_either(
    part: Callable[..., Pixels], images: tf.Tensor, parameters: Parameters, compiled: Compile
) -> Pixels:
    """A function of pixels, supersampled if any image of the batch shrinks so far that it needs it."""
    plain, smooth = compiled(part), compiled(partial(part, smooth=True))
    # Outside of what is compiled, so that only the one that runs is compiled, and the plain one pays nothing.
    return tf.cond(
        tf.reduce_any(parameters["samples"] > 1),
        lambda: smooth(images, parameters),
        lambda: plain(images, parameters),
    )


def render(
    segment: Segment, plan: Plan, images: tf.Tensor, parameters: Parameters, smooth: bool = False
) -> tf.Tensor:
    """The pixels after a step of a warp and a colour map."""
    return render_colors(segment, plan, render_places(segment, plan, images, parameters, smooth), parameters)


def render_places(
    segment: Segment, plan: Plan, images: tf.Tensor, parameters: Parameters, smooth: bool = False
) -> Pixels:
    """The pixels after the warp of a step, and with a constant fill how much of each is inside.

    With `smooth` each is the mean of as many places as its image needs.
    """
    size = size_after(segment.geometry, sizes(images)[:2])
    fill_mode = plan.fill_mode if segment.fills else None
    pixels, inside = images, None
    if segment.resamples:
        # Without a fill only the outer half of an edge pixel can be outside, and is that pixel.
        how = {"size": size, "projective": segment.projective, "interpolation": plan.interpolation}
        read = partial(supersampled, samples=parameters["samples"]) if smooth else warp
        pixels, inside = read(images, parameters["matrices"], fill_mode=fill_mode or "nearest", **how)
    elif segment.geometry:
        pixels, inside = move(images, parameters["matrices"], fill_mode, size)
    count = tf.shape(images)[0]
    pixels = tf.reshape(pixels, [count, *size, images.shape[3]])
    pixels = tf.ensure_shape(pixels, [images.shape[0], *pixels.shape[1:]])
    return (pixels,) if inside is None else (pixels, tf.reshape(inside, [count, *size, 1]))


def render_colors(segment: Segment, plan: Plan, moved: Pixels, parameters: Parameters) -> tf.Tensor:
    """The pixels after the colour map of a step, and after a constant fill."""
    pixels, *inside = moved
    if segment.color:
        gain, bias = parameters["gain"], parameters["bias"]
        pixels = color.apply_map((gain, bias), tf.cast(pixels, tf.float32))
        if inside:
            pixels += inside[0] * parameters["by_share"][:, None, None]
    elif inside:
        pixels = tf.cast(pixels, tf.float32) + segment.fill_units.carried(plan.fill_value) * (1 - inside[0])
    return _left(pixels, segment, plan)


def render_mix(segment: Segment, plan: Plan, images: tf.Tensor, found: Found) -> tf.Tensor:
    """The pixels after each image was mixed with another."""
    (step,) = segment.steps
    pixels = mix_pixels(step.transform, tf.cast(images, tf.float32), found)
    return tf.ensure_shape(_left(pixels, segment, plan), images.shape)


def chain_matrix(
    steps: list[Placed], uniform: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """The one output-to-input matrix of geometric transforms in order, for images of this size at first."""
    chain = tf.eye(3, batch_shape=[tf.shape(uniform)[0]])
    size: Size = height, width
    for step in steps:
        chain = chain @ step.matrix(uniform, *(tf.cast(side, tf.float32) for side in size))
        size = step.transform.size_after(size)
    return chain


def from_window(frame: tf.Tensor, window: tuple[Any, ...]) -> tf.Tensor:
    """The matrix from a whole image's coordinates to those of a window of it; for the frame see `execute`."""
    top, left, height, width = (tf.cast(number, tf.float32) for number in tf.unstack(frame))
    down = (height - tf.cast(window[0], tf.float32)) / 2 - top
    across = (width - tf.cast(window[1], tf.float32)) / 2 - left
    return tf.stack([[1.0, 0.0, across], [0.0, 1.0, down], [0.0, 0.0, 1.0]])


def size_after(steps: list[Placed], size: Size) -> Size:
    """Height and width after geometric transforms in order."""
    for step in steps:
        size = step.transform.size_after(size)
    return size


def chain_map(steps: list[Placed], uniform: tf.Tensor, mean: tf.Tensor) -> ColorMap:
    """The one colour map of colour transforms in order; each is given the mean that it would find."""
    chain = color.identity_map(tf.shape(uniform)[0], mean.shape[-1])
    for step in steps:
        found = color.apply_map_to_vector(chain, mean)
        chain = color.compose(chain, step.color_map(uniform, found))
    return chain


def _entering(images: tf.Tensor, segment: Segment) -> tf.Tensor:
    """The pixels that a transform of pixels is given: float32, and for a table inside the range."""
    pixels = tf.cast(images, tf.float32)
    return _clipped(pixels, segment.steps[0].units) if segment.kind == "table" else pixels


def _left(pixels: tf.Tensor, segment: Segment, plan: Plan) -> tf.Tensor:
    """What a step leaves: clipped at the end or after every transform, and at the end in the plan's dtype."""
    last = segment is plan.segments[-1]
    if plan.leaves_range(segment) if plan.exact else last and plan.clips:
        pixels = _clipped(pixels, segment.steps[-1].units_after)
    if not last:
        return pixels
    dtype = tf.as_dtype(plan.dtype)
    if dtype.is_integer and not pixels.dtype.is_integer:
        pixels = tf.round(pixels)
    return tf.cast(pixels, dtype)


def _clipped(pixels: tf.Tensor, units: Units) -> tf.Tensor:
    low, high = units.bounds
    return tf.minimum(tf.maximum(pixels, low), high)
