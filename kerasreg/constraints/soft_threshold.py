"""Exact zeros: constraints that end every optimizer step with the proximal step of a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, number, refusal
from kerasreg._core.groups import checked_axis, group_axes
from kerasreg._core.registry import register
from kerasreg._core.tensors import check_floats, wide_dtype
from kerasreg._core.training_context import ReadsOptimizer, install, optimizer_step
from kerasreg.constraints.proximal import elastic_prox, group_prox
from kerasreg.constraints.step_sizes import check_step_size, checked_metric, step_sizes
from kerasreg.constraints.strength import (
    checked_strength,
    strength_at_step,
    strength_config,
    strength_from_config,
)


class ProximalStep(ReadsOptimizer, keras.constraints.Constraint):
    """What the two share: the optimizer's step size, a strength, and the squares of an elastic net."""

    def __init__(self, strength: Any, beta: float):
        owner = type(self).__name__
        self.strength = checked_strength(owner, strength)
        self.beta = number(owner, "beta", beta, low=0)
        install()

    def __call__(self, w: Any) -> Any:
        """The weights after the step that the optimizer at work has just made."""
        owner, step = type(self).__name__, optimizer_step()
        if step is None:
            came = Came("a call outside of a Keras optimizer's step, where there is no learning rate")
            remedy = f"by hand, call {owner}(...).prox(w, step_size)"
            raise refusal(owner, "w", "a weight that a Keras optimizer is updating", came, remedy)
        weights, updating = ops.convert_to_tensor(w), step.updates_weights
        new = self._prox(weights, step_sizes(owner, step, w), step.updates)
        return new if updating is True else ops.where(updating, new, weights)

    def check_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Refuse an optimizer in whose metric no step can be made."""
        checked_metric(type(self).__name__, optimizer)

    def prox(self, w: Any, step_size: Any) -> Any:
        """The same by hand, without an optimizer: `argmin_x ||x - w||^2 / (2 s) + penalty(x)`.

        Args:
            w: Weights of any shape.
            step_size: s, the learning rate for plain gradient descent, or a tensor of the weights' shape. A
                schedule's strength is that of step 0.

        Raises:
            ValueError: If the weights are whole numbers, a step size is negative or not finite, or its shape
                is another than that of the weights.
        """
        weights = ops.convert_to_tensor(w)
        check_floats(type(self).__name__, "w", weights)
        check_step_size(type(self).__name__, step_size, weights)
        return self._prox(weights, step_size, 0)

    def _prox(self, weights: Any, steps: Any, step: Any) -> Any:
        dtype = wide_dtype(weights.dtype)
        strength = strength_at_step(self.strength, step, dtype)
        wide, steps = ops.cast(weights, dtype), ops.convert_to_tensor(steps, dtype)
        return ops.cast(self._wide_prox(wide, steps, strength), weights.dtype)

    def _wide_prox(self, weights: Any, steps: Any, strength: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"strength": strength_config(self.strength), "beta": self.beta}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ProximalStep:
        """The constraint that `get_config` described."""
        return cls(**strength_from_config(config))

    def __repr__(self) -> str:
        shown = {name: vars(self).get(name, value) for name, value in self.get_config().items()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@register
class SoftThreshold(ProximalStep):
    """Exact zeros for L1 and the elastic net: w := sign(w) max(|w| - s lambda, 0) / (1 + 2 s lambda beta).

    The penalty `strength (||W||_1 + beta ||W||_2^2)` is not part of the loss; it is put into force behind
    each step of the optimizer, whose step size s is read at that moment: the learning rate, scheduled or set
    by a callback, for SGD; the learning rate over 1 - momentum in the long run for SGD with momentum,
    Nesterov's too; `learning_rate / (sqrt(v_hat) + epsilon)`, weight by weight, for Adam and its kin. In that
    metric the weights come to rest at the minimum of loss plus penalty, whatever the optimizer, and those
    whose gradient is below lambda there are exactly 0.

    It works with SGD, Adam, AdamW, Nadam, Adamax, RMSprop and Adagrad, in a `LossScaleOptimizer` (a skipped
    step shrinks nothing), a `MultiOptimizer`, or with accumulated gradients (only updates shrink). What is
    shown as the loss is without the penalty. Give it to kernels, not to biases.

    Args:
        strength: lambda, a finite number of at least 0, or a `kr.regularizers.Schedule` over the updates.
        beta: The weight of the squares, a finite number of at least 0; 0 is the lasso. `strength` and `beta`
            are those of `kr.regularizers.ElasticNet`.

    Raises:
        ValueError: If `strength` or `beta` is negative or not finite; in the first step, if the optimizer's
            metric is not known or it averages weights (`use_ema`); if it is called outside of a step.

    Source:
        Daubechies, Defrise and De Mol, 2004; in a metric, Duchi, Hazan and Singer, "Adaptive Subgradient
        Methods", 2011, and Yun, Lozano and Yang, "Adaptive Proximal Gradient Methods for Structured Neural
        Networks", 2021.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> layer = keras.layers.Dense(1, kernel_constraint=kr.constraints.SoftThreshold(0.5))
        >>> [round(float(w), 3) for w in kr.constraints.SoftThreshold(0.5).prox(np.array([2.0, 0.03]), 0.1)]
        [1.95, 0.0]
    """

    def __init__(self, strength: Any = 0.01, beta: float = 0.0):
        super().__init__(strength, beta)

    def _wide_prox(self, weights: Any, steps: Any, strength: Any) -> Any:
        return elastic_prox(weights, steps, strength, strength * self.beta)


@register
class GroupSoftThreshold(ProximalStep):
    """Exact zeros for whole units or inputs: the proximal step of the group lasso.

    The penalty is `strength sum_g ((1 - l1_ratio) ||W_g||_2 + l1_ratio ||W_g||_1 + beta ||W_g||_2^2)`, the
    sparse-group lasso with an elastic net's squares. With one step size s for all weights, as SGD has,
    `W_g := W_g max(1 - s lambda / ||W_g||_2, 0)`; where each weight has its own, as with Adam, the same
    problem is solved exactly in that metric, one number per group by Newton's method. All else is as in
    `SoftThreshold`. A model's units that became 0 are removed by `kr.shrink`.

    Args:
        strength: lambda, a finite number of at least 0, or a `kr.regularizers.Schedule` over the updates.
        axis: The axes of one group's weights, as in `kr.regularizers.GroupLasso`. None for all but the last:
            one group for each unit of a dense layer and each filter of a convolution. For a dense kernel,
            `axis=1` makes one group of what leaves an input.
        l1_ratio: The share of the penalty that is on single weights, in [0, 1].
        beta: The weight of the squares, a finite number of at least 0.

    Raises:
        ValueError: As `SoftThreshold`; if `l1_ratio` is not in [0, 1] or `axis` does not fit the weights.

    Source:
        Yuan and Lin, 2006; Simon et al., "A Sparse-Group Lasso", 2013; in a metric, Deleu and Bengio,
        "Structured Sparsity Inducing Adaptive Optimizers for Deep Learning", 2021.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> units = kr.constraints.GroupSoftThreshold(1.0)
        >>> [round(float(w), 3) for w in np.ravel(units.prox(np.array([[3.0, 0.3], [4.0, 0.4]]), 0.5))]
        [2.7, 0.0, 3.6, 0.0]
    """

    def __init__(
        self,
        strength: Any = 0.01,
        axis: int | Sequence[int] | None = None,
        l1_ratio: float = 0.0,
        beta: float = 0.0,
    ):
        super().__init__(strength, beta)
        self.axis = checked_axis("GroupSoftThreshold", axis)
        self.l1_ratio = number("GroupSoftThreshold", "l1_ratio", l1_ratio, 0, 1)

    def _wide_prox(self, weights: Any, steps: Any, strength: Any) -> Any:
        axes = group_axes("GroupSoftThreshold", self.axis, weights)
        # A square scales the weights and the step sizes alike; single weights first, then their groups.
        scale = 1 + 2 * steps * strength * self.beta
        weights, steps = weights / scale, steps / scale
        if self.l1_ratio:
            weights = elastic_prox(weights, steps, strength * self.l1_ratio)
        return group_prox(weights, steps, strength * (1 - self.l1_ratio), axes)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "axis": self.axis, "l1_ratio": self.l1_ratio}
