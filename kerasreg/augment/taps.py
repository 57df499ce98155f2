"""Which pixels an axis is read at around a place, with which weights, and what stands outside the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

FILL_MODES = ("reflect", "nearest", "wrap", "constant")
INTERPOLATIONS = ("bilinear", "nearest", "bicubic")

KEYS = -0.5
"""The parameter of the cubic that is exact to third order (Keys, 1981), which Pillow and tf.image use too."""


class Tap(NamedTuple):
    """One of the pixels that a place is read at, along one axis.

    Attributes:
        index: int32, inside the image.
        weight: float32; 0 with a constant fill where the pixel would be outside.
    """

    index: tf.Tensor
    weight: tf.Tensor


def nearest(place: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> list[Tap]:
    """The pixel whose square a place is in; of two that touch there, the second."""
    lower = tf.floor(_folded(place, size, fill_mode) + 0.5)
    index, inside = _inside(tf.cast(lower, tf.int32), size, fill_mode)
    return [Tap(index, tf.ones_like(place) if inside is None else inside)]


def bilinear(place: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> list[Tap]:
    """The two pixels around a place, weighted by how near they are."""
    place = _folded(place, size, fill_mode)
    if fill_mode in ("reflect", "nearest"):
        # The half pixel around the image has the value of its edge, and the last pixel is the second of a
        # pair with weight 1, so that the second is always the next one.
        length = tf.cast(size, tf.float32)
        place = tf.clip_by_value(place, 0.0, length - 1)
        lower = tf.minimum(tf.floor(place), tf.maximum(length - 2, 0.0))
        first = tf.cast(lower, tf.int32)
        second = first + 1 if isinstance(size, int) and size > 1 else tf.minimum(first + 1, size - 1)
        return [Tap(first, 1 - (place - lower)), Tap(second, place - lower)]
    lower = tf.floor(place)
    first = tf.cast(lower, tf.int32)
    return [
        _weighted(first + k, weight, size, fill_mode)
        for k, weight in enumerate((1 - (place - lower), place - lower))
    ]


def bicubic(place: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> list[Tap]:
    """The four pixels around a place, weighted by Keys' cubic with `a = -1/2`.

    `(a + 2) t^3 - (a + 3) t^2 + 1` within one pixel of it, `a t^3 - 5 a t^2 + 8 a t - 4 a` within two.
    """
    place = _folded(place, size, fill_mode)
    lower = tf.floor(place)
    first = tf.cast(lower, tf.int32)
    after = place - lower
    return [_weighted(first + k, _cubic(after - k), size, fill_mode) for k in (-1, 0, 1, 2)]


KERNELS: dict[str, Callable[[tf.Tensor, tf.Tensor | int, str], list[Tap]]] = {
    "nearest": nearest,
    "bilinear": bilinear,
    "bicubic": bicubic,
}


def _cubic(distance: tf.Tensor) -> tf.Tensor:
    t = tf.abs(distance)
    near = ((KEYS + 2) * t - (KEYS + 3)) * t * t + 1
    far = ((KEYS * t - 5 * KEYS) * t + 8 * KEYS) * t - 4 * KEYS
    return tf.where(t <= 1, near, far)


def _folded(place: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> tf.Tensor:
    """The place brought near the image, where the same is seen; the cast to int32 is then in range."""
    length = tf.cast(size, tf.float32)
    if fill_mode == "wrap":
        return place - length * tf.floor(place / length)
    if fill_mode == "reflect":
        # Folding the continuous coordinate once costs less than folding the index of every neighbour. Where
        # the product rounds to another period than a quotient would, both say the same: it has no jump.
        from_edge = place + 0.5
        folded = from_edge - 2 * length * tf.floor(from_edge * (0.5 / length))
        return length - tf.abs(folded - length) - 0.5
    # Beyond two pixels outside nothing changes any more.
    return tf.clip_by_value(place, -3.0, length + 2)


def _weighted(index: tf.Tensor, weight: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> Tap:
    index, inside = _inside(index, size, fill_mode)
    return Tap(index, weight if inside is None else weight * inside)


def _inside(index: tf.Tensor, size: tf.Tensor | int, fill_mode: str) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The index of the pixel that stands there; with a constant fill also 1 or 0, for inside or not."""
    # The place was folded into the image, so that a neighbour is at most two pixels outside.
    if fill_mode == "wrap":
        index = tf.where(index < 0, index + size, index)
        index = tf.where(index >= size, index - size, index)
    if fill_mode == "reflect":
        index = tf.where(index < 0, -1 - index, index)
        index = tf.where(index >= size, 2 * size - 1 - index, index)
    inside = tf.cast((index >= 0) & (index < size), tf.float32) if fill_mode == "constant" else None
    return tf.clip_by_value(index, 0, size - 1), inside
