"""Transforms that mix an image with what chains of other transforms make of it."""

from __future__ import annotations

from typing import ClassVar

import tensorflow as tf

from kerasreg.augment.pixels import Found, per_pixel
from kerasreg.augment.policy import Policy
from kerasreg.augment.transform import Transform


class Mixture(Transform):
    """A weighted mean of an image and draws of one chain; a subclass writes `chain` and `shares`."""

    kind: ClassVar[str] = "mixture"

    leaves_range: ClassVar[bool] = True  # by the last bit of a float

    width: int
    """How many draws of the chain there are."""

    @property
    def chain(self) -> Policy:
        """What every chain is drawn from."""
        raise NotImplementedError(f"{type(self).__name__} must write `chain`")

    def shares(self, uniform: tf.Tensor) -> Found:
        """The shares of each image: `"image"` of shape `(images,)`, and `"chains"`, `(images, width)`.

        Args:
            uniform: Uniform numbers in [0, 1), shape `(images, lanes)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `shares`")


def begun(images: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """The share of the image itself, float32."""
    return per_pixel(share) * tf.cast(images, tf.float32)


def continued(mixed: tf.Tensor, images: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """What is mixed so far, and the share of one more chain."""
    return mixed + per_pixel(share) * images
