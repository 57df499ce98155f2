"""One observed training step at a time, beside the plain one that `fit` compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from kerasreg._core.interception import intercept
from kerasreg._tap.collector import Collector
from kerasreg._tap.jax_gradients import carried
from kerasreg._tap.statistics import read

# The packed figures travel through the step's logs, and are taken out before any callback sees them.
_KEY = "kerasreg_tap"
_ATTRIBUTE = "_kerasreg_tap"
_ABSENT = object()


class Tap:
    """Observes single training steps of a model in `fit`, for everyone who joined.

    `arm` puts the observed twin in the place of `model.train_function`; the twin puts the plain function
    back before it runs, so whatever fails afterwards, the model is as it was. The twin is compiled once and
    computes what the plain step computes, with one packed tensor more.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._members = 0
        self._paths: dict[keras.layers.Layer, str] = {}
        self._plain: Callable[..., Any] | None = None
        self._twin: Callable[..., Any] | None = None
        self._once: Callable[..., Any] | None = None
        self._layouts: list[tuple[str, ...]] = []
        self.skipped: dict[str, str] = {}
        self.latest: list[dict[str, Any]] = []

    @classmethod
    def join(cls, model: keras.Model, paths: Mapping[keras.layers.Layer, str]) -> Tap:
        """The model's tap, from now on with these layers too, each with the path that names its rows."""
        tap = vars(model).get(_ATTRIBUTE)
        if tap is None:
            tap = cls(model)
            # Keras' own __setattr__ would track the attribute, and the model would carry it into a file.
            object.__setattr__(model, _ATTRIBUTE, tap)
        tap._members += 1
        tap._paths.update(paths)
        tap._twin = None
        return tap

    def leave(self) -> None:
        """Put the plain step back; the last to leave takes the tap off the model."""
        if self._armed:
            self._model.train_function = self._plain
        self._members -= 1
        if self._members == 0 and vars(self._model).get(_ATTRIBUTE) is self:
            object.__delattr__(self._model, _ATTRIBUTE)

    def arm(self) -> None:
        """Have the next training step, and only that one, observed; its figures are then in `latest`."""
        if self._armed:
            return
        model, plain = self._model, self._model.train_function
        # A recompiled model has a new plain step, and the old twin would train what is no longer there.
        if self._twin is None or plain is not self._plain:
            self._plain, self._twin = plain, self._compile_twin()
        twin = self._twin

        def once(*args: Any) -> Any:
            model.train_function = plain
            return self._strip(twin(*args))

        self._once = model.train_function = once

    @property
    def _armed(self) -> bool:
        return self._once is not None and self._model.train_function is self._once

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
        def observed(*args: Any) -> Any:
            collector = Collector(self._paths)
            with carried(collector), intercept(collector):
                result = train_step(*args)
            self.skipped.update(collector.skipped)
            packed = collector.packed()
            if packed is None:
                return result
            # TensorFlow's step returns its logs, JAX's the logs and the new state.
            logs, *state = result if isinstance(result, tuple) else (result,)
            logs = {**logs, self._key(collector.rows): packed}
            return (logs, *state) if state else logs

        return observed

    def _key(self, rows: tuple[str, ...]) -> str:
        # A retrace may see other rows; the key says which layout this tensor has.
        if rows not in self._layouts:
            self._layouts.append(rows)
        return f"{_KEY}/{self._layouts.index(rows)}"

    def _strip(self, result: Any) -> Any:
        logs, *state = result if isinstance(result, tuple) else (result,)
        logs = dict(logs)
        self.latest = []
        for key in [key for key in logs if key.startswith(_KEY)]:
            rows = self._layouts[int(key.rpartition("/")[2])]
            self.latest = read(np.asarray(keras.ops.convert_to_numpy(logs.pop(key))), rows)
        return (logs, *state) if state else logs
