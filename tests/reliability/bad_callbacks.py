"""What callbacks meet in a training, and where they are told to write."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from bad_case import Case, array, nan, refused

import kerasreg as kr

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = np.arange(8) % 2
HOSTILE = "<script>alert(1)</script>|[x](javascript:alert(1))`\n# big\r\n\x1b[31m"


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="bad_logs_"))


def cases() -> Iterator[Case]:
    yield from _log_folders()
    yield from _trainings()
    yield from _pages()
    yield from _backups()


def model() -> keras.Model:
    """The same weights every time."""
    start = [keras.initializers.GlorotUniform(seed=i) for i in range(2)]
    layers = [
        keras.layers.Dense(4, "tanh", kernel_initializer=start[0], kernel_regularizer="l2", name="hidden"),
        keras.layers.Dense(2, kernel_initializer=start[1], name="out"),
    ]
    made = keras.Sequential([keras.Input((3,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=False)
    return made


@cache
def shared() -> keras.Model:
    return model()


def _state() -> Any:
    return [array(weight.value) for weight in shared().weights]


def fit(
    model: keras.Model, *callbacks: Any, x: Any = X, y: Any = Y, epochs: int = 1
) -> dict[str, list[float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fit(
            x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
        )
    return found.history


def _log_folders() -> Iterator[Case]:
    stats = kr.callbacks.ActivationStats
    taken = folder() / "a_file"
    taken.write_text("mine")
    foreign, linked, blocked = (folder() / name for name in ("foreign", "linked", "blocked"))
    for place in (foreign, linked, blocked):
        place.mkdir()
    notes = foreign / "activations.jsonl"
    notes.write_text("my notes\nwithout an end")
    secret = folder() / "secret"
    secret.write_text("not a log")
    (linked / "activations.jsonl").symlink_to(secret)
    (blocked / "activations.jsonl").mkdir()

    def state() -> Any:
        listed = [sorted(map(str, place.iterdir())) for place in (foreign, linked, blocked)]
        return [*_state(), taken.read_text(), notes.read_text(), secret.read_text(), str(listed)]

    for what, log_dir, words in (
        ("a file for a folder", taken, ("`log_dir`", "a_file")),
        ("a folder below a file", taken / "logs", ("`log_dir`", "a_file")),
        ("a folder with somebody's notes", foreign, ("`log_dir`", "foreign")),
        ("a folder whose log is a link", linked, ("`log_dir`", "linked")),
        ("a folder whose log is a folder", blocked, ("`log_dir`", "blocked")),
        ("a path with a zero byte", "logs\0x", ("`log_dir`",)),
    ):
        yield Case(
            "callbacks.ActivationStats",
            what,
            lambda log_dir=log_dir: fit(shared(), stats(log_dir)),
            refused(*words),
            state,
        )
    for arguments in ({"log_dir": 3}, {"layers": ["none*"]}, {"layers": [3]}, {"every": -1}, {"every": "x"}):
        (argument,) = arguments
        yield Case(
            "callbacks.ActivationStats",
            f"{arguments}",
            lambda arguments=arguments: fit(shared(), stats(**arguments)),
            refused(f"`{argument}`"),
            _state,
        )


def _trainings() -> Iterator[Case]:
    yield Case("callbacks.ActivationStats", "NaN in the data", _poisoned, _seen)
    yield Case(
        "callbacks.ActivationStats", "good data after a fit that failed", _watched_again, _as_if_nothing
    )
    yield Case(
        "callbacks.PenaltyReport", "good data after a fit that failed", _reported_again, _but_for_data_loss
    )
    yield Case("callbacks.PenaltyReport", "NaN in the data", _penalties_of_nan, _told)


def _nan_data() -> np.ndarray:
    x = X.copy()
    x[5, 1] = nan
    return x


def _poisoned() -> Any:
    log_dir = folder() / "up" / ".." / "nan"
    (folder() / "up").mkdir(exist_ok=True)
    stats = kr.callbacks.ActivationStats(log_dir, every=1, histograms=True)
    watched, plain = model(), model()
    with contextlib.redirect_stdout(io.StringIO()):
        fit(watched, stats, x=_nan_data())
    fit(plain, x=_nan_data())
    files = [str(path.relative_to(folder())) for path in folder().rglob("*") if "nan" in path.parts[-2:]]
    lines = [
        json.loads(line, parse_constant=_no_constant)
        for line in (folder() / "nan" / "activations.jsonl").read_text().splitlines()
    ]
    weights = [[array(w.value) for w in one.weights] for one in (watched, plain)]
    return stats, lines, weights, files, os.listdir(folder() / "up")


def _no_constant(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def _seen(found: Any) -> None:
    stats, lines, (watched, plain), files, up = found
    assert [row["nonfinite"] > 0 for row in stats.history if row["layer"] == "hidden"] == [False, True]
    assert any(finding.code == "non-finite" for finding in stats.findings), stats.findings
    assert [line["step"] for line in lines] == [0, 1]
    for one, other in zip(watched, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not up, "written where nobody asked"
    assert len([name for name in files if "/" in name]) == 2, files


def _failed(callback: Any) -> keras.Model:
    """A model whose fit an error has ended."""
    made = model()

    class Trip(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            raise RuntimeError("a user's own")

    with contextlib.suppress(RuntimeError):
        fit(made, callback, Trip())
    return made


@cache
def _undisturbed() -> tuple[dict[str, list[float]], list[np.ndarray]]:
    """Logs and weights of two fits that nothing has happened to."""
    made = model()
    logs = [fit(made), fit(made)]
    return logs, [array(w.value) for w in made.weights]


def _watched_again() -> Any:
    stats = kr.callbacks.ActivationStats(every=1, diagnose=False)
    used = _failed(stats)
    logs = [fit(used), fit(used, stats)]
    return logs, [array(w.value) for w in used.weights], [row["step"] for row in stats.history]


def _as_if_nothing(found: Any) -> None:
    logs, weights, steps = found
    clean_logs, clean_weights = _undisturbed()
    assert [log["loss"] for log in logs] == [log["loss"] for log in clean_logs], "another loss"
    for one, other in zip(weights, clean_weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(set(steps)) == [2, 3], steps


def _reported_again() -> Any:
    report = kr.callbacks.PenaltyReport()
    used = _failed(report)
    logs = [fit(used), fit(used, report)]
    return logs, [array(w.value) for w in used.weights], "compute_loss" in vars(used), len(report.history)


def _but_for_data_loss(found: Any) -> None:
    logs, weights, patched, rows = found
    _as_if_nothing((logs, weights, [2, 3]))
    assert set(logs[0]) - {"data_loss"} == {"loss"}, logs[0]
    assert not patched, "still attached"
    assert rows == 1


def _penalties_of_nan() -> Any:
    report = kr.callbacks.PenaltyReport()
    return fit(model(), report, x=_nan_data()), report.history


def _told(found: Any) -> None:
    logs, _ = found
    assert np.isnan(logs["data_loss"]).all(), logs


def _pages() -> Iterator[Case]:
    yield Case("callbacks.ActivationStats", "layers named after markup", _page, _escaped)


def _page() -> str:
    from kerasreg.callbacks.activation_page import activation_page

    finding = kr.diagnostics.Finding(HOSTILE, "dead-units", "error", HOSTILE, HOSTILE)
    rows = [{"layer": HOSTILE, "mean": 0.0, "std": 1.0, "rms": 1.0, "zeros": 0.0}]
    return activation_page(0, rows, [finding], {HOSTILE: HOSTILE})


def _escaped(page: str) -> None:
    outside = "".join(part for i, part in enumerate(page.split("`")) if i % 2 == 0)
    assert "<script" not in outside, "HTML"
    assert "[x](" not in outside, "a link"
    assert "\x1b" not in page, "a terminal's sequence"
    assert not any(line.startswith("# big") for line in page.splitlines()), "a heading"
    names = [line for line in page.splitlines() if "alert" in line]
    assert len(names) == 3, names


def _backups() -> Iterator[Case]:
    backup = getattr(kr.callbacks, "BackupAndRestore", None)
    if backup is None:
        return
    case = partial(Case, "callbacks.BackupAndRestore", state=_state)
    for arguments in (
        {"backup_dir": 3},
        {"backup_dir": ""},
        {"backup_dir": "gs://far/away"},
        {"save_freq": 0},
        {"save_freq": "x"},
        {"double_checkpoint": 1},
        {"delete_checkpoint": "no"},
    ):
        (argument,) = arguments
        given = {"backup_dir": folder() / "backup", **arguments}
        yield case(f"{arguments}", lambda given=given: backup(**given), refused(f"`{argument}`"))
    damaged = folder() / "damaged"
    damaged.mkdir()
    (damaged / "latest.weights.h5").write_bytes(b"no weights")
    yield case("a damaged backup", lambda: fit(shared(), backup(damaged)), refused("`backup_dir`", "damaged"))
