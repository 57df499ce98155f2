"""The loss in its parts: by hand, in every log, and without a trace in the model."""

import csv

import keras
import numpy as np
import pytest
from backend_tools import array
from keras_versions import ACTIVITY_PER_ROW

import kerasreg as kr

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)).astype("float32"), RNG.normal(size=(12, 1)).astype("float32")


def model_of(rate=0.1, **options):
    layers = [
        keras.layers.Dense(2, kernel_regularizer=kr.regularizers.L2(0.5), name="first"),
        keras.layers.Dense(1, activity_regularizer=keras.regularizers.L2(0.1), name="last"),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.set_weights([RNG.normal(size=weight.shape) for weight in model.weights])
    model.compile(keras.optimizers.SGD(rate), "mse", **options)
    return model


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 2}])
def test_the_parts_by_hand(options):
    model, report = model_of(rate=0.0, **options), kr.callbacks.PenaltyReport()
    # Batches of 5, 5 and 2: each counts for its examples.
    settings = {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
    history = model.fit(X, Y, validation_data=(X[:4], Y[:4]), callbacks=[report], **settings).history
    assert all(np.abs(weight).min() > 0 for weight in model.get_weights())
    output = array(model(X))
    data = ((output - Y) ** 2).mean()
    first = 0.5 * (array(model.layers[0].kernel.value) ** 2).sum()
    batches = output[:5], output[5:10], output[10:]
    activity = [(batch**2).sum() / (len(batch) if ACTIVITY_PER_ROW else 1) for batch in batches]
    other = 0.1 * np.average(activity, weights=[5, 5, 2])
    assert history["data_loss"] == pytest.approx([data, data], rel=1e-5)
    assert history["val_data_loss"] == pytest.approx([((output - Y)[:4] ** 2).mean()] * 2, rel=1e-5)
    assert history["loss"] == pytest.approx([data + first + other] * 2, rel=1e-5)
    rows = [(row["epoch"], row["layer"]) for row in report.history]
    assert rows == [(e, name) for e in (0, 1) for name in ("first", "activations and add_loss")]
    assert report.history[2]["penalty"] == pytest.approx(first, rel=1e-5)
    assert report.history[3]["penalty"] == pytest.approx(other, rel=1e-4)
    assert report.history[2]["share"] == pytest.approx(first / (data + first + other), rel=1e-5)
    assert report.summary().splitlines()[1].split()[0] == "first"


def test_it_is_in_every_log_and_leaves_no_trace(tmp_path):
    plain, watched = model_of(), model_of()
    watched.set_weights(plain.get_weights())
    settings = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    expected = plain.fit(X, Y, **settings).history
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    report = kr.callbacks.PenaltyReport()
    found = watched.fit(X, Y, callbacks=[log, saved, report], **settings).history
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["data_loss"]) for row in rows] == pytest.approx(found["data_loss"])
    for ours, theirs in zip(watched.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert "compute_loss" not in vars(watched)
    assert "data_loss" not in watched.fit(X, Y, **settings).history
    assert set(keras.saving.load_model(tmp_path / "2.keras").evaluate(X, Y, verbose=0, return_dict=True)) == {
        "loss"
    }


def test_evaluate_by_itself_and_a_fit_that_failed():
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model, report = model_of(rate=0.0), kr.callbacks.PenaltyReport()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, callbacks=[report, Fails()], verbose=0)
    again = kr.callbacks.PenaltyReport()
    logs = model.evaluate(X, Y, callbacks=[again], verbose=0, return_dict=True)
    assert logs["data_loss"] == pytest.approx(((array(model(X)) - Y) ** 2).mean(), rel=1e-5)
    assert set(model.evaluate(X, Y, verbose=0, return_dict=True)) == {"loss"}


class CountsTraces(keras.Sequential):
    """How often its training step was traced."""

    traced = 0

    def train_step(self, *args):
        self.traced_once()
        return super().train_step(*args)

    @classmethod
    def traced_once(cls):
        cls.traced += 1


def test_a_step_is_compiled_once_for_any_number_of_reports_and_anew_after_a_change():
    CountsTraces.traced = 0
    model = CountsTraces([keras.Input((3,)), keras.layers.Dense(1, name="last")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    settings = {"batch_size": 6, "validation_data": (X, Y), "verbose": 0}

    def reported():
        report = kr.callbacks.PenaltyReport()
        logs = model.fit(X, Y, callbacks=[report], **settings).history
        return logs, report.history

    (first, _), (again, _) = reported(), reported()
    once = CountsTraces.traced
    assert {
        name: pytest.approx(values) for name, values in first.items()
    } == again  # XLA may round a last bit
    plain = model.fit(X, Y, **settings).history
    assert set(plain) == {"loss", "val_loss"}
    both = CountsTraces.traced
    assert {name: pytest.approx(values) for name, values in first.items()} == reported()[0]
    model.fit(X, Y, **settings)
    if keras.backend.backend() == "tensorflow":
        assert CountsTraces.traced == both > once > 0
    # A penalty that comes with the steps made anew is in force, and seen.
    kr.regularize(model, {"last/kernel": kr.regularizers.L2(1.0)})
    logs, rows = reported()
    penalty = float((array(model.layers[0].kernel.value) ** 2).sum())
    assert logs["loss"][0] - logs["data_loss"][0] == pytest.approx(penalty, rel=1e-4)
    assert [row["layer"] for row in rows] == ["last"]
    model.compile(keras.optimizers.SGD(0.0), "mae")
    assert reported()[0]["data_loss"][0] == pytest.approx(np.abs(array(model(X)) - Y).mean(), rel=1e-5)


def test_what_a_callback_changes_in_the_middle_of_a_fit_stays():
    class Regularize(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                kr.regularize(self.model, {"last/kernel": kr.regularizers.L2(1.0)})

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="last")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    settings = {"batch_size": 6, "shuffle": False, "verbose": 0}
    model.fit(X, Y, **settings)
    report = kr.callbacks.PenaltyReport()
    before, during = model.fit(X, Y, epochs=2, callbacks=[report, Regularize()], **settings).history["loss"]
    assert during > before
    after = model.fit(X, Y, **settings).history["loss"]
    assert after == pytest.approx([during], rel=1e-6)
