"""Two processors under `MirroredStrategy` train what one trains: every layer, penalty and callback."""

import json
import math

import keras
import numpy as np
import pytest
from child_processes import close, finished, start

import kerasreg as kr

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow's")


@pytest.fixture(scope="module")
def runs():
    return json.loads(finished([start("tensorflow", "mirrored_program.py")])[0].splitlines()[-1])


def test_losses_and_weights_are_those_of_one_device(runs):
    one, two = runs["one"], runs["two"]
    close(two["history"], one["history"], 1e-5)
    close(two["weights"], one["weights"], 1e-5)
    assert {"loss", "data_loss", "ece", "val_data_loss", "val_ece"} <= set(one["history"])


def test_penalties_count_once(runs):
    one, two = runs["one"], runs["two"]
    close(two["penalties"], one["penalties"], 1e-5)
    rows = [row for row in two["penalties"] if row["epoch"] == 0]
    assert {row["layer"] for row in rows} >= {"conv", "hidden", "out", "batch_norm"}
    whole = two["history"]["data_loss"][0] + sum(row["penalty"] for row in rows)
    assert two["history"]["loss"][0] == pytest.approx(whole, rel=1e-5)
    # And they are no small matter, so that half or twice of them would show.
    assert two["history"]["loss"][0] > 1.2 * two["history"]["data_loss"][0]


def test_every_row_of_activation_stats_is_the_whole_batch_s(runs):
    one, two = runs["one"], runs["two"]
    assert len(one["rows"]) == 30
    assert two["skipped"] == one["skipped"]
    for found, expected in zip(two["rows"], one["rows"], strict=True):
        # Of a value that lies on an edge, rounding says on which side.
        found, expected = dict(found), dict(expected)
        counted, counts = found.pop("histogram"), expected.pop("histogram")
        assert sum(counted) == sum(counts)
        assert np.abs(np.subtract(counted, counts)).sum() <= 4
        close(found, expected, 1e-4, found["layer"])


def test_findings_are_those_of_one_device(runs):
    assert "dead dead-units" in runs["one"]["findings"]
    assert runs["two"]["findings"] == runs["one"]["findings"]


def test_every_layer_was_trained_in_two_replicas(runs):
    assert runs["every_layer"]["layers"] == sorted(kr.layers.__all__)
    every = runs["every_layer"]
    assert all(math.isfinite(loss) for loss in every["losses"])
    for path, after in every["after"].items():
        assert np.isfinite(after).all(), path
        moved = not np.array_equal(after, every["before"][path])
        assert moved or path not in every["trainable"], path


def test_a_share_without_rows_harms_nothing(runs):
    found = runs["uneven"]
    # By value: Keras numbers the models.
    assert list(found["weights"].values()) == list(found["bare"].values())
    assert all(np.isfinite(weight).all() for weight in found["weights"].values())
    assert sorted({row["step"] for row in found["rows"]}) == list(range(6))
    for row in found["rows"]:
        assert all(math.isfinite(figure) for figure in row.values() if isinstance(figure, float)), row
