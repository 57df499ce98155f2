"""Weight vectors at right angles to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kerasreg._core.arguments import choice
from kerasreg._core.groups import group_norms
from kerasreg._core.registry import register
from kerasreg.regularizers.norms import l1_norm
from kerasreg.regularizers.penalty import Penalty, wide
from kerasreg.regularizers.schedule import Schedule

MODES = ("rows", "columns")


def mean_cosine(vectors: Any) -> Any:
    """The mean |cos| of the angles between the rows of a matrix; a row of zeros is at right angles to all."""
    count = vectors.shape[0]
    if count < 2:
        return ops.zeros((), vectors.dtype)
    lengths = group_norms(vectors, (1,))
    unit = vectors / ops.where(lengths > 0, lengths, ops.ones_like(lengths))
    cosines = ops.matmul(unit, ops.transpose(unit))
    off_diagonal = ops.convert_to_tensor(1.0 - np.eye(count), dtype=vectors.dtype)
    return l1_norm(cosines * off_diagonal) / (count * (count - 1))


@register
class Orthogonal(Penalty):
    """`strength mean_{i != j} |cos(w_i, w_j)|`: turns weight vectors at right angles, whatever their lengths.

    For matrices this is `keras.regularizers.OrthogonalRegularizer(strength, mode)`. A kernel of higher rank
    is read as a matrix with one column for each unit, that is its last axis.

    Args:
        strength: lambda, a finite number of at least 0, or a `Schedule`.
        mode: `"rows"` for the vectors that leave an input, `"columns"` for those that enter a unit, the usual
            choice for convolutions. More vectors than they have entries cannot all be at right angles.

    Raises:
        ValueError: If `strength` is negative or not finite, `mode` is another word, or the weights are
            integers.

    Source:
        Brock et al., "Neural Photo Editing with Introspective Adversarial Networks", 2017, with |cos| as in
        Keras.

    Example:
        >>> import kerasreg as kr
        >>> float(kr.regularizers.Orthogonal(0.5)([[2.0, 0.0], [0.0, 3.0]]))
        0.0
    """

    def __init__(self, strength: float | Schedule = 0.01, mode: str = "rows"):
        super().__init__(strength)
        self.mode = choice("Orthogonal", "mode", mode, MODES)

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any shape, a scalar."""
        weights = wide(x, "Orthogonal")
        # A vector is one unit's.
        matrix = ops.reshape(weights, (-1, weights.shape[-1] if len(weights.shape) > 1 else 1))
        vectors = matrix if self.mode == "rows" else ops.transpose(matrix)
        return ops.cast(self.current_strength(), weights.dtype) * mean_cosine(vectors)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "mode": self.mode}
