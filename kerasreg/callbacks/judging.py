"""The half of `ActivationStats` that says what is wrong, and stops on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kerasreg._core.arguments import refusal
from kerasreg._core.processes import is_first_process
from kerasreg._tap.inputs import StepInputs
from kerasreg.diagnostics.activation_rules import FEWEST_STEPS, judge_activations
from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training.alarms import Alarms, reason_to_stop, told
from kerasreg.diagnostics.training.look import Look

STOPS = ("error", "warning")


def stops_on(stop_on: Any) -> str | None:
    """`stop_on`, checked."""
    if stop_on is not None and stop_on not in STOPS:
        raise refusal("ActivationStats", "stop_on", "'error', 'warning' or None", stop_on)
    return stop_on


class Judge:
    """Judges a training epoch by epoch.

    Args:
        stop_on: The severity from which on a new finding ends the training; None never does.

    Attributes:
        findings: Every finding so far; one that no longer holds has the step in `cleared`.
    """

    def __init__(self, stop_on: str | None = None):
        self._stop_on = stop_on
        self._alarms = Alarms()
        self.findings: list[Finding] = self._alarms.all
        self._window: list[dict[str, Any]] = []

    def begin(self, model: keras.Model) -> None:
        """Look at the model before its first step."""
        self._model = model
        self._look = Look(model)
        self._window = []

    def observe(
        self,
        step: int,
        rows: Sequence[dict[str, Any]],
        logs: Mapping[str, Any] | None,
        inputs: StepInputs | None = None,
    ) -> None:
        """Take an observed step's rows, what it was given, and the logs that Keras showed at its end."""
        self._look.step(step, rows, logs, inputs)
        self._window += rows
        loss = (logs or {}).get("loss", 0.0)
        # Every further step of the epoch would be lost time; its end says why.
        if self._stop_on is not None and not math.isfinite(float(loss)):
            self._model.stop_training = True

    def end_epoch(self, epoch: int, logs: Mapping[str, Any] | None) -> bool:
        """Say what is newly wrong, and whether the window is closed and a new one begins."""
        if not self._window:
            return False
        last = self._window[-1]["step"]
        # A short epoch's steps wait for the next one's, until there are enough to judge by.
        enough = len({row["step"] for row in self._window}) >= FEWEST_STEPS
        found = judge_activations(self._window, self._look.epoch(logs, self._window), self._alarms.standing)
        new = self._alarms.update(found, last, whole=enough)
        speaks = is_first_process(self._model)
        if new and speaks:
            print(f"\n{told(new, epoch + 1)}")
        reason = reason_to_stop(new, self._stop_on)
        if reason is not None:
            self._model.stop_training = True
            if speaks:
                print(f"Training stops here: {reason.code} in {reason.layer}, and stop_on={self._stop_on!r}.")
        if enough:
            self._look.close(self._window)
            self._window = []
        return enough
