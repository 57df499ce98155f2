"""What goes wrong while a network trains, done for real, each in an empty folder, and what must be left.

`FAULTS` maps a fault in words to a function that commits it and raises an `AssertionError` that tells what
was lost; it raises `NotHere` where the machine does not let it be committed.
"""

import functools
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import resumable
from keras_versions import HAS_RENORM
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import kerasreg as kr

FAULTS = {}
# Those that start a process which imports Keras, and others that take seconds.
IN_A_PROCESS_OF_ITS_OWN, OF_SECONDS = set(), set()
KILLED_IN_A_STEP = "the process is killed in the middle of an epoch, and started again"
FOLDER = Path(__file__).parent


class NotHere(Exception):
    """This machine does not let the fault be committed."""


def fault(words, own_process=False, seconds=False):
    """Enter a function into the catalogue."""

    def entered(function):
        FAULTS[words] = function
        if own_process:
            IN_A_PROCESS_OF_ITS_OWN.add(words)
        if seconds:
            OF_SECONDS.add(words)
        return function

    return entered


# What the faults are judged by


def lines_of(folder):
    """Each step of a log and its layers: of a step done twice the later, and nothing from before that."""
    steps = {}
    for line in (folder / "activations.jsonl").read_text().splitlines():
        entry = json.loads(line)
        for step in [step for step in steps if step >= entry["step"]]:
            del steps[step]
        steps[entry["step"]] = entry["layers"]
    return steps


def scalars_of(folder, tag):
    """A scalar as TensorBoard shows it, step by step."""
    reader = EventAccumulator(str(folder))
    reader.Reload()
    found = [(event.step, event.value) for event in reader.Scalars(tag)]
    assert len(dict(found)) == len(found), f"steps twice in TensorBoard: {[step for step, _ in found]}"
    return dict(found)


def assert_same(found, wanted, what):
    """Two lists of arrays, bit for bit."""
    assert len(found) == len(wanted), f"{what}: {len(found)} arrays, not {len(wanted)}"
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other, equal_nan=True), f"{what}: {one} is not {other}"


def same_figure(found, wanted):
    """Bit for bit; under XLA up to rounding."""
    if keras.backend.backend() == "tensorflow":
        return found == wanted
    return found == wanted or math.isclose(found, wanted, rel_tol=1e-3, abs_tol=1e-5)


class Small:
    """A net of two layers, and data; every one begins with the same numbers. Eager: nothing to compile."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4, "relu", name="a"), keras.layers.Dense(2, name="b")]
        )
        self.model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(20, 3)).astype("float32")
        self.y = rng.normal(size=(20, 2)).astype("float32")

    def fit(self, *callbacks, epochs=2, **arguments):
        """Five steps an epoch, always in the same order."""
        arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, **arguments}
        self.model.fit(self.x, self.y, epochs=epochs, callbacks=list(callbacks), **arguments)
        return self

    def numbers(self):
        """Weights and the optimizer's state."""
        return resumable.state(self.model)


@functools.cache
def undisturbed(epochs=2):
    """What `Small` is after so many epochs."""
    return Small().fit(epochs=epochs).numbers()


@functools.cache
def unbroken():
    """The training of `resumable`, which nobody killed: its numbers, lines and scalars."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"unbroken.{os.getpid()}"
    try:
        model, _ = resumable.train(folder)
        return (
            resumable.state(model),
            lines_of(folder / "log"),
            scalars_of(folder / "log", "activation_rms/first"),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class At(keras.callbacks.Callback):
    """Does something once, before or after a step, counted over all epochs."""

    def __init__(self, step, action, when="end"):
        super().__init__()
        self.step, self.action, self.when, self.seen = step, action, when, -1

    def on_train_batch_begin(self, batch, logs=None):
        self.seen += 1
        if self.when == "begin" and self.seen == self.step:
            self.action()

    def on_train_batch_end(self, batch, logs=None):
        if self.when == "end" and self.seen == self.step:
            self.action()


def failing():
    """Another callback's own fault."""
    raise RuntimeError("another callback")


@contextmanager
def said():
    """The warnings of a block, as words."""
    words = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield words
    words += [str(warning.message) for warning in caught if "kerasreg" in str(warning.filename)] or [
        str(warning.message) for warning in caught
    ]


@contextmanager
def ends_with(kind, words=""):
    """A block has to end with such an error, in whose words, or in those of its cause, these are."""
    try:
        yield
    except kind as error:
        told = f"{error} {error.__context__} {error.__cause__}"
        if words not in told:
            raise AssertionError(f"it said {told}") from error
    else:
        raise AssertionError(f"nothing ended with {kind.__name__}")


@contextmanager
def small_disk(folder, kibibytes):
    """A file system of its own and of that size."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        raise NotHere("nobody may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@contextmanager
def files_of_at_most(size):
    """A limit of the kernel's: a write beyond it fails, after what fits has been written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Killed, and started again


def killed(folder, die_in, at, number=signal.SIGKILL):
    """Run `resumable` in a process that ends by a signal in the middle."""
    command = [sys.executable, str(FOLDER / "resumable.py"), str(folder)]
    command += ["--die-in", die_in, "--at", str(at), "--signal", number.name]
    root = str(FOLDER.parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -number, f"ended by {done.returncode}: {done.stdout}{done.stderr}"


def assert_ends_like_the_unbroken(folder, killed_after, begun_at):
    """Start it again, and compare everything with the training that nobody killed."""
    wanted, wanted_lines, wanted_scalars = unbroken()
    before = lines_of(folder / "log")
    # Steps 0 and 1 begin a `fit`; every fourth is asked for.
    assert list(before) == [step for step in range(killed_after + 1) if step < 2 or step % 4 == 0]
    model, stats = resumable.train(folder)
    if keras.backend.backend() == "tensorflow":
        assert_same(resumable.state(model), wanted, "the model")
    for one, other in zip(resumable.state(model), wanted, strict=True):
        # XLA may round an observed step's last bit otherwise, and two more are observed here.
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert stats.history[0]["step"] == begun_at, f"went on at step {stats.history[0]['step']}"
    lines, scalars = lines_of(folder / "log"), scalars_of(folder / "log", "activation_rms/first")
    # Beyond the unbroken one's there are the first two steps that the second process did.
    assert set(lines) == set(scalars) == set(wanted_lines) | {begun_at, begun_at + 1}
    assert list(lines) == sorted(lines)
    for step, layers in wanted_lines.items():
        for layer, row in layers.items():
            # What is silent "in the window" depends on where the window began.
            for name in set(row) - {"dead"}:
                now = lines[step][layer][name]
                assert same_figure(now, row[name]), (
                    f"{name} of {layer} at step {step}: {now}, not {row[name]}"
                )
    for step, value in wanted_scalars.items():
        assert same_figure(scalars[step], value), f"step {step} in TensorBoard"


@fault(KILLED_IN_A_STEP, own_process=True)
def killed_in_a_step(folder):
    killed(folder, "step", at=12)
    assert_ends_like_the_unbroken(folder, killed_after=12, begun_at=10)


@fault("the process is killed while it writes a backup, and started again", own_process=True)
def killed_in_a_backup(folder):
    killed(folder, "backup", at=3)
    begun = list((folder / "backup").glob(".*"))
    assert begun, "it was not killed while it wrote"
    # Killed at the end of the third epoch: what counts is the backup of the second.
    assert_ends_like_the_unbroken(folder, killed_after=14, begun_at=10)
    assert not any(path.exists() for path in begun), "half a backup was left for ever"


@fault("the process is told to end (SIGTERM) in the middle of an epoch, and started again", own_process=True)
def terminated_in_a_step(folder):
    killed(folder, "step", at=8, number=signal.SIGTERM)
    assert_ends_like_the_unbroken(folder, killed_after=8, begun_at=5)


def killed_while_writing(what, folder, times=3):
    """Kill a process that does nothing but write, at moments drawn at random, time after time."""
    moments = random.Random(0)
    for _ in range(times):
        process = subprocess.Popen([sys.executable, str(FOLDER / "bare.py"), what, str(folder)])
        try:
            until = time.monotonic() + 60
            # It has begun once there is something; by then it is in the middle of the next.
            while not any(folder.iterdir()):
                assert process.poll() is None, "the writer ended by itself"
                assert time.monotonic() < until, "the writer wrote nothing"
                time.sleep(0.005)
            time.sleep(moments.uniform(0.05, 0.3))
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL
        yield


@fault("the process is killed while it writes lines of figures")
def killed_while_writing_lines(folder):
    from kerasreg.callbacks.whole_append import mend_lines

    for _ in killed_while_writing("lines", folder):
        path = folder / "activations.jsonl"
        whole = path.read_bytes().count(b"\n")
        mend_lines(path)
        steps = [json.loads(line)["step"] for line in path.read_bytes().splitlines()]
        assert steps == list(range(len(steps))), "lines were lost"
        assert len(steps) >= max(whole, 1)
        path.unlink()


@fault("the process is killed while it writes TensorBoard's events", seconds=True)
def killed_while_writing_events(folder):
    from kerasreg.callbacks import event_values
    from kerasreg.callbacks.event_file import EventFile

    for _ in killed_while_writing("events", folder, times=2):
        last = list(scalars_of(folder, "a"))[-1]
        time.sleep(1.01)  # TensorBoard sorts files by the second in which they began
        EventFile(folder).add(last + 1, [event_values.scalar("a", 1.0)])
        steps = list(scalars_of(folder, "a"))
        assert steps == list(range(last + 2)), f"events were lost: {steps}"
        shutil.rmtree(folder)
        folder.mkdir()


@fault("the process is killed while it draws a picture over another", seconds=True)
def killed_while_drawing(folder):
    from matplotlib.image import imread

    for _ in killed_while_writing("picture", folder, times=2):
        picture = folder / "picture.png"
        if picture.exists():
            assert imread(picture).shape[2] == 4


@fault("the machine goes down with half a line written", seconds=True)
def half_a_line(folder):
    small, stats = Small(), kr.callbacks.ActivationStats(folder, every=1)
    small.fit(stats, epochs=1)
    with (folder / "activations.jsonl").open("a") as file:
        file.write('{"step": 5, "lay')
    small.fit(stats, epochs=1)
    assert list(lines_of(folder)) == list(scalars_of(folder, "activation_rms/a")) == list(range(10))


# The disk


def assert_costs_one_warning(small, stats, words, folder, steps=20):
    assert_same(small.numbers(), undisturbed(steps // 5), "the model")
    told = [word for word in words if "training goes on" in word]
    assert len(told) == 1, f"said {words}"
    assert sorted({row["step"] for row in stats.history}) == list(range(steps)), "steps missing in history"
    if folder.exists():
        written = list(lines_of(folder))
        assert written == list(range(len(written))), f"a half line, or one too many: {written}"


@fault("the disk fills up in the middle of fit")
def full_disk(folder):
    with small_disk(folder, 32) as disk:
        (disk / "ballast").write_bytes(bytes(12_000))
        small, stats = Small(), kr.callbacks.ActivationStats(disk / "log", every=1)
        with said() as words:
            small.fit(stats, epochs=4)
        assert_costs_one_warning(small, stats, words, disk / "log")
        assert 0 < len(lines_of(disk / "log")) < 20, "the disk was not full"


@fault("a file may grow no further in the middle of fit", seconds=True)
def file_too_large(folder):
    small, stats = Small(), kr.callbacks.ActivationStats(folder, every=1)
    with said() as words, files_of_at_most(3_000):
        small.fit(stats, epochs=4)
    assert_costs_one_warning(small, stats, words, folder)


@fault("the log folder is removed in the middle of training")
def folder_removed(folder):
    log = folder / "log"
    small, stats = Small(), kr.callbacks.ActivationStats(log, every=1)
    with said() as words:
        small.fit(stats, At(7, lambda: shutil.rmtree(log)), epochs=4)
    assert_costs_one_warning(small, stats, words, log)


@fault("the disk fills up while a backup is written")
def full_disk_in_a_backup(folder):
    small = Small()
    backup = kr.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    small.fit(backup, epochs=1)
    before = (folder / "backup" / "latest.weights.h5").read_bytes()
    with said() as words, files_of_at_most(6_000):
        small.fit(backup, epochs=4)
    assert_same(small.numbers(), undisturbed(4), "the model")
    assert any("training goes on" in word for word in words), f"said {words}"
    after = folder / "backup" / "latest.weights.h5"
    assert after.read_bytes() == before, "the whole backup was lost to half a one"
    again = Small().fit(kr.callbacks.BackupAndRestore(folder / "backup"), epochs=4)
    assert_same(again.numbers(), undisturbed(4), "the model that went on from it")


@fault("the backup is damaged, and there is one before it")
def damaged_backup(folder):
    backup = kr.callbacks.BackupAndRestore(folder, double_checkpoint=True, delete_checkpoint=False)
    Small().fit(backup, epochs=3)
    file = folder / "latest.weights.h5"
    file.write_bytes(file.read_bytes()[:-500])
    with said() as words:
        small = Small().fit(backup, epochs=4)
    assert any("damaged" in word for word in words), f"said {words}"
    assert_same(small.numbers(), undisturbed(4), "the model")


@fault("the only backup is damaged")
def only_backup_damaged(folder):
    backup = kr.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    Small().fit(backup, epochs=1)
    file = folder / "latest.weights.h5"
    half = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(half)
    small = Small()
    before = small.numbers()
    with ends_with(ValueError, "delete it to begin anew"):
        small.fit(backup)
    assert_same(small.numbers()[: len(before)], before, "the model that was refused")
    assert file.read_bytes() == half, "the damaged file is not what it was"


# Others' faults in the middle of fit


def assert_model_is_as_it_was(small, plain, attributes):
    # `fit` itself writes into these.
    assert set(vars(small.model)) <= attributes | {"_eval_epoch_iterator"}, "something was left on the model"
    trained = small.numbers()
    small.fit(epochs=1)
    assert small.model.train_function is plain, "the model trains by another function"
    assert not any(np.array_equal(a, b) for a, b in zip(trained[:4], small.numbers()[:4], strict=True))


def another_callback_fails(step, when):
    """Whether the model is left as it was, and trains on as it would have."""
    small = Small().fit(epochs=1)
    plain, attributes = small.model.train_function, set(vars(small.model))
    with ends_with(RuntimeError, "another callback"):
        small.fit(kr.callbacks.ActivationStats(every=1, gradients=True), At(step, failing, when))
    done = 5 + step + (when == "end")
    assert int(small.model.optimizer.iterations) == done, "a step too many or too few"
    assert_same(small.numbers(), by_hand(done), "the model")
    assert_model_is_as_it_was(small, plain, attributes)


def by_hand(steps):
    """`Small` after so many steps, without `fit`."""
    small = Small()
    for step in range(steps):
        rows = slice(4 * (step % 5), 4 * (step % 5) + 4)
        small.model.train_on_batch(small.x[rows], small.y[rows])
    return small.numbers()


@fault("another callback fails right before an observed step")
def callback_fails_before_a_step(folder):
    another_callback_fails(3, "begin")


@fault("another callback fails right after an observed step", seconds=True)
def callback_fails_after_a_step(folder):
    another_callback_fails(3, "end")


class Interrupting(keras.layers.Layer):
    """Passes on what it is given; at one call, somebody presses Ctrl-C."""

    calls, at = 0, None

    def call(self, x):
        type(self).calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return x


@fault("somebody presses Ctrl-C in the middle of an observed step")
def interrupted_in_a_step(folder):
    Interrupting.at = None
    small = Small()
    inside = keras.Sequential([*small.model.layers[:1], Interrupting(), *small.model.layers[1:]])
    inside.build((None, 3))
    inside.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
    small.model = inside
    small.fit(epochs=1)
    plain, attributes, call = small.model.train_function, set(vars(small.model)), keras.layers.Layer.__call__
    Interrupting.calls, Interrupting.at = 0, 3
    stats = kr.callbacks.ActivationStats(folder, every=1)
    with ends_with(KeyboardInterrupt):
        small.fit(stats)
    Interrupting.at = None
    assert keras.layers.Layer.__call__ is call, "layers are still watched"
    assert list(lines_of(folder)) == [5, 6]
    assert_same(small.numbers()[1:], by_hand(7)[1:], "the model")
    assert_model_is_as_it_was(small, plain, attributes)


@fault("the data fail in the middle of an epoch")
def data_fail(folder):
    def rows(small):
        for step in range(3):
            yield small.x[4 * step : 4 * step + 4], small.y[4 * step : 4 * step + 4]
        raise OSError("the data's disk")

    small = Small().fit(epochs=1)
    plain, attributes = small.model.train_function, set(vars(small.model))
    stats = kr.callbacks.ActivationStats(folder, every=1)
    with ends_with(Exception, "the data's disk"):
        small.model.fit(rows(small), shuffle=False, callbacks=[stats], verbose=0)
    assert list(lines_of(folder)) == [5, 6, 7]
    assert_same(small.numbers(), by_hand(8), "the model")
    assert_model_is_as_it_was(small, plain, attributes)


@fault("a batch of NaN comes in the middle of training")
def a_batch_of_nan(folder):
    kinds = [{"averaging": "ema"}, {"averaging": "debiased"}, {"averaging": "cumulative"}]
    if HAS_RENORM:
        kinds.append({"renorm": True})
    good = np.random.default_rng(0).normal(3.0, 2.0, (4, 8, 5)).astype("float32")
    bad = good.copy()
    bad[2] = math.nan
    for arguments in kinds:
        averages = []
        for batches in (np.delete(good, 2, axis=0), bad):
            keras.utils.set_random_seed(0)
            layer = kr.layers.BatchNormalization(**arguments)
            model = keras.Sequential([keras.Input((5,)), layer, keras.layers.Dense(1)])
            # What the optimizer makes of a loss of NaN is another matter.
            layer.gamma.trainable = layer.beta.trainable = False
            model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
            for batch in batches:
                model.train_on_batch(batch, np.zeros((8, 1)))
            found = (layer.moving_mean.value, layer.moving_variance.value)
            averages.append([keras.ops.convert_to_numpy(value) for value in found])
        assert np.isfinite(averages[1]).all(), f"{arguments}: NaN for ever"
        assert_same(averages[1], averages[0], f"{arguments}: averages")


@fault("epochs come out of order")
def epochs_out_of_order(folder):
    small = Small()
    stats = kr.callbacks.ActivationStats(folder, every=1)
    for first in (3, 0, 5):
        small.fit(stats, epochs=first + 1, initial_epoch=first)
    assert_same(small.numbers(), undisturbed(3), "the model")
    assert list(lines_of(folder)) == list(scalars_of(folder, "activation_rms/a")) == list(range(15))


# Verbs that are cut off


def weights_of(model):
    return [np.array(keras.ops.convert_to_numpy(weight.value)) for weight in model.weights]


@fault("calibrate is cut off in the middle of its pass")
def calibrate_cut_off(folder):
    Interrupting.at = None
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), Interrupting(), keras.layers.Dense(2)]
    )
    before = weights_of(model)
    call = keras.layers.Layer.__call__
    Interrupting.calls, Interrupting.at = 0, 1
    with ends_with(KeyboardInterrupt):
        kr.calibrate(model, np.random.default_rng(0).normal(size=(16, 3)).astype("float32"))
    Interrupting.at = None
    assert keras.layers.Layer.__call__ is call, "layers are still watched"
    assert_same(weights_of(model), before, "weights")


@fault("the data fail in the middle of reestimate")
def reestimate_cut_off(folder):
    def rows():
        yield np.ones((4, 3), "float32")
        raise OSError("the data's disk")

    model = keras.Sequential([keras.Input((3,)), kr.layers.BatchNormalization(), keras.layers.Dense(2)])
    before = weights_of(model)
    with ends_with(Exception, "the data's disk"):
        kr.reestimate(model, rows())
    assert_same(weights_of(model), before, "weights")
