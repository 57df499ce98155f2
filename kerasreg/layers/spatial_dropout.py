"""Dropout of whole feature maps that can go on at inference."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.arguments import choice
from kerasreg._core.registry import register
from kerasreg.layers.monte_carlo import MonteCarloDropout


@register
class SpatialDropout1D(MonteCarloDropout, keras.layers.SpatialDropout1D):
    """Drops whole features of a sequence: one draw for each row and channel.

    y[b, t, c] = x[b, t, c] m[b, c] / (1 - p) with m ~ Bernoulli(1 - p), so that E[y] = x. Neighbours in a
    sequence or an image say much the same; dropping one of them alone would take nothing away.

    Args:
        rate: p, the share of features set to 0, in [0, 1).
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers of one kind with one seed draw the same masks, as Keras' do.
        name: The layer's name.
        dtype: The layer's dtype or policy.
        mc: Whether the layer drops at inference too; see `Dropout`.

    Raises:
        ValueError: If an argument is not one of the above, or the input is not of shape
            (batch, steps, channels).

    Source:
        Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> y = np.asarray(kr.layers.SpatialDropout1D(0.5, seed=0, mc=True)(np.ones((2, 5, 3), "float32")))
        >>> bool((y == y[:, :1]).all())
        True
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        mc: bool = False,
    ):
        super().__init__(rate, seed=seed, name=name, dtype=dtype, mc=mc)


@register
class SpatialDropout2D(MonteCarloDropout, keras.layers.SpatialDropout2D):
    """Drops whole feature maps of images: one draw for each row and channel.

    y[b, i, j, c] = x[b, i, j, c] m[b, c] / (1 - p) with m ~ Bernoulli(1 - p), so that E[y] = x.

    Args:
        rate: p, the share of feature maps set to 0, in [0, 1).
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras' own setting.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers of one kind with one seed draw the same masks, as Keras' do.
        name: The layer's name.
        dtype: The layer's dtype or policy.
        mc: Whether the layer drops at inference too; see `Dropout`.

    Raises:
        ValueError: If an argument is not one of the above, or the input is not of four axes.

    Source:
        Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> y = np.asarray(kr.layers.SpatialDropout2D(0.5, seed=0, mc=True)(np.ones((2, 4, 4, 3), "float32")))
        >>> bool((y == y[:, :1, :1]).all())
        True
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        mc: bool = False,
    ):
        data_format = checked_data_format(self, data_format)
        super().__init__(rate, data_format=data_format, seed=seed, name=name, dtype=dtype, mc=mc)


@register
class SpatialDropout3D(MonteCarloDropout, keras.layers.SpatialDropout3D):
    """Drops whole feature maps of volumes: one draw for each row and channel.

    y[b, i, j, k, c] = x[b, i, j, k, c] m[b, c] / (1 - p) with m ~ Bernoulli(1 - p), so that E[y] = x.

    Args:
        rate: p, the share of feature maps set to 0, in [0, 1).
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras' own setting.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers of one kind with one seed draw the same masks, as Keras' do.
        name: The layer's name.
        dtype: The layer's dtype or policy.
        mc: Whether the layer drops at inference too; see `Dropout`.

    Raises:
        ValueError: If an argument is not one of the above, or the input is not of five axes.

    Source:
        Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> y = kr.layers.SpatialDropout3D(0.5, seed=0, mc=True)(np.ones((2, 2, 2, 2, 3), "float32"))
        >>> bool((np.asarray(y) == np.asarray(y)[:, :1, :1, :1]).all())
        True
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        mc: bool = False,
    ):
        data_format = checked_data_format(self, data_format)
        super().__init__(rate, data_format=data_format, seed=seed, name=name, dtype=dtype, mc=mc)


def checked_data_format(layer: keras.layers.Layer, value: str | None) -> str:
    """One of Keras' two words, its own setting for None; or an error."""
    if value is None:
        return keras.config.image_data_format()
    return choice(type(layer).__name__, "data_format", value, ("channels_last", "channels_first"))
