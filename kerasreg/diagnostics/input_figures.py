"""The scale of data, feature by feature."""

from __future__ import annotations

import numpy as np

from kerasreg.diagnostics.figures import InputFigures

# Statistics of a data set's scale need no more numbers than this.
_ENOUGH = 2_000_000


def input_figures(name: str, values: np.ndarray) -> InputFigures | None:
    """The figures of one input, None for one that holds no real numbers (token ids, strings).

    The last axis holds the features; of images all positions count to a channel.

    Example:
        >>> import numpy as np
        >>> found = input_figures("x", np.array([[0.0, 300.0], [1.0, 500.0]]))
        >>> round(found.rms, 1), found.spread, found.varying
        (291.5, 200.0, 1.0)
    """
    if values.dtype.kind not in "fu" or (values.dtype.kind == "u" and values.ndim < 3):
        return None
    # Bytes with two axes are ids or flags; with more they are images.
    rows = max(2, int(len(values) * min(1.0, _ENOUGH / max(values.size, 1))))
    values = values[:rows].astype("float64")
    flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, None]
    return from_moments(name, flat.mean(axis=0), flat.std(axis=0))


def from_moments(name: str, mean: np.ndarray, std: np.ndarray) -> InputFigures:
    """The figures of an input from each feature's mean and standard deviation."""
    rms = float(np.sqrt(np.mean(np.square(mean) + np.square(std))))
    mean = np.abs(mean)
    varies = std > 1e-12 * (mean + 1e-300)
    if not varies.any():
        return InputFigures(name, rms, 0.0, 1.0, 0.0)
    # The lower one of two: of a pair of features either may be the odd one.
    middle = float(np.sort(std[varies])[(np.count_nonzero(varies) - 1) // 2])
    offset = float(np.mean(mean[varies] > 10.0 * std[varies]))
    return InputFigures(name, rms, offset, float(std.max() / middle), float(varies.mean()))
