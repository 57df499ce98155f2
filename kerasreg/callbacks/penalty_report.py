"""The callback that parts the loss into data and penalties."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import keras

from kerasreg._core.paths import layer_paths
from kerasreg._core.private import own_weights
from kerasreg._core.registry import register
from kerasreg.callbacks.parted_loss import DataLoss, attach, begin, detach


@register
class PenaltyReport(keras.callbacks.Callback):
    """How much of the loss is the data's, and how much is each layer's penalty.

    `loss = data_loss + sum over layers of penalty`: Keras shows `loss` and `val_loss` with all penalties in
    them. This puts `data_loss` and, with validation data, `val_data_loss` into the logs, so that the progress
    bar, `History`, `CSVLogger`, `TensorBoard` and `EarlyStopping(monitor="val_data_loss")` have them,
    wherever in the list of callbacks it stands. All figures are means over the same steps as `loss`, taken
    inside the compiled step, which is another than that without the report.

    An error that ends a `fit` leaves `data_loss` in the logs of the fits after it, and nothing else; a `fit`
    with a `PenaltyReport` that comes to its end takes it out again.

    A layer's penalty is that of its own weights; penalties on activations and what layers add to the loss by
    `add_loss` are the row `activations and add_loss`. A model whose own `train_step` does not call
    `compute_loss` cannot be seen: its `data_loss` is NaN, with a warning.

    Attributes:
        history: A list of dicts, one for each epoch and row that has a penalty: `epoch`, `layer`, `penalty`
            and `share`, its part of the total loss.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> layer = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer="l2", name="out")
        >>> model = keras.Sequential([keras.Input((3,)), layer])
        >>> model.compile(keras.optimizers.SGD(0.0), "mse")
        >>> report = kr.callbacks.PenaltyReport()
        >>> history = model.fit(np.ones((4, 3)), np.ones(4), callbacks=[report], verbose=0).history
        >>> round(history["data_loss"][0], 3), round(report.history[0]["penalty"], 3)
        (4.0, 0.03)
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: list[dict[str, Any]] = []
        self._metric: DataLoss | None = None
        self._means: tuple[float, dict[str, float]] | None = None
        self._fitting = False

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor: none."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PenaltyReport:
        """The callback that `get_config` described."""
        return cls(**config)

    def set_model(self, model: keras.Model) -> None:
        """Attach to the model: the last moment before its steps are compiled."""
        super().set_model(model)
        rows = {path: own_weights(layer) for layer, path in {**layer_paths(model), model: model.name}.items()}
        with _scope(model):
            self._metric = attach(model, {path: weights for path, weights in rows.items() if weights})

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """From here on an evaluation is a part of `fit`."""
        self._fitting = True
        begin(self.model)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Wait for the epoch's figures."""
        self._means = None

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Take the epoch's figures before the validation begins to count anew."""
        if self._fitting:
            self._means = self._metric.means()

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        """After an `evaluate` by itself, leave the model as it was."""
        if not self._fitting:
            detach(self.model, ended=True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the epoch's penalties down."""
        means = self._means or self._metric.means()
        if means is None:
            warnings.warn(
                f"PenaltyReport saw no loss of {self.model.name!r}: its train_step calls no compute_loss.",
                stacklevel=2,
            )
            return
        data, penalties = means
        total = data + sum(penalties.values())
        self.history += [
            {"epoch": epoch, "layer": layer, "penalty": penalty, "share": penalty / total if total else 0.0}
            for layer, penalty in penalties.items()
            if abs(penalty) > 1e-6 * abs(total)
        ]

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Leave the model as it was."""
        self._fitting = False
        detach(self.model, ended=True)

    def summary(self) -> str:
        """A table of the last epoch's penalties, the largest first."""
        last = [row for row in self.history if row["epoch"] == self.history[-1]["epoch"]]
        width = max((len(row["layer"]) for row in last), default=5)
        lines = [f"{'layer':{width}}  {'penalty':>10}  share of loss"]
        for row in sorted(last, key=lambda row: -row["penalty"]):
            lines.append(f"{row['layer']:{width}}  {row['penalty']:10.4g}  {row['share']:13.1%}")
        return "\n".join(lines)


def _scope(model: keras.Model) -> Any:
    """Where the model's variables are made: on TensorFlow its strategy's scope."""
    strategy = getattr(model, "distribute_strategy", None)
    return nullcontext() if strategy is None else strategy.scope()
