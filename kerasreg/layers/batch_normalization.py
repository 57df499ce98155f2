"""Batch normalisation in the lecture's convention."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.arguments import integer, not_both, number
from kerasreg._core.registry import register

# Known by identity, so that 0.01 typed by a user beside `momentum` is told from the default.
_DEFAULT_UPDATE_RATE = float("0.01")


@register
class BatchNormalization(keras.layers.BatchNormalization):
    """Normalises each feature over the batch, then scales and shifts it: y = gamma x^ + beta.

    In training, with the batch's mean mu_B and (biased) variance sigma_B^2,

    ```
    x^      = (x - mu_B) / sqrt(sigma_B^2 + epsilon)
    mu      := alpha mu_B      + (1 - alpha) mu
    sigma^2 := alpha sigma_B^2 + (1 - alpha) sigma^2
    ```
    and at inference x^ = (x - mu) / sqrt(sigma^2 + epsilon). alpha is `update_rate`; Keras' `momentum` is the
    decay, 1 - alpha. A drop-in for `keras.layers.BatchNormalization`: it takes its arguments by name and
    its weights, and the defaults compute the same.

    Args:
        axis: The axis of the features.
        update_rate: alpha, the weight of the newest batch, in [0, 1].
        momentum: Keras' decay, 1 - alpha, in [0, 1], instead of `update_rate`.
        epsilon: Added to the variance, above 0.
        **kwargs: The other arguments of `keras.layers.BatchNormalization`.

    Raises:
        ValueError: If `update_rate` and `momentum` are both given, or one of them is outside [0, 1].

    Source:
        Ioffe and Szegedy, "Batch Normalization", 2015, algorithms 1 and 2.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> layer = kr.layers.BatchNormalization(update_rate=0.1)
        >>> y = layer(np.array([[1.0], [3.0]], "float32"), training=True)
        >>> round(float(layer.moving_mean[0]), 6)
        0.2
    """

    def __init__(
        self,
        axis: int = -1,
        update_rate: float | None = _DEFAULT_UPDATE_RATE,
        momentum: float | None = None,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ):
        if momentum is not None:
            if update_rate is not None and update_rate is not _DEFAULT_UPDATE_RATE:
                raise not_both(
                    "BatchNormalization",
                    "update_rate",
                    "momentum",
                    f"update_rate={update_rate!r} and momentum={momentum!r}",
                    "give one: momentum = 1 - update_rate",
                )
            update_rate = None
            decay = number("BatchNormalization", "momentum", momentum, 0, 1)
        else:
            update_rate = _DEFAULT_UPDATE_RATE if update_rate is None else update_rate
            update_rate = number("BatchNormalization", "update_rate", update_rate, 0, 1)
            decay = 1.0 - update_rate
        axis = integer("BatchNormalization", "axis", axis)
        epsilon = number("BatchNormalization", "epsilon", epsilon, 0, open_low=True)
        super().__init__(axis=axis, momentum=decay, epsilon=epsilon, **kwargs)
        self._given = {"update_rate": update_rate, "momentum": None if update_rate is not None else decay}

    @property
    def update_rate(self) -> float:
        """alpha, the weight of the newest batch in the moving averages."""
        given = self._given["update_rate"]
        return 1.0 - self.momentum if given is None else given

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor; of `update_rate` and `momentum`, the one that was given."""
        return {**super().get_config(), **self._given}
