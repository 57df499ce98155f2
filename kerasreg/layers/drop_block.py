"""DropBlock: neighbouring units of a feature map, dropped together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._core.arguments import Came, choice, flag, integer, refusal
from kerasreg._core.noise_source import Uniform
from kerasreg._core.registry import register
from kerasreg.layers.monte_carlo import NoiseLayer
from kerasreg.layers.spatial_dropout import checked_data_format

NORMALIZATIONS = ("rate", "count")


def block_start_rate(rate: float, block: tuple[int, int]) -> float:
    """The probability with which a block starts at a place, for a share `rate` of dropped units.

    A unit stays if none of the h w places starts a block from which the block reaches it:
    1 - rate = (1 - gamma)^(h w).
    """
    return -math.expm1(math.log1p(-rate) / (block[0] * block[1]))


def kept_units(
    shape: Sequence[Any], rate: float, block: tuple[int, int], uniform: Uniform, per_channel: bool = True
) -> Any:
    """1 for each unit that stays and 0 for each that is in a block, float32, of (batch, h, w, channels or 1).

    Blocks may start outside of the map and reach into it: every unit, at the border too, is then within reach
    of as many starts as any other, and dropped with probability `rate`, whatever the sizes of map and block.
    """
    batch, height, width, channels = shape
    high, wide = block
    starts = uniform((batch, height + high - 1, width + wide - 1, channels if per_channel else 1))
    starts = ops.cast(starts < block_start_rate(rate, block), "float32")
    # The maximum over a rectangle is that over its rows' maxima.
    reached = ops.max_pool(starts, (high, 1), 1, "valid", "channels_last")
    reached = ops.max_pool(reached, (1, wide), 1, "valid", "channels_last")
    return 1.0 - reached


@register
class DropBlock2D(NoiseLayer):
    """Drops rectangles of each feature map: dropout where neighbours say the same.

    y = x m / (1 - p), where m is 0 on blocks of `block_size`, for each row and channel on its own. A block
    starts at each place with probability gamma = 1 - (1 - p)^(1 / (h w)). The paper's gamma = p / (h w) H W
    / ((H - h + 1) (W - w + 1)) is its first order: it counts overlapping blocks twice, keeps blocks inside
    of the map, where the border is hardly ever reached, and has no value for a block larger than the map.
    Here blocks start outside too, cut off by the border, and every unit of every map is dropped with
    probability p exactly.

    Args:
        rate: p, the share of units set to 0, in [0, 1).
        block_size: The side of a block in units, or (height, width), at least 1 each; 1 is dropout.
        normalize: What the units that stay are scaled with: `"rate"` for 1 / (1 - p), so that E[y] = x for
            each unit; `"count"` for the paper's count(m) / sum(m), from each map's own mask, which keeps the
            mean of a constant map in each draw, other than where the whole map is dropped.
        per_channel: Whether each channel has blocks of its own (the paper found it better) or all share them.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras' own setting.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers with one seed draw alike.
        mc: Whether the layer drops at inference too; see `Dropout`.
        **kwargs: `keras.layers.Layer`'s own arguments.

    Raises:
        ValueError: If an argument is not one of the above, or the input is not of four axes.

    Source:
        Ghiasi, Lin and Le, "DropBlock: A regularization method for convolutional networks", 2018.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> layer = kr.layers.DropBlock2D(0.2, block_size=3, seed=0, mc=True)
        >>> y = np.asarray(layer(np.ones((16, 20, 20, 8), "float32")))
        >>> round(float((y == 0).mean()), 1), round(float(y.mean()), 1)
        (0.2, 1.0)
    """

    def __init__(
        self,
        rate: float,
        block_size: int | Sequence[int] = 7,
        normalize: str = "rate",
        per_channel: bool = True,
        data_format: str | None = None,
        seed: int | None = None,
        mc: bool = False,
        **kwargs: Any,
    ):
        owner = type(self).__name__
        block = _sides(owner, block_size)
        normalize = choice(owner, "normalize", normalize, NORMALIZATIONS)
        per_channel = flag(owner, "per_channel", per_channel)
        data_format = checked_data_format(self, data_format)
        super().__init__(rate, seed, mc, **kwargs)
        self.block_size = block if isinstance(block_size, Sequence) else block[0]
        self.normalize = normalize
        self.per_channel = per_channel
        self.data_format = data_format

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Refuse what has no height and width."""
        self._check(input_shape)
        super().build(input_shape)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sequence[int | None]:
        """The shape that came in."""
        self._check(input_shape)
        return input_shape

    def noisy(self, inputs: Any, uniform: Uniform) -> Any:
        """The inputs with blocks dropped, decided by numbers from `uniform`."""
        self._check(inputs.shape)
        batch, *sizes = ops.shape(inputs)
        first = self.data_format == "channels_first"
        channels, height, width = sizes if first else (sizes[2], *sizes[:2])
        shape = (batch, height, width, channels)
        keep = kept_units(shape, self.rate, _sides("DropBlock2D", self.block_size), uniform, self.per_channel)
        if self.normalize == "rate":
            scale = 1.0 / (1.0 - self.rate)
        else:
            # The largest of 1 / mean that is not infinite belongs to a map in which one unit stays.
            units = ops.cast(height * width, "float32")
            scale = 1.0 / ops.maximum(ops.mean(keep, axis=(1, 2), keepdims=True), 1.0 / units)
        factor = keep * scale
        if first:
            factor = ops.transpose(factor, (0, 3, 1, 2))
        factor = ops.cast(factor, inputs.dtype)
        # A choice, not a product: what is dropped may be infinite.
        return ops.where(factor > 0, inputs * factor, ops.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {
            **super().get_config(),
            "block_size": self.block_size,
            "normalize": self.normalize,
            "per_channel": self.per_channel,
            "data_format": self.data_format,
        }

    def _check(self, shape: Sequence[int | None]) -> None:
        if len(shape) != 4:
            axes = ("batch", "height", "width", "channels")
            axes = axes if self.data_format == "channels_last" else ("batch", "channels", "height", "width")
            raise refusal(
                type(self).__name__, "inputs", f"of shape ({', '.join(axes)})", Came(f"shape {tuple(shape)}")
            )


def _sides(owner: str, block_size: Any) -> tuple[int, int]:
    if isinstance(block_size, Sequence) and not isinstance(block_size, str):
        if len(block_size) != 2:
            raise refusal(owner, "block_size", "a whole number or a (height, width) pair", block_size)
        return tuple(integer(owner, "block_size", side, low=1) for side in block_size)
    side = integer(owner, "block_size", block_size, low=1)
    return side, side
