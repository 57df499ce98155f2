"""A part of each image, of one size for all: cut out as it is."""

from __future__ import annotations

import numbers
from typing import Any

import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment.geometry import GeometricTransform
from kerasreg.augment.matrices import crop_matrix
from kerasreg.augment.transform import Size, whole_between


@register
class RandomCrop(GeometricTransform):
    """Cuts a window of fixed size out of each image, at a place drawn evenly among all whole pixels.

    It moves whole pixels and interpolates nothing: alone or among flips, quarter turns and other crops, the
    result holds the very pixels of the input. What it cuts off is not lost to the transforms that follow
    in the same step: a rotation behind a crop shows what the image has there, and not a fill
    (`Pipeline(exact=True)` forgets it, as a chain of separate operations does).

    Args:
        size: Height and width of the window in pixels, a `(height, width)` pair or one number for both.
        padding: How many pixels of the pipeline's fill the image is thought to have around it, a whole
            number or a `(vertical, horizontal)` pair. `RandomCrop(32, padding=4)` is usual for images of
            32 pixels.
        probability: How often the place is drawn; otherwise it is the middle of the image.
        name: See `Pipeline`.
        pad_if_needed: What to do with an image that is smaller than the window along an axis: with True it
            is put in the middle of the window, with the fill around it, with False it is refused.

    Raises:
        ValueError: A size that is no positive whole number, a negative padding, or, when images come,
            images smaller than the window.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomCrop
        >>> pipeline = Pipeline([RandomCrop((2, 3))])
        >>> pipeline(tf.zeros([10, 32, 32, 3], tf.uint8)).shape.as_list()
        [10, 2, 3, 3]
    """

    moves_whole_pixels = True
    changes_size = True
    invertible = False
    magnitudes = 2

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int | tuple[int, int] = 0,
        probability: float = 1.0,
        name: str | None = None,
        pad_if_needed: bool = False,
    ) -> None:
        super().__init__(probability, name)
        self.size = whole_pair(self._owner, "size", size, 1, "(height, width)")
        self._padding = whole_pair(self._owner, "padding", padding, 0, "(vertical, horizontal)")
        self.padding = self._padding if isinstance(padding, list | tuple) else self._padding[0]
        self.pad_if_needed = arguments.flag(self._owner, "pad_if_needed", pad_if_needed)
        self.fills = self.pad_if_needed or self._padding != (0, 0)

    def size_after(self, size: Size) -> Size:
        """See `Transform.size_after`."""
        if not self.pad_if_needed:
            for side, window, padding in zip(size, self.size, self._padding, strict=True):
                if isinstance(side, int) and side + 2 * padding < window:
                    words = f"at most that of the images, {size[0]}x{size[1]}"
                    if self.fills:
                        words += f" with a padding of {self.padding}"
                    raise arguments.refusal(
                        self._owner, "size", words, self.size, "pad_if_needed=True fills around small images"
                    )
                elif not isinstance(side, int):
                    tf.debugging.assert_greater_equal(
                        side + 2 * padding,
                        window,
                        f"Argument `size` of {self._owner} must be at most that of images, got {self.size}.",
                    )
        return self.size

    def matrix(self, uniform: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.matrix`."""
        top, left = (
            # Where the image is smaller there is one place, the middle.
            tf.where(rest < 0, tf.floor(rest / 2), whole_between(0, rest, uniform[:, i])) - padding
            for i, (rest, padding) in enumerate(zip(self._rest(height, width), self._padding, strict=True))
        )
        return crop_matrix(top, left, self.size, (height, width), self.size)

    def idle_matrix(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """See `GeometricTransform.idle_matrix`: the window in the middle."""
        top, left = (
            tf.floor(rest / 2)[None] - padding
            for rest, padding in zip(self._rest(height, width), self._padding, strict=True)
        )
        return crop_matrix(top, left, self.size, (height, width), self.size)[0]

    def shrinks(self) -> float:
        """See `GeometricTransform.shrinks`."""
        return 1.0

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {
            "size": list(self.size),
            "padding": list(self.padding) if isinstance(self.padding, tuple) else self.padding,
            "pad_if_needed": self.pad_if_needed,
            **super().get_config(),
        }

    def _rest(self, height: tf.Tensor, width: tf.Tensor) -> list[tf.Tensor]:
        """How many pixels longer than the window the padded image is, down and across."""
        return [
            side + 2.0 * padding - window
            for side, padding, window in zip((height, width), self._padding, self.size, strict=True)
        ]


def whole_pair(owner: str, argument: str, value: Any, low: int, pair: str) -> tuple[int, int]:
    """Two whole numbers of at least `low`, or one that stands for both."""
    many = isinstance(value, list | tuple)
    both = tuple(value) if many else (value, value)
    if len(both) != 2 or not all(
        isinstance(one, numbers.Integral) and not isinstance(one, bool) and one >= low for one in both
    ):
        raise arguments.refusal(
            owner, argument, f"a whole number of at least {low} or a {pair} pair of such", value
        )
    return int(both[0]), int(both[1])
