"""The callback by which a training that was killed goes on as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from kerasreg._core.arguments import Came, flag, integer, refusal
from kerasreg._core.private import begin_at_epoch
from kerasreg._core.registry import register
from kerasreg._core.whole_file import remove_begun, replacing
from kerasreg.callbacks.training_state import Place, file_of, read_place, restore_random_state

_WEIGHTS, _METADATA, _PREVIOUS = "latest.weights.h5", "training_metadata.json", ".bkp"


@register
class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """Keras' callback of that name, by which a training that was killed ends as if it had not been.

    Arguments, files and use are Keras'; its backups are read, and it reads these. What differs:

    - The random state is kept too: every `keras.random.SeedGenerator` of the model and the one of
      `keras.random` itself. Keras' backup leaves them out, so that dropout begins with its first masks again.
    - A backup is one file, with the epoch in it, that takes the place of the last one in one step. A kill in
      the middle of Keras' backup leaves half a file, or new weights beside the old epoch's number.
    - A disk that is full costs a warning and that backup, not the training: Keras writes by HDF5, which
      takes the process down.
    - The epoch it restored counts for this `fit` only; with Keras' the next `fit` of the model skips as many.

    The data has to go on as well: `epoch` says where, before `fit` is called. With
    `augment.indices(..., start=backup.epoch * steps * batch_size)`, `steps_per_epoch=steps` and no
    randomness that is not the model's, weights, averages, optimizer and schedules are bit for bit those
    of a training that nobody killed. Put this callback first, so that others see what it restored. What
    other callbacks keep in memory (`EarlyStopping`'s patience, `History`) begins anew.

    Args:
        backup_dir: A folder on this machine for this training alone.
        save_freq: `"epoch"`, or a number of batches after which a backup is made. `fit` can begin with an
            epoch's first batch only: an epoch that was cut off is then trained again from the weights of the
            backup, which is not what nobody killed. To lose less, give `fit` a smaller `steps_per_epoch`.
        double_checkpoint: Whether the backup before the last one is kept, should the disk damage the last.
        delete_checkpoint: Whether a training that came to its end deletes its backup. If not, the same
            command once more trains nothing, and the model is that of the end.

    Attributes:
        epoch: The epoch with which `fit` will begin: 0 where there is no backup.

    Raises:
        ValueError: If an argument is not one of the above; when `fit` begins, if the model is not built, or
            the backup cannot be read, or is that of another model.

    Example:
        >>> import keras, numpy as np, tempfile, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((2,)), kr.layers.Dropout(0.5), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> backup = kr.callbacks.BackupAndRestore(tempfile.mkdtemp(), delete_checkpoint=False)
        >>> x, y = np.ones((4, 2)), np.ones(4)
        >>> history = model.fit(x, y, epochs=3, shuffle=False, callbacks=[backup], verbose=0)
        >>> backup.epoch  # a training of three epochs is done
        3
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        owner = "BackupAndRestore"
        if not isinstance(backup_dir, str | os.PathLike) or not os.fspath(backup_dir):
            raise refusal(owner, "backup_dir", "a folder", backup_dir)
        if "://" in os.fspath(backup_dir):
            remedy = "use keras.callbacks.BackupAndRestore"
            raise refusal(owner, "backup_dir", "a folder on this machine", backup_dir, remedy)
        if save_freq != "epoch":
            try:
                save_freq = integer(owner, "save_freq", save_freq, low=1)
            except ValueError:
                allowed = "'epoch' or a whole number of at least 1"
                raise refusal(owner, "save_freq", allowed, Came(repr(save_freq))) from None
        super().__init__(
            os.fspath(backup_dir),
            save_freq,
            flag(owner, "double_checkpoint", double_checkpoint),
            flag(owner, "delete_checkpoint", delete_checkpoint),
        )
        self._folder = Path(self.backup_dir)
        self._weights, self._metadata = self._folder / _WEIGHTS, self._folder / _METADATA
        self._before: int | None = None
        self._restored = False
        self._since_backup = self._done = 0
        self._epoch = 0

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {
            "backup_dir": self.backup_dir,
            "save_freq": self.save_freq,
            "double_checkpoint": self.double_checkpoint,
            "delete_checkpoint": self.delete_checkpoint,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BackupAndRestore:
        """The callback that `get_config` described."""
        return cls(**config)

    @property
    def epoch(self) -> int:
        """The epoch with which `fit` will begin: 0 where there is no backup."""
        place, _ = self._latest()
        return 0 if place is None else place.epoch

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Put back what the backup holds, if there is one."""
        if not self.model.built:
            remedy = "call it on a batch, or give its layers an Input, before fit"
            raise refusal("BackupAndRestore", "model", "built", Came("one without weights"), remedy)
        for file in (self._weights, self._metadata):
            for one in (file, _previous(file)):
                remove_begun(one)
        place, weights = self._latest()
        if place is None:
            return
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        restore = restore_random_state(self.model, place)
        self.model.load_weights(weights)
        restore()
        self._before, self._restored = begin_at_epoch(self.model, place.epoch), True
        self._since_backup = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count the epoch's batches."""
        self._forget_beginning()
        self._epoch, self._done = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Make a backup if it is time for one."""
        if self.save_freq == "epoch":
            return
        self._since_backup += batch + 1 - self._done
        self._done = batch + 1
        if self._since_backup >= self.save_freq:
            self._since_backup = 0
            self._save(Place(self._epoch, batch))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Make a backup of an epoch that is done."""
        self._epoch, self._done = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save(Place(epoch + 1, 0))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Take the backup away, if nobody wants to keep it."""
        self._forget_beginning()
        if not self.delete_checkpoint:
            return
        for file in (self._weights, self._metadata):
            file.unlink(missing_ok=True)
            _previous(file).unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _forget_beginning(self) -> None:
        # `fit` has read it by now, and would read it again the next time it is called.
        if self._restored:
            begin_at_epoch(self.model, self._before)
            self._restored = False

    def _latest(self) -> tuple[Place | None, Path]:
        """The last backup that can be read."""
        if not self._weights.exists():
            return None, self._weights
        try:
            return read_place(self._weights, self._metadata), self._weights
        except OSError as error:
            previous = _previous(self._weights)
            if not previous.exists():
                remedy = "delete it to begin anew"
                came = Came(f"{str(self._folder)!r}, whose {_WEIGHTS} is damaged ({error})")
                allowed = "a folder whose backup can be read"
                raise refusal("BackupAndRestore", "backup_dir", allowed, came, remedy) from error
            warnings.warn(
                f"BackupAndRestore found {self._weights} damaged ({error}) and goes on from the one before.",
                stacklevel=3,
            )
            with replacing(self._weights) as beside:
                shutil.copyfile(previous, beside)
            return read_place(self._weights, _previous(self._metadata)), self._weights

    def _save(self, place: Place) -> None:
        try:
            self._write(place)
        except OSError as error:
            warnings.warn(
                f"BackupAndRestore could not write to {self._folder} after batch {place.batch} of epoch "
                f"{place.epoch} ({error}); training goes on, and the backup is the one before.",
                stacklevel=3,
            )

    def _write(self, place: Place) -> None:
        if keras.backend.backend() == "jax":
            # In the middle of an epoch the variables' values are in the trainer's hands.
            self.model.jax_state_sync()
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in (self._weights, self._metadata) if self.double_checkpoint else ():
            if file.exists():
                with replacing(_previous(file)) as beside:
                    shutil.copyfile(file, beside)
        with replacing(self._weights) as beside:
            beside.write_bytes(file_of(self.model, place))
        # For Keras' own callback and for people: what counts is in the file above.
        with replacing(self._metadata) as beside:
            beside.write_text(json.dumps({"epoch": place.epoch, "batch": place.batch}))


def _previous(file: Path) -> Path:
    return file.with_name(file.name + _PREVIOUS)
