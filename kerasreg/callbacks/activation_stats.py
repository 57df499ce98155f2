"""The callback that shows what every layer's output does while `fit` runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from kerasreg._core.arguments import flag
from kerasreg._core.processes import is_first_process
from kerasreg._core.registry import register
from kerasreg._tap.observer import Observer
from kerasreg._tap.schedule import schedule
from kerasreg._tap.selection import patterns, select
from kerasreg._tap.statistics import Look
from kerasreg.callbacks.activation_table import as_text, table
from kerasreg.callbacks.judging import Judge, stops_on
from kerasreg.callbacks.log_folder import checked_folder
from kerasreg.diagnostics.finding import Finding

if TYPE_CHECKING:
    from kerasreg.callbacks.activation_log import ActivationLog


@register
class ActivationStats(keras.callbacks.Callback):
    """What every layer's output, and its weights, did in training, from the real training pass.

    The figures are reduced on the device inside the training step itself, over the whole batch: no second
    forward pass, and weights, losses and random numbers are bit for bit those of a run without the callback.
    XLA alone, TensorFlow's and JAX's, is free to fuse an observed step differently and may then round a last
    bit otherwise. Observed steps run a second compiled train function, so the first one takes as long as the
    first step of a `fit`. Replicas of a `MirroredStrategy` are pooled as if their shares were one batch.

    Args:
        log_dir: A folder for TensorBoard events and `activations.jsonl`; None keeps the figures in memory. Of
            several processes that train one model, the first alone writes and prints.
        every: Observe each step whose number is a multiple of this; or a callable, from a step's number to
            whether it is observed. The first two steps of each `fit` are always observed.
        layers: Patterns of layer paths (`"conv*"`, `"block/*"`), one or a list; None for all layers.
        gradients: Whether gradients, weights and their updates are measured too.
        histograms: Whether the values of each output are counted between `kerasreg._tap.histogram.EDGES`.
        per_channel: Whether mean, RMS and share of zeros are taken of each channel too.
        diagnose: Whether findings are made, and printed at the end of the epoch in which they arise.
        stop_on: `"error"` or `"warning"`: end the training at the first finding as bad as that or worse.

    Attributes:
        history: A list of dicts, one for each layer call and observed step, for `pandas.DataFrame` as it is.
            Always there: `step` (the optimizer's, counted from 0), `layer` (its path, `path:2` for its second
            call), `mean`, `std`, `rms`, `min`, `max`, `range` (RMS over the channels of max - min), `zeros`
            (the share of exact zeros) and `nonfinite` (the count of NaN and infinite values). Where it
            applies: `dead`, the share of channels silent in all observed steps of a window, which ends with
            the epoch in which there was enough to judge by; `saturated`, the share within 1 % of a bound of
            sigmoid, tanh and their kin; `batch_norm_drift`, from moving to batch statistics in standard
            deviations (`kerasreg._tap.batch_norms.drift`), and `skipped_batches` of our batch norms. With
            `gradients`: `gradient_norm`, of the loss without its scale, `weight_norm` before the step, and
            `update_ratio`, the norm of what the optimizer changed over it; weights that are all 0 have none.
            With `per_channel`: the lists `channel_mean`, `channel_rms`, `channel_zeros`. With `histograms`:
            `histogram`, a list of counts.
        findings: A list of `kerasreg.diagnostics.Finding`; one that no longer holds says so in `cleared`.
        skipped: A dict from the path of a layer that could not be seen to the reason.

    Raises:
        ValueError: If an argument is not one of the above; before training starts, if `log_dir` cannot be
            written or a pattern matches no layer.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> stats = kr.callbacks.ActivationStats(every=2, diagnose=False)
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
        stop_on: str | None = None,
    ):
        super().__init__()
        self.log_dir = checked_folder(log_dir)
        self.every = schedule(every)
        self.layers = patterns(layers)
        self.gradients = flag("ActivationStats", "gradients", gradients)
        self.histograms = flag("ActivationStats", "histograms", histograms)
        self.per_channel = flag("ActivationStats", "per_channel", per_channel)
        self.diagnose = flag("ActivationStats", "diagnose", diagnose)
        self.history: list[dict[str, Any]] = []
        self.stop_on = stops_on(stop_on)
        self._judge = Judge(self.stop_on)
        self.findings: list[Finding] = self._judge.findings
        self.skipped: dict[str, str] = {}
        self._log: ActivationLog | None = None
        look = Look(histogram=self.histograms, per_channel=self.per_channel)
        self._observer = Observer(self.every, look, self.gradients)

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
            "stop_on": self.stop_on,
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
        if not self.history:
            return "nothing observed yet: hand the callback to fit"
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
        return plot(earlier, self.history, self.findings, path)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Find the layers and open the log, or say why not before anything is trained."""
        selection = select(self.model, self.layers)
        self._log = self._open_log()
        self._unseeable = self.skipped = selection.skipped
        # Keras hands one and the same dict to all callbacks of a `fit`.
        self._observer.begin(self.model, self.params, selection.paths)
        if self.diagnose:
            self._judge.begin(self.model)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count on from the optimizer's step, which a resumed training brings along."""
        self._observer.begin_epoch(self.params.get("steps"))

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Have the step observed if it is one of those to be seen."""
        self._observer.before_batch(batch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Take the observed step's figures."""
        observed = self._observer.after_batch()
        if observed is None:
            return
        step, rows = observed
        self.history.extend(rows)
        if self.diagnose:
            self._judge.observe(step, rows, logs, self._observer.inputs)
        self.skipped = self._unseeable | self._observer.skipped()
        if self._log is not None:
            self._log.write(step, [{k: v for k, v in row.items() if k != "step"} for row in rows])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Say what is newly wrong, and draw the epoch."""
        closed = self._judge.end_epoch(epoch, logs) if self.diagnose else True
        if closed:
            self._observer.restart_window()
        if self._log is not None:
            self._log.write_epoch(self._found(), self.skipped)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Leave the model as it was."""
        self._observer.end()
        if self._log is not None:
            self._log.write_epoch(self._found(), self.skipped, last=True)

    def _found(self) -> list[Finding] | None:
        return self.findings if self.diagnose else None

    def _open_log(self) -> ActivationLog | None:
        if self.log_dir is None or not is_first_process(self.model):
            return None
        # Brings tensorboard along, which an import of the package must not.
        from kerasreg.callbacks.activation_log import ActivationLog

        return ActivationLog(self.log_dir)
