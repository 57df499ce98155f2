"""A training that was cut off ends as if it had not been; tests/reliability kills one."""

import json

import h5py
import keras
import numpy as np
import pytest
from models import arrays

import kerasreg as kr
from kerasreg.callbacks import training_state

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X.sum(axis=1)


def make():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("adam", "mse", run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=4, **arguments):
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **arguments).epoch


class Stop(keras.callbacks.Callback):
    """Fails at the beginning of an epoch, or at the end of one of its steps."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.batch = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.here = epoch == self.epoch
        if self.here and self.batch is None:
            raise RuntimeError

    def on_train_batch_end(self, batch, logs=None):
        if self.here and batch == self.batch:
            raise RuntimeError


def cut_off(folder, stop, **arguments):
    with pytest.raises(RuntimeError):
        fit(make(), kr.callbacks.BackupAndRestore(folder, **arguments), stop)


@pytest.fixture(scope="module")
def whole():
    model = make()
    fit(model)
    return arrays(model)


def assert_equal(found, wanted):
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_random_numbers_go_on_where_they_were(tmp_path, whole):
    cut_off(tmp_path, Stop(2, 1))
    backup, model = kr.callbacks.BackupAndRestore(tmp_path), make()
    assert backup.epoch == 2
    assert fit(model, backup) == [2, 3]
    assert_equal(arrays(model), whole)
    # The training is done, and its backup is gone.
    assert not tmp_path.exists()
    assert backup.epoch == 0
    assert fit(model, epochs=1) == [0]


def test_draws_without_a_seed_go_on_too(tmp_path):
    drawn = []

    class Draw(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            drawn.append(float(keras.random.uniform(())))

    keras.backend.clear_session()
    fit(make(), Draw())
    expected = list(drawn)
    drawn.clear()
    keras.backend.clear_session()
    with pytest.raises(RuntimeError):
        fit(make(), kr.callbacks.BackupAndRestore(tmp_path), Stop(2), Draw())
    keras.backend.clear_session()
    fit(make(), kr.callbacks.BackupAndRestore(tmp_path), Draw())
    assert drawn == expected


def test_a_finished_training_once_more_trains_nothing(tmp_path, whole):
    backup = kr.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    fit(make(), backup)
    again = make()
    assert fit(again, backup) == []
    assert_equal(arrays(again), whole)
    assert fit(again, backup, epochs=5) == [4]


def test_backups_every_few_batches_begin_their_epoch_anew(tmp_path):
    cut_off(tmp_path, Stop(2, 1), save_freq=4)
    # After 4 batches, the first of epoch 1, and after 8, the second of epoch 2: there it was cut off.
    assert json.loads((tmp_path / "training_metadata.json").read_text()) == {"epoch": 2, "batch": 1}
    model = make()
    assert fit(model, kr.callbacks.BackupAndRestore(tmp_path)) == [2, 3]
    assert int(model.optimizer.iterations) == 8 + 2 * 3


def test_it_reads_keras_backups_and_keras_reads_its(tmp_path):
    with pytest.raises(RuntimeError):
        fit(make(), keras.callbacks.BackupAndRestore(tmp_path), Stop(2))
    assert kr.callbacks.BackupAndRestore(tmp_path).epoch == 2
    with pytest.raises(RuntimeError):
        fit(make(), kr.callbacks.BackupAndRestore(tmp_path), Stop(3))
    assert fit(make(), keras.callbacks.BackupAndRestore(tmp_path)) == [3]


def test_others_files_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    fit(make(), kr.callbacks.BackupAndRestore(tmp_path, double_checkpoint=True), epochs=2)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_another_models_backup_is_refused(tmp_path):
    fit(make(), kr.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=1)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    plain.compile("adam", "mse", run_eagerly=True)
    before = arrays(plain)
    with pytest.raises(ValueError, match=r"`backup_dir` .* 1 random states for one with 0"):
        fit(plain, kr.callbacks.BackupAndRestore(tmp_path))
    assert_equal(arrays(plain)[: len(before)], before)


def test_a_model_without_weights_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    backup = kr.callbacks.BackupAndRestore(tmp_path)
    backup.set_model(model)
    with pytest.raises(ValueError, match="`model` of BackupAndRestore must be built"):
        backup.on_train_begin()


@pytest.mark.parametrize("told", [b'{"epoch": 1, "batch": 2, "more": 3}', b"[1, 2]", b"{", b'{"epoch": 1}'])
def test_a_place_that_somebody_else_wrote_counts_as_damage(tmp_path, told):
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file.create_dataset(training_state._GROUP, data=np.frombuffer(told, "uint8"))
    with pytest.raises(OSError):  # noqa: PT011
        training_state.read_place(tmp_path / "x.weights.h5", tmp_path / "none.json")
