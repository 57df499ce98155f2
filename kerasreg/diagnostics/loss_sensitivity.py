"""How much the loss moves when the weights do: the lecture's before and after normalisation, as a number."""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, flag, integer, number, refusal
from kerasreg._core.kernels import kernels_of
from kerasreg._core.one_batch import check_fits, one_batch
from kerasreg._core.paths import layer_paths
from kerasreg._core.pictures import need_matplotlib
from kerasreg._core.pure_call import compile_pure
from kerasreg._core.targets import check_targets
from kerasreg._core.whole_file import save_figure


@dataclass(frozen=True)
class LossSensitivity:
    """How much the loss moved.

    Args:
        scale: The size of the step, relative to each filter's norm.
        loss: The loss of the model as it is.
        changes: |loss(w + step) - loss(w)| / loss(w) for each step.
    """

    scale: float
    loss: float
    changes: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean relative change."""
        return float(np.mean(self.changes))

    @property
    def std(self) -> float:
        """The standard deviation of the relative change from step to step."""
        return float(np.std(self.changes, ddof=1))

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.std / math.sqrt(len(self.changes))

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self) | {"mean": self.mean, "std": self.std, "error": self.error}

    def __str__(self) -> str:
        return (
            f"a step of {self.scale:.3g} of every filter's norm changes the loss {self.loss:.4g} by "
            f"{self.mean:.2%} +- {self.error:.2%} (spread {self.std:.2%}, {len(self.changes)} steps)"
        )


def loss_sensitivity(
    model: keras.Model,
    x: Any,
    y: Any,
    scale: float | Sequence[float] = 0.1,
    repeats: int = 20,
    seed: int = 0,
    training: bool = False,
) -> LossSensitivity | list[LossSensitivity]:
    """The relative change of the loss under random steps of the weights, each filter by a share of its norm.

    ```
    change = |L(w + d) - L(w)| / L(w),    d_f = scale ||w_f|| g_f / ||g_f||,   g ~ N(0, 1)
    ```
    for each filter f: a unit's or channel's weights in a kernel. Because a step is measured against the
    filter it moves, networks whose weights differ in size can be compared: a rectifier or a normalisation
    makes such differences meaningless (Li et al.). Biases and the scales of normalisations stay, and so does
    the model. Each step is drawn from `seed`, its number and the kernel's place, the same for all scales.

    Args:
        model: A built and compiled model.
        x: A batch, at least two rows.
        y: Its targets.
        scale: The size of a step relative to the filter's norm, above 0; several for a curve.
        repeats: How many random steps, at least 2.
        seed: A whole number of at least 0.
        training: Whether batch norms use the batch's statistics, as while the model is trained; dropout stays
            on then, too, with one mask for all steps.

    Returns:
        A `LossSensitivity` with the mean, the spread and each step's change; a list for several scales.

    Raises:
        ValueError: If the model is not built, compiled or without kernels, an argument is not one of the
            above, or the loss is 0 or not finite, so that no change is relative to it.

    Source:
        Li, Xu, Taylor, Studer and Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018,
        section 4.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
        >>> small, large = kr.diagnostics.loss_sensitivity(model, x, np.ones((32, 1)), scale=[0.01, 0.1])
        >>> 0 < small.mean < large.mean
        True
    """
    several = isinstance(scale, Sequence) or getattr(scale, "shape", ()) != ()
    scales = [
        number("loss_sensitivity", "scale", s, 0, open_low=True) for s in (scale if several else [scale])
    ]
    if not scales:
        raise refusal("loss_sensitivity", "scale", "a number above 0 or a list of them", scale)
    flag("loss_sensitivity", "training", training)
    repeats = integer("loss_sensitivity", "repeats", repeats, low=2)
    seed = integer("loss_sensitivity", "seed", seed, low=0)
    if not isinstance(model, keras.Model) or not model.built or not getattr(model, "compiled", False):
        remedy = "build it, and call model.compile"
        raise refusal("loss_sensitivity", "model", "a built and compiled keras.Model", model, remedy)
    x, y = one_batch("loss_sensitivity", x, y)
    check_fits("loss_sensitivity", model, x)
    if y is None:
        raise refusal("loss_sensitivity", "y", "the targets of the batch", y)
    check_targets("loss_sensitivity", model, y)
    filters = _filters(model)
    if not filters:
        raise refusal("loss_sensitivity", "model", "one with a kernel of a known kind", Came("none"))
    run = _compiled_loss(model, [variable for variable, _ in filters], training)
    x, y = keras.tree.map_structure(ops.convert_to_tensor, (x, y))
    values = [variable.value for variable, _ in filters]
    base = _number(run(values, x, y))
    if not math.isfinite(base) or base == 0:
        raise refusal("loss_sensitivity", "model", "one with a finite loss other than 0", base)
    changes: list[list[float]] = [[] for _ in scales]
    for repeat in range(repeats):
        steps = [_step(variable, axes, [seed, repeat, i]) for i, (variable, axes) in enumerate(filters)]
        for changed, size in zip(changes, scales, strict=True):
            moved = [
                value + ops.convert_to_tensor(size * step, dtype=value.dtype)
                for value, step in zip(values, steps, strict=True)
            ]
            changed.append(abs(_number(run(moved, x, y)) - base) / abs(base))
    found = [LossSensitivity(s, base, tuple(changed)) for s, changed in zip(scales, changes, strict=True)]
    return found if several else found[0]


def plot_loss_sensitivity(
    curves: Mapping[str, LossSensitivity | Sequence[LossSensitivity]], path: str | None = None
) -> Any:
    """Draw the mean relative change of the loss over the size of the step, for some models.

    The band is where the middle 80 % of the steps lie.

    Args:
        curves: What `loss_sensitivity` gave for several scales, by name.
        path: Where to save the picture; it is not saved if None.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `curves` holds something else.
    """
    need_matplotlib("plot_loss_sensitivity")
    if not isinstance(curves, Mapping) or not curves or not all(map(_is_curve, curves.values())):
        allowed = "a dict from names to what loss_sensitivity gave"
        raise refusal("plot_loss_sensitivity", "curves", allowed, curves)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    panel = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        points = [curve] if isinstance(curve, LossSensitivity) else list(curve)
        scales = [point.scale for point in points]
        panel.plot(scales, [point.mean for point in points], "o-", ms=4, color=f"C{i}", label=name)
        low, high = np.transpose([np.quantile(point.changes, (0.1, 0.9)) for point in points])
        panel.fill_between(scales, low, high, color=f"C{i}", alpha=0.18, lw=0)
    panel.set(
        xscale="log", yscale="log", xlabel="step / norm of the filter", ylabel="relative change of the loss"
    )
    panel.grid(alpha=0.25)
    panel.legend(frameon=False)
    if path is not None:
        save_figure(figure, path, dpi=110)
    return figure


def _is_curve(curve: Any) -> bool:
    points = [curve] if isinstance(curve, LossSensitivity) else curve
    several = isinstance(points, Sequence) and len(points) > 0
    return several and all(isinstance(point, LossSensitivity) for point in points)


def _filters(model: keras.Model) -> list[tuple[keras.Variable, tuple[int, ...]]]:
    """Each kernel's variable, once, with the axes that one filter runs along."""
    found: dict[int, tuple[keras.Variable, tuple[int, ...]]] = {}
    for layer in layer_paths(model):
        for kernel in kernels_of(layer):
            variable = kernel.variable
            if not isinstance(variable, keras.Variable):
                continue
            rank = len(variable.shape)
            # A row of an embedding is a filter of its own: tokens differ as units do.
            own = {0} if kernel.kind == "embedding" else {axis % rank for axis in kernel.output_axes}
            axes = tuple(axis for axis in range(rank) if axis not in own)
            found.setdefault(id(variable), (variable, axes))
    return list(found.values())


def _step(variable: keras.Variable, axes: tuple[int, ...], key: Sequence[int]) -> np.ndarray:
    """A random step as large as each filter."""
    noise = np.random.default_rng(key).normal(size=variable.shape)
    weights = np.asarray(ops.convert_to_numpy(ops.cast(variable.value, "float32")), "float64")
    sizes = np.sqrt(np.sum(np.square(weights), axis=axes, keepdims=True))
    return noise * sizes / np.sqrt(np.sum(np.square(noise), axis=axes, keepdims=True))


def _compiled_loss(model: keras.Model, variables: Sequence[keras.Variable], training: bool) -> Any:
    """The loss as a function of the kernels' values, which writes nothing."""
    model_ref = weakref.ref(model)
    takes_training = "training" in inspect.signature(model.call).parameters
    arguments = {"training": training} if takes_training else {}

    def loss(values: list[Any], x: Any, y: Any) -> Any:
        model = model_ref()
        state = {id(variable): (variable, variable.value) for variable in model.variables}
        state.update({id(v): (v, value) for v, value in zip(variables, values, strict=True)})
        with keras.StatelessScope(state_mapping=list(state.values())):
            outputs = model(x, **arguments)
            return ops.cast(model.compute_loss(x=x, y=y, y_pred=outputs, training=training), "float32")

    return compile_pure(model, loss)


def _number(value: Any) -> float:
    return float(ops.convert_to_numpy(value))
