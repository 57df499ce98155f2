"""One observed training step at a time, beside the plain one that `fit` compiled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.interception import intercept
from kerasreg._core.paths import layer_paths
from kerasreg._core.private import own_weights
from kerasreg._tap import replicas
from kerasreg._tap.collector import Collector
from kerasreg._tap.inputs import InputWatch, StepInputs, decode, is_of_inputs
from kerasreg._tap.jax_gradients import carried
from kerasreg._tap.layout import RowLayout, pooled, read, unlay
from kerasreg._tap.optimizer_steps import FIGURES, StepWatcher, optimizers_of, watched
from kerasreg._tap.selection import row_of_each_layer
from kerasreg._tap.statistics import PLAIN, Look
from kerasreg._tap.tensorflow_gradients import told_apart

# The packed figures travel through the step's logs, and are taken out before any callback sees them.
_KEY = "kerasreg_tap"
_ATTRIBUTE = "_kerasreg_tap"
_ABSENT = object()
# The rows, and for the figures of each weight the row they belong to.
_Layout = tuple[tuple[RowLayout, ...], tuple[str, ...]]


class Tap:
    """Observes single training steps of a model in one `fit`, for everyone who joined.

    `arm` puts the observed twin in the place of `model.train_function`; the twin puts the plain function
    back before it runs, so whatever fails afterwards, the model is as it was. (If another callback fails
    between the two, the next `fit` finds the twin, which hands over to the plain function without running:
    Keras tells nobody that a `fit` failed.) The twin is compiled once and
    computes what the plain step computes, with one packed tensor more. Taps hang on the plain function:
    nothing is written to the model, and a `fit` that follows finds the twin compiled.
    """

    def __init__(self, model: keras.Model, fit: object):
        self._model = model
        self._fit = fit
        self._looks: dict[keras.layers.Layer, Look] = {}
        self._paths: dict[keras.layers.Layer, str] = {}
        self._gradients = False
        self._plain: Callable[..., Any] | None = None
        self._twin: Callable[..., Any] | None = None
        self._once: Callable[..., Any] | None = None
        self._compiled_for: Any = None
        self._layouts: list[_Layout] = []
        self.skipped: dict[str, str] = {}
        self.gradients_skipped: str | None = None
        self.latest: list[dict[str, Any]] = []
        self.inputs: StepInputs | None = None

    @classmethod
    def join(
        cls,
        model: keras.Model,
        fit: object,
        paths: Mapping[keras.layers.Layer, str],
        look: Look = PLAIN,
        gradients: bool = False,
    ) -> Tap:
        """The model's tap in this `fit`, from now on with these layers too.

        Args:
            model: The model in training.
            fit: Any object that is one and the same for all who join in one `fit`.
            paths: The layers, each with the path that names its rows.
            look: What is looked at in each of them.
            gradients: Whether the optimizer's step is watched.
        """
        armed = getattr(model.train_function, _ATTRIBUTE, None)
        if armed is not None and armed._armed:  # by a fit that crashed in between
            armed.leave()
        tap = getattr(model.train_function, _ATTRIBUTE, None)
        if tap is None:
            tap = cls(model, fit)
            # A function of a user's own may take no attribute; then the next `fit` compiles anew.
            with suppress(AttributeError):
                setattr(model.train_function, _ATTRIBUTE, tap)
        elif tap._fit is not fit:
            tap._begin(fit)
        tap._paths.update(paths)
        for layer in paths:
            tap._looks[layer] = tap._looks.get(layer, PLAIN) | look
        tap._gradients |= gradients
        return tap

    def leave(self) -> None:
        """Put the plain step back."""
        if self._armed:
            self._model.train_function = self._plain

    def arm(self) -> None:
        """Have the next training step, and only that one, observed; its figures are then in `latest`."""
        if self._armed:
            return
        model, plain = self._model, self._model.train_function
        # A recompiled model has a new plain step, and the old twin would train what is no longer there.
        asked_for = (dict(self._paths), dict(self._looks), self._gradients)
        if self._twin is None or plain is not self._plain or asked_for != self._compiled_for:
            self._plain, self._twin, self._compiled_for = plain, self._compile_twin(), asked_for
        twin = self._twin

        # Keras gives each `fit` a history of its own.
        history = getattr(model, "history", None)

        def once(*args: Any) -> Any:
            model.train_function = plain
            if getattr(model, "history", None) is not history:
                # Another callback ended that `fit` before the step, and nobody of this one asked for it.
                return plain(*args)
            return self._strip(twin(*args))

        setattr(once, _ATTRIBUTE, self)
        self._once = model.train_function = once

    @property
    def _armed(self) -> bool:
        return self._once is not None and self._model.train_function is self._once

    def _begin(self, fit: object) -> None:
        """Forget who was there in another `fit`, but not what was compiled."""
        self._fit = fit
        self._paths, self._looks, self._gradients = {}, {}, False
        self.latest = []

    def _compile_twin(self) -> Callable[..., Any]:
        """Let Keras build a train function around an observed `train_step`, as it built the plain one."""
        model, plain = self._model, self._model.train_function
        own = vars(model).get("train_step", _ABSENT)
        object.__setattr__(model, "train_step", self._observed(model.train_step))
        try:
            model.make_train_function(force=True)
            return model.train_function
        finally:
            if own is _ABSENT:
                object.__delattr__(model, "train_step")
            else:
                object.__setattr__(model, "train_step", own)
            model.train_function = plain

    def _observed(self, train_step: Callable[..., Any]) -> Callable[..., Any]:
        model, paths, looks = self._model, dict(self._paths), dict(self._looks)
        gradients, every_path = self._gradients, layer_paths(model)

        def observed(*args: Any) -> Any:
            collector = Collector(paths, looks, InputWatch(every_path))
            # JAX's steps come with a state before the data.
            collector.look_at_data(args[-1])
            watcher = StepWatcher() if gradients else None
            with ExitStack() as stack:
                stack.enter_context(carried(collector))
                stack.enter_context(told_apart())
                stack.enter_context(watched(watcher, optimizers_of(model)))
                stack.enter_context(intercept(collector))
                result = train_step(*args)
            self.skipped.update(collector.skipped)
            owners, numbers = self._weights(watcher)
            if not collector.rows:
                return result
            parts = [*collector.vectors, *([ops.stack(numbers)] if numbers else [])]
            packed = replicas.spread(ops.concatenate(parts))
            # TensorFlow's step returns its logs, JAX's the logs and the new state.
            logs, *state = result if isinstance(result, tuple) else (result,)
            logs = {**logs, self._key((collector.rows, owners)): packed}
            return (logs, *state) if state else logs

        return observed

    def _weights(self, watcher: StepWatcher | None) -> tuple[tuple[str, ...], list[Any]]:
        """The row that each watched weight belongs to, and the figures of those that have one."""
        if watcher is None:
            return (), []
        self.gradients_skipped = watcher.skipped
        rows = {
            id(weight): path
            for layer, path in row_of_each_layer(self._model).items()
            for weight in own_weights(layer)
        }
        weights, numbers = watcher.packed()
        owners = tuple(rows.get(id(weight), "") for weight in weights)
        return owners, numbers

    def _key(self, layout: _Layout) -> str:
        # A retrace may see other rows; the key says which layout this tensor has.
        if layout not in self._layouts:
            self._layouts.append(layout)
        return f"{_KEY}/{self._layouts.index(layout)}"

    def _strip(self, result: Any) -> Any:
        logs, *state = result if isinstance(result, tuple) else (result,)
        logs = dict(logs)
        self.latest = []
        for key in [key for key in logs if key.startswith(_KEY)]:
            layout = self._layouts[int(key.rpartition("/")[2])]
            self.latest, self.inputs = _decode(layout, replicas.rows(logs.pop(key)))
        return (logs, *state) if state else logs


def _decode(layout: _Layout, packed: np.ndarray) -> tuple[list[dict[str, Any]], StepInputs]:
    """One dict for each row, pooled over the replicas, and what the model was given."""
    rows, owners = layout
    found, inputs, start = [], {}, 0
    for row in rows:
        parts = [unlay(row, numbers[start : start + row.size]) for numbers in packed]
        if is_of_inputs(row.name):
            inputs[row.name] = pooled(parts)
        else:
            found.append(read(row, pooled(parts)))
        start += row.size
    # The same in each replica: gradients were summed, and the weights are one another's copies.
    squares = packed[0, start:].reshape(-1, FIGURES)
    by_row: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(FIGURES))
    for owner, numbers in zip(owners, squares, strict=True):
        by_row[owner] += numbers
    for row in found:
        if row["layer"] in by_row:
            gradient, weight, update = np.sqrt(by_row[row["layer"]])
            row["gradient_norm"], row["weight_norm"] = float(gradient), float(weight)
            if weight > 0:
                row["update_ratio"] = float(update / weight)
    return found, decode(inputs)
