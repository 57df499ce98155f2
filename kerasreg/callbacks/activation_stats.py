"""The callback that shows what every layer's output does while `fit` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import keras

from kerasreg._core.arguments import Came, flag, refusal
from kerasreg._core.paths import layer_paths
from kerasreg._core.registry import register
from kerasreg._tap.schedule import FIRST_STEPS, is_due, schedule
from kerasreg._tap.train_step import Tap
from kerasreg.callbacks.activation_table import as_text, table
from kerasreg.diagnostics.activation_rules import FEWEST_STEPS, judge_activations
from kerasreg.diagnostics.finding import Finding

if TYPE_CHECKING:
    from kerasreg.callbacks.activation_log import ActivationLog


@register
class ActivationStats(keras.callbacks.Callback):
    """Mean, std, RMS and share of zeros of every layer's output, from the real training pass.

    The figures are reduced on the device inside the training step itself: no second forward pass, and
    weights, losses and random numbers are bit for bit those of a run without the callback. (XLA is free to
    fuse an observed step differently and then rounds a last bit otherwise; with TensorFlow 2.21 and JAX 0.10
    it does not in our tests, with TensorFlow 2.18 it does.) Observed steps run a second compiled train
    function, so the first one takes as long as the first step of a `fit`.

    Args:
        log_dir: A folder for TensorBoard events and `activations.jsonl`; None keeps the figures in memory.
        every: Observe each step whose number is a multiple of this; or a callable, from a step's number to
            whether it is observed. The first two steps of each `fit` are always observed.
        layers: Patterns of layer paths (`"conv*"`, `"block/*"`), one or a list; None for all layers.
        gradients: Whether gradients, weights and their updates are measured too.
        histograms: Whether the values of each output are counted between `kerasreg._tap.histogram.EDGES`.
        per_channel: Whether mean, RMS and share of zeros are taken of each channel too.
        diagnose: Whether findings are made, and printed at the end of the epoch in which they arise.

    Attributes:
        history: A list of dicts, one for each layer and observed step: `step` (the optimizer's, counted
            from 0), `layer`, `mean`, `std`, `rms`, `min`, `max`, `zeros` and `nonfinite`,
            the count of NaN and infinite values.
        findings: A list of `kerasreg.diagnostics.Finding`.
        skipped: A dict from the path of a layer that could not be seen to the reason.

    Raises:
        ValueError: If an argument is not one of the above; before training starts, if `log_dir` cannot be
            written or a pattern matches no layer.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> stats = kr.callbacks.ActivationStats(every=2)
        >>> history = model.fit(np.ones((8, 3)), np.ones(8), batch_size=2, callbacks=[stats], verbose=0)
        >>> [row["step"] for row in stats.history if row["layer"] == "hidden"]
        [0, 1, 2]
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        every: int | Callable[[int], bool] = 10,
        layers: str | Sequence[str] | None = None,
        gradients: bool = False,
        histograms: bool = False,
        per_channel: bool = False,
        diagnose: bool = True,
    ):
        super().__init__()
        self.log_dir = None if log_dir is None else os.fspath(log_dir)
        self.every = schedule(every)
        self.layers = _patterns(layers)
        self.gradients = flag("ActivationStats", "gradients", gradients)
        self.histograms = flag("ActivationStats", "histograms", histograms)
        self.per_channel = flag("ActivationStats", "per_channel", per_channel)
        self.diagnose = flag("ActivationStats", "diagnose", diagnose)
        self.history: list[dict[str, Any]] = []
        self.findings: list[Finding] = []
        self.skipped: dict[str, str] = {}
        self._observed: int | None = None
        self._log: ActivationLog | None = None

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {
            "log_dir": self.log_dir,
            "every": self.every,
            "layers": self.layers,
            "gradients": self.gradients,
            "histograms": self.histograms,
            "per_channel": self.per_channel,
            "diagnose": self.diagnose,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ActivationStats:
        """The callback that `get_config` described."""
        return cls(**config)

    def summary(self) -> str:
        """A table of the layers at the step observed last, with what was found about each.

        Shares of zeros, dead channels and saturated outputs are in percent; `update` is the norm of the last
        step over that of the weights.
        """
        latest = {row["layer"]: row for row in self.history}
        return as_text(table(latest.values(), self._found()), self.diagnose)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw layers by steps: the RMS, and where there are any dead channels, bounds reached and updates.

        What an earlier training left in `log_dir`, and this one went on with, is in the picture too.

        Args:
            path: Where to save the picture; it is not saved if None.

        Returns:
            The matplotlib figure, which belongs to no window.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from kerasreg.callbacks.activation_picture import plot

        earlier = {} if self._log is None else self._log.earlier()
        return plot(earlier, self.history, {finding.layer for finding in self.findings}, path)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Find the layers and open the log, or say why not before anything is trained."""
        paths = self._selected()
        self._log = self._open_log()
        self._tap = Tap.join(self.model, paths)
        self._rows = set(paths.values())
        self._seen: set[str] = set()
        self._to_begin = FIRST_STEPS
        self._observed = None
        self._window = len(self.history)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count on from the optimizer's step, which a resumed training brings along."""
        # Read here only: between two epochs JAX's trainer has put the variables back into the model.
        self._epoch_start = int(self.model.optimizer.iterations)

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Have the step observed if it is one of those to be seen."""
        first, per_execution = self._epoch_start + batch, self.model.steps_per_execution
        # An execution of several steps is seen in its last one; it counts if any of them would.
        executed = range(first, first + per_execution)
        if self._to_begin > 0 or any(is_due(self.every, step) for step in executed):
            self._to_begin -= per_execution
            # Keras' versions differ in the number they give the end of an execution.
            last = batch + per_execution - 1
            steps = self.params.get("steps")
            self._observed = self._epoch_start + (last if steps is None else min(last, steps - 1))
            self._tap.arm()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Take the observed step's figures."""
        if self._observed is not None:
            self._record(self._observed)
            self._observed = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Say what is newly wrong, and draw the epoch."""
        if self.diagnose:
            self._judge()
        if self._log is not None:
            self._log.write_epoch(self._found(), self.skipped)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Leave the model as it was."""
        self._tap.leave()
        if self._log is not None:
            self._log.write_epoch(self._found(), self.skipped, last=True)

    def _judge(self) -> None:
        known = {(finding.layer, finding.code) for finding in self.findings}
        window = self.history[self._window :]
        for finding in judge_activations(window):
            if (finding.layer, finding.code) not in known:
                self.findings.append(finding)
                print(f"\n{finding}")
        # A short epoch's steps wait for the next one's, until there are enough to judge by.
        if len({row["step"] for row in window}) >= FEWEST_STEPS:
            self._window = len(self.history)

    def _found(self) -> list[Finding] | None:
        return self.findings if self.diagnose else None

    def _open_log(self) -> ActivationLog | None:
        if self.log_dir is None:
            return None
        # Brings tensorboard along, which an import of the package must not.
        from kerasreg.callbacks.activation_log import ActivationLog

        return ActivationLog(self.log_dir)

    def _record(self, step: int) -> None:
        rows = [row for row in self._tap.latest if row["layer"].partition(":")[0] in self._rows]
        self.history.extend({"step": step, **row} for row in rows)
        if self._log is not None:
            self._log.write(step, rows)
        self._seen.update(row["layer"] for row in rows)
        for path in self._rows - self._seen:
            self.skipped.setdefault(path, self._tap.skipped.get(path, "no observed step called it"))

    def _selected(self) -> dict[keras.layers.Layer, str]:
        """The layers to be seen; containers hand on their last layer's output and are left out."""
        everything = layer_paths(self.model)
        visible = {
            layer: path
            for layer, path in everything.items()
            if not isinstance(layer, (keras.Model, keras.layers.InputLayer))
        }
        if self.layers is not None:
            for pattern in self.layers:
                if not any(fnmatchcase(path, pattern) for path in visible.values()):
                    listed = ", ".join(visible.values())
                    raise refusal(
                        "ActivationStats", "layers", f"patterns that match one of {listed}", pattern
                    )
            visible = {
                layer: path
                for layer, path in visible.items()
                if any(fnmatchcase(path, pattern) for pattern in self.layers)
            }
        recurrent = [path for layer, path in everything.items() if isinstance(layer, keras.layers.RNN)]
        scanned = {
            layer for layer, path in visible.items() if path.startswith(tuple(f"{r}/" for r in recurrent))
        }
        self.skipped = {visible[layer]: "a recurrent layer's scan calls it" for layer in scanned}
        return {layer: path for layer, path in visible.items() if layer not in scanned}


def _patterns(layers: Any) -> list[str] | None:
    if layers is None:
        return None
    patterns = (
        [layers] if isinstance(layers, str) else list(layers) if isinstance(layers, Sequence) else [layers]
    )
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        allowed = "a pattern of layer paths or a list of them"
        raise refusal("ActivationStats", "layers", allowed, Came(repr(layers)))
    return patterns
