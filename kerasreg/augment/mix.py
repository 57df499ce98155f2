"""Transforms that mix each image with another one of its batch, and the labels with it."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.distributions import beta_quantile
from kerasreg.augment.pixels import Found, per_pixel
from kerasreg.augment.transform import Size, Transform


def partners(uniform: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """A permutation of the first `size` rows, and one of the rows of padding behind them.

    Args:
        uniform: One number for each row, `(images,)`.
        size: Scalar integer, how many rows are real.

    Returns:
        int32 of shape `(images,)`: the row that each is given.
    """
    rows = tf.range(tf.shape(uniform)[0])
    padding = tf.cast(rows >= tf.cast(size, tf.int32), tf.float32)
    return tf.argsort(uniform + 2 * padding, stable=True)


def cut_rectangles(own: tf.Tensor, down: tf.Tensor, right: tf.Tensor, size: Size) -> tuple[tf.Tensor, ...]:
    """Top, bottom, left and right edges of rectangles of share `1 - own`, cut off at the image.

    Each has the image's proportions, `sqrt(1 - own)` times as high and as wide, in whole pixels, and its
    middle anywhere in the image. Edges are whole numbers as float32.

    Args:
        own: The share that is left of the image, in [0, 1]; all of shape `(images,)`.
        down: Where the middle is, from the upper edge to the lower one, in [0, 1).
        right: The same from left to right.
        size: Height and width of the images.
    """
    edges = []
    for side, place in zip(size, (down, right), strict=True):
        length = tf.cast(side, tf.float32)
        cut = tf.floor(tf.sqrt(1 - own) * length)
        middle = tf.floor(place * length)
        first = middle - tf.floor(cut / 2)
        edges += [tf.maximum(first, 0.0), tf.minimum(first + cut, length)]
    return tuple(edges)


class MixTransform(Transform):
    """A transform of an image and another of its batch; a subclass writes `shares` and `mixed`."""

    kind: ClassVar[str] = "mix"

    num_classes: int | None
    """How many classes sparse labels have; None where labels are mixed as they stand."""

    def __init__(
        self,
        alpha: float,
        num_classes: int | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(probability, name)
        self.alpha = arguments.number(self._owner, "alpha", alpha, 0, open_low=True)
        self.num_classes = num_classes
        if num_classes is not None:
            self.num_classes = arguments.integer(self._owner, "num_classes", num_classes, 2)

    def shares(self, uniform: tf.Tensor, size: Size) -> Found:
        """What `mixed` needs, and `"own"`, the share that each image has of the result, `(images,)`.

        Args:
            uniform: Uniform numbers in [0, 1), shape `(images, magnitudes - 1)`.
            size: Height and width of the images.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `shares`")

    def mixed(self, pixels: tf.Tensor, others: tf.Tensor, found: Found) -> tf.Tensor:
        """The pixels of images and of those that they are mixed with, as one, float32."""
        raise NotImplementedError(f"{type(self).__name__} must write `mixed`")

    def gated_shares(self, uniform: tf.Tensor, size: Size, rows: tf.Tensor) -> Found:
        """`shares`, the row of each image's partner, and which images are mixed at all."""
        found = {**self.shares(uniform[:, 2:], size), "fires": self.fires(uniform)}
        found["own"] = tf.where(found["fires"], found["own"], tf.ones_like(found["own"]))
        return {**found, "partner": partners(uniform[:, 1], rows)}

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {"alpha": self.alpha, "num_classes": self.num_classes, **super().get_config()}


def mix_pixels(transform: MixTransform, pixels: tf.Tensor, found: Found) -> tf.Tensor:
    """Pixels or masks `(images, height, width, ...)` mixed; those of other images as they are."""
    others = tf.gather(pixels, found["partner"])
    fires = tf.reshape(found["fires"], [-1, *[1] * (pixels.shape.rank - 1)])
    return tf.where(fires, transform.mixed(pixels, others, found), pixels)


def mix_labels(labels: tf.Tensor, found: Found) -> tf.Tensor:
    """`own * labels + (1 - own) * labels[partner]`, float32."""
    own = tf.reshape(found["own"], [-1, *[1] * (labels.shape.rank - 1)])
    return own * labels + (1 - own) * tf.gather(labels, found["partner"])


def as_numbers(labels: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """Labels that can be mixed, float32: sparse ones as one-hot, others as they stand."""
    if labels.dtype.is_floating:
        return tf.cast(labels, tf.float32)
    flat = labels[:, 0] if labels.shape.rank == 2 else labels
    return tf.one_hot(flat, num_classes)


@register
class MixUp(MixTransform):
    """Blends each image with another one of its batch, and their labels: `a * x + (1 - a) * x'`.

    `a` is drawn from Beta(alpha, alpha) for each image; the partners are a permutation of the batch, in which
    an image can be its own. It takes batches, and for the labels

    - integers of shape `(batch,)` or `(batch, 1)` with `num_classes`,
    - or floats of shape `(batch, ...)`, one-hot or any other targets that can be averaged.

    It returns the labels in float32: `(batch, num_classes)` for integers, the same shape for floats, so that
    `categorical_crossentropy` is their loss. Weights of samples stay as they are. Masks, boxes and keypoints
    of a blend make no sense, and are an error.

    Args:
        alpha: Above 0; small values blend little.
        num_classes: How many classes integer labels have, which are 0 to `num_classes - 1`.
        probability: How often an image is blended at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Zhang et al., "mixup: beyond empirical risk minimization", 2018.

    Example:
        >>> from kerasreg.augment import MixUp, Pipeline
        >>> images, labels = tf.zeros([4, 8, 8, 3]), tf.constant([0, 1, 2, 2])
        >>> images, labels = Pipeline([MixUp(0.2, num_classes=3)])((images, labels))
        >>> labels.shape.as_list(), labels.dtype.name
        ([4, 3], 'float32')
    """

    magnitudes = 2

    def __init__(
        self,
        alpha: float = 0.2,
        num_classes: int | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(alpha, num_classes, probability, name)

    def shares(self, uniform: tf.Tensor, size: Size) -> Found:
        """See `MixTransform.shares`."""
        return {"own": beta_quantile(uniform[:, 0], self.alpha, self.alpha)}

    def mixed(self, pixels: tf.Tensor, others: tf.Tensor, found: Found) -> tf.Tensor:
        """See `MixTransform.mixed`."""
        own = per_pixel(found["own"])
        return own * pixels + (1 - own) * others


@register
class CutMix(MixTransform):
    """Pastes a rectangle of another image of the batch over each, and mixes the labels by area.

    The rectangle is at the same place in both images, has the image's proportions and the share `1 - a` of
    its area, `a` drawn from Beta(alpha, alpha); its middle is anywhere in the image, and what reaches out is
    cut off. The labels are mixed by the area that is really pasted: `s * y + (1 - s) * y'`, `s` the share of
    pixels that are the image's own. Partners and labels are as with `MixUp`, labels are returned in float32.
    Segmentation masks are pasted as the pixels are, and do without labels; boxes and keypoints are an error.

    Args:
        alpha: Above 0; 1 draws every share equally often.
        num_classes: How many classes integer labels have, which are 0 to `num_classes - 1`.
        probability: How often an image is pasted into at all, a number in [0, 1].
        name: See `Pipeline`.

    Source:
        Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable
        features", 2019.

    Example:
        >>> from kerasreg.augment import CutMix, Pipeline
        >>> labels = tf.one_hot([0, 1, 2, 2], 3)
        >>> images, labels = Pipeline([CutMix()])((tf.zeros([4, 8, 8, 3]), labels))
        >>> tf.reduce_sum(labels, axis=1).numpy().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    magnitudes = 4

    def __init__(
        self,
        alpha: float = 1.0,
        num_classes: int | None = None,
        probability: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(alpha, num_classes, probability, name)

    def shares(self, uniform: tf.Tensor, size: Size) -> Found:
        """See `MixTransform.shares`."""
        own = beta_quantile(uniform[:, 0], self.alpha, self.alpha)
        edges = cut_rectangles(own, uniform[:, 1], uniform[:, 2], size)
        top, bottom, left, right = edges
        height, width = (tf.cast(side, tf.float32) for side in size)
        own = 1 - (bottom - top) * (right - left) / (height * width)
        return {"own": own, **dict(zip(("top", "bottom", "left", "right"), edges, strict=True))}

    def mixed(self, pixels: tf.Tensor, others: tf.Tensor, found: Found) -> tf.Tensor:
        """See `MixTransform.mixed`."""
        inside = []
        for axis, first, behind in ((1, "top", "bottom"), (2, "left", "right")):
            place = tf.range(tf.shape(pixels)[axis], dtype=tf.float32)
            within = (place >= found[first][:, None]) & (place < found[behind][:, None])
            inside.append(tf.expand_dims(within, 3 - axis))
        pasted = inside[0] & inside[1]
        return tf.where(pasted[..., None] if pixels.shape.rank == 4 else pasted, others, pixels)
