"""Convolutions that start as an orthogonal matrix at every position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, number, refusal
from kerasreg._core.registry import register
from kerasreg.initializers.fans import checked_shape
from kerasreg.initializers.orthogonal import orthogonal_matrices
from kerasreg.initializers.seeds import checked_seed, fresh_seed, seed_config


@register
class DeltaOrthogonal(keras.initializers.Initializer):
    """A convolution that starts as gain times an orthogonal map of the channels, the same at every position.

    ```
    K[centre] = gain * Q,   Q Q^T = I,   0 elsewhere
    ```
    so that ||K * x|| = gain ||x|| exactly, at any depth, for stride 1 and padding `"same"`. With it, Xiao et
    al. trained plain convolutional nets of 10,000 tanh layers. The kernel's shape is (*window, in, out), with
    no more channels in than out: what shrinks cannot keep every norm.

    Args:
        gain: What the layer multiplies norms by, above 0.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same weights at every call,
            a `keras.random.SeedGenerator`, or None for new ones at every call.

    Raises:
        ValueError: If an argument is not one of the above, or the kernel has more channels in than out.

    Source:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington, "Dynamical Isometry and a Mean Field Theory of
        CNNs", 2018, algorithm 1.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> start = kr.initializers.DeltaOrthogonal(seed=0)
        >>> layer = keras.layers.Conv2D(8, 3, padding="same", kernel_initializer=start)
        >>> x = np.random.default_rng(0).normal(size=(1, 5, 5, 4)).astype("float32")
        >>> print(f"{np.linalg.norm(layer(x)) / np.linalg.norm(x):.4f}")
        1.0000
    """

    def __init__(self, gain: float = 1.0, seed: int | keras.random.SeedGenerator | None = None):
        self.gain = number("DeltaOrthogonal", "gain", gain, 0, open_low=True)
        self.seed = checked_seed("DeltaOrthogonal", seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Make a kernel of this shape."""
        shape = checked_shape("DeltaOrthogonal", shape)
        if len(shape) < 3 or shape[-2] > shape[-1] or 0 in shape[:-2]:
            allowed = "(*window, in, out) of rank 3 or more with in <= out and a window of at least 1"
            remedy = "use Calibrated(kind='conv', distribution='orthogonal') where channels shrink"
            raise refusal("DeltaOrthogonal", "shape", allowed, Came(f"shape {shape}"), remedy)
        *window, channels_in, channels_out = shape
        matrix = orthogonal_matrices(1, channels_in, channels_out, fresh_seed(self.seed))
        # An even window's centre is where padding "same" puts it: the smaller half comes before.
        before = [(size - 1) // 2 for size in window]
        paddings = [(low, size - 1 - low) for low, size in zip(before, window, strict=True)]
        matrix = ops.reshape(self.gain * matrix, (*[1 for _ in window], channels_in, channels_out))
        return ops.cast(ops.pad(matrix, [*paddings, (0, 0), (0, 0)]), dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"gain": self.gain, "seed": seed_config(self.seed)}
