"""A person's view of a watched training: table, frame, picture and folder, also where things go wrong."""

import json

import keras
import numpy as np
import pytest
from models import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import kerasreg as kr


def lines_of(folder):
    return [json.loads(line) for line in (folder / "activations.jsonl").read_text().splitlines()]


def scalar_steps(folder, tag):
    reader = EventAccumulator(str(folder))
    reader.Reload()
    return [event.step for event in reader.Scalars(tag)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Two callbacks with one folder and other questions in one fit."""
    folder = tmp_path_factory.mktemp("log")
    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(folder, every=2, gradients=True, per_channel=True)
    other = kr.callbacks.ActivationStats(folder, every=3, layers=["a", "sum"])
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[stats, other])
    return stats, other, folder, model, (x, y)


def test_the_history_is_a_data_frame(watched):
    pandas = pytest.importorskip("pandas")
    stats, *_ = watched
    frame = pandas.DataFrame(stats.history)
    assert len(frame) == len(stats.history)
    assert {"step", "layer", "mean", "std", "rms", "min", "max", "zeros", "dead"} <= set(frame.columns)
    by_layer = frame.groupby("layer")
    np.testing.assert_allclose(frame["rms"] ** 2, frame["mean"] ** 2 + frame["std"] ** 2, rtol=1e-5)
    assert by_layer["update_ratio"].count().to_dict() == {"a": 5, "b": 5, "c": 5, "sum": 0}
    assert frame.pivot(index="step", columns="layer", values="rms").notna().all(axis=None)


def test_the_table_has_a_column_for_what_was_asked(watched):
    stats, other, *_ = watched
    header, *rows = stats.summary().splitlines()
    titles = ["mean", "std", "RMS", "zeros", "dead", "gradient", "update", "state"]
    assert header.split() == ["layer", *titles]
    assert [row.split()[0] for row in rows] == ["a", "b", "sum", "c"]
    # Numbers stand below each other, to the right.
    assert len({row.index("healthy") for row in rows} | {header.index("state")}) == 1
    ends = {row.index("%") for row in rows}
    assert ends == {header.index("zeros") + len("zeros") - 1}
    assert "gradient" not in other.summary()


def test_the_picture_is_the_history(watched, tmp_path):
    stats, *_ = watched
    figure = stats.plot(tmp_path / "picture.png")
    images = [axes.images[0].get_array() for axes in figure.axes[::2]]
    assert [image.shape[:2] for image in images] == [(4, 5)] * 3
    assert (tmp_path / "picture.png").stat().st_size < 150_000


def test_two_with_one_folder_both_write_all_of_theirs(watched):
    stats, other, folder, *_ = watched
    rows = [
        {"step": line["step"], "layer": layer, **row}
        for line in lines_of(folder)
        for layer, row in line["layers"].items()
    ]
    assert len(rows) == len(stats.history) + len(other.history)
    for row in [*stats.history, *other.history]:
        assert row in rows
    assert len(list(folder.glob("events.*"))) == 2
    assert set(scalar_steps(folder, "update_ratio/c")) == {0, 1, 2, 4, 6}
    assert {0, 1, 3, 6} <= set(scalar_steps(folder, "activation_rms/sum"))


def test_a_training_resumed_from_a_file_counts_and_draws_on(watched, tmp_path):
    _, _, folder, model, (x, y) = watched
    model.save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    stats = kr.callbacks.ActivationStats(folder, every=2, layers="a")
    resumed.fit(x, y, batch_size=8, verbose=0, callbacks=[stats])
    assert [row["step"] for row in stats.history] == [8, 9, 10]
    assert [line["step"] for line in lines_of(folder)][-3:] == [8, 9, 10]
    assert sorted(set(scalar_steps(folder, "activation_rms/a"))) == [0, 1, 2, 3, 4, 6, 8, 9, 10]
    # What both earlier callbacks saw of it, and what was seen now.
    assert stats.plot().axes[0].images[0].get_array().shape[:2] == (1, 9)


def test_a_crash_leaves_lines_and_events_that_read_back(tmp_path):
    class Crash(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise RuntimeError("pulled the plug")

    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(tmp_path, every=1)
    with pytest.raises(RuntimeError, match="plug"):
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[stats, Crash()])
    assert (
        [line["step"] for line in lines_of(tmp_path)]
        == scalar_steps(tmp_path, "activation_rms/a")
        == [0, 1, 2]
    )
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[stats])
    assert [line["step"] for line in lines_of(tmp_path)] == [0, 1, 2, 3, 4, 5, 6]
