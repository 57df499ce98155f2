"""One watcher's view of a `fit`: which steps it wants, and what it keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from kerasreg._core.private import steps_taken
from kerasreg._tap.inputs import StepInputs
from kerasreg._tap.schedule import FIRST_STEPS, Schedule, is_due
from kerasreg._tap.silence import SilenceWindow
from kerasreg._tap.statistics import Look
from kerasreg._tap.train_step import Tap

# What the tap measures for anybody is handed on to those who asked for it.
_OF_GRADIENTS = frozenset({"gradient_norm", "weight_norm", "update_ratio"})
_OF_CHANNELS = frozenset({"channel_mean", "channel_rms", "channel_zeros"})


class Observer:
    """Has the steps observed that are due, and hands out the figures of the layers it watches.

    Args:
        every: Which steps; the first two of a `fit` always are.
        look: What is looked at in each layer.
        gradients: Whether gradients and updates are measured.
    """

    def __init__(self, every: Schedule, look: Look, gradients: bool):
        self._every, self._look, self._gradients = every, look, gradients
        hidden = frozenset() if gradients else _OF_GRADIENTS
        hidden |= frozenset() if look.per_channel else _OF_CHANNELS
        self._hidden = hidden if look.histogram else hidden | {"histogram"}
        self._silence = SilenceWindow()

    def begin(self, model: keras.Model, fit: object, paths: Mapping[keras.layers.Layer, str]) -> None:
        """Join the taps of this `fit`."""
        self._model, self._rows = model, set(paths.values())
        self._tap = Tap.join(model, fit, paths, self._look, self._gradients)
        self._unseen = set(self._rows)
        self._to_begin, self._next, self._observed = FIRST_STEPS, 0, None
        self._silence = SilenceWindow()

    def begin_epoch(self, steps: int | None) -> None:
        """Count on from the optimizer's steps, which a resumed training brings along.

        Args:
            steps: How many steps the epoch has, if that is known.
        """
        # Read here only: between two epochs JAX's trainer has put the variables back into the model.
        # An optimizer that is not used, or skipped batches whose gradients overflowed, counts less.
        self._start, self._steps = max(_steps_of(self._model.optimizer), self._next), steps

    def before_batch(self, batch: int) -> None:
        """Have the execution that begins with this batch observed if one of its steps is due."""
        self._observed = None
        first, per_execution = self._start + batch, self._model.steps_per_execution
        # Keras' versions differ in the number they give the end of an execution.
        last = batch + per_execution - 1
        last = self._start + (last if self._steps is None else min(last, self._steps - 1))
        self._next = last + 1
        if self._to_begin > 0 or any(is_due(self._every, step) for step in range(first, last + 1)):
            self._to_begin -= per_execution
            # Of an execution of several steps, the last one is seen.
            self._observed = last
            self._tap.arm()

    def after_batch(self) -> tuple[int, list[dict[str, Any]]] | None:
        """The step that was observed and a row for each layer call in it; None if none was."""
        if self._observed is None:
            return None
        step, self._observed = self._observed, None
        rows = [self._own(row) for row in self._tap.latest if _layer(row) in self._rows]
        self._unseen -= {_layer(row) for row in rows}
        return step, [{"step": step, **row} for row in rows]

    @property
    def inputs(self) -> StepInputs | None:
        """What the step observed last was given."""
        return self._tap.inputs

    def restart_window(self) -> None:
        """From now on, a channel is dead if it is silent from here on."""
        self._silence.restart()

    def skipped(self) -> dict[str, str]:
        """The layers that no observed step has shown so far, each with the reason."""
        reasons = {path: self._tap.skipped.get(path, "no observed step called it") for path in self._unseen}
        if self._gradients and self._tap.gradients_skipped is not None:
            reasons["optimizer"] = self._tap.gradients_skipped
        return reasons

    def end(self) -> None:
        """Leave the model as it was."""
        self._tap.leave()

    def _own(self, row: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: value for name, value in row.items() if name not in self._hidden}
        silent = found.pop("silent", None)
        dead = None if silent is None else self._silence.add(row, silent)
        return found if dead is None else found | {"dead": dead}


def _layer(row: Mapping[str, Any]) -> str:
    return row["layer"].partition(":")[0]


def _steps_of(optimizer: Any) -> int:
    """How many steps an optimizer has taken, those too that only gathered gradients."""
    if optimizer is None:
        return 0
    return int(steps_taken(getattr(optimizer, "inner_optimizer", optimizer)))
