"""Real trainings, sick and healthy, under `ActivationStats`: what it says, once, and when it stops them."""

import keras
import numpy as np
import pytest
from backend_tools import array
from model_zoo import HEALTHY as HEALTHY_MODELS
from training_zoo import HEALTHY, SICK, Run, digits, flat, hidden, mlp

import kerasreg as kr
from kerasreg._core.kernels import kernels_of
from kerasreg.diagnostics.measures import kernel_figures
from kerasreg.diagnostics.training.kernels import kernel_rows, still_stuck

L = keras.layers
# The whole zoo is trained by `python -m benchmarks.diagnosis`.
SOME_SICK = (
    "a_learning_rate_a_hundred_times_too_high",
    "six_sigmoids",
    "a_batch_norm_that_never_learns",
    "a_row_of_nan",
    "targets_with_nan",
    "bytes_as_they_are",
    "all_weights_alike",
    "biases_that_silence_most_units",
)
SOME_HEALTHY = ("relu_with_momentum", "tanh", "batch_norm_with_validation", "convolutions", "embedded_shades")


@pytest.fixture(scope="module")
def data():
    return digits(640)


@pytest.mark.parametrize("name", SOME_SICK)
def test_a_sick_training_is_found_out_at_the_right_layer(name, data, capsys):
    run = SICK[name](*data)
    stats = run.train(epochs=3, every=2)
    found = [finding for finding in stats.findings if finding.code == run.code]
    assert found, stats.findings
    assert found[0].layer in run.layers
    assert found[0].severity in ("warning", "error")
    assert found[0].step is not None
    assert any(character.isdigit() for character in found[0].message)
    # Said once, at the end of the epoch in which it arose.
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count(f"{run.code} in {found[0].layer}:") == 1
    assert printed.count(" ".join(found[0].remedy.split())) >= 1 or found[0].cleared is not None


@pytest.mark.parametrize("name", SOME_HEALTHY)
def test_a_healthy_training_is_left_in_peace(name, data, capsys):
    stats = HEALTHY[name](*data).train(epochs=3, every=2)
    assert [f for f in stats.findings if f.severity != "note"] == []
    assert "warning" not in capsys.readouterr().out


def test_a_residual_net_that_starts_at_zero_is_left_in_peace():
    case = HEALTHY_MODELS["residual_branches_that_end_at_zero"]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    case.model.compile(keras.optimizers.Adam(3e-3), loss)
    stats = Run(case.model, case.x, case.y).train(epochs=2, every=1, batch_size=16)
    assert stats.findings == []


def sick_and_long(data, **arguments):
    run = SICK["all_weights_alike"](*data)
    seen = []
    run.fit["callbacks"] = [
        stats := kr.callbacks.ActivationStats(every=2, **arguments),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)),
    ]
    run.model.fit(run.x[:192], run.y[:192], epochs=4, batch_size=32, verbose=0, **run.fit)
    return stats, seen


def test_stop_on_ends_the_training_with_the_reason(data, capsys):
    stats, seen = sick_and_long(data, stop_on="error")
    assert seen == [0]
    assert stats.findings[0].code == "symmetric-units"
    assert "Training stops here: symmetric-units in h0, and stop_on='error'." in capsys.readouterr().out


def test_without_stop_on_the_training_goes_on_and_without_diagnose_nothing_is_said(data, capsys):
    stats, seen = sick_and_long(data)
    assert seen == [0, 1, 2, 3]
    assert "Training stops" not in capsys.readouterr().out
    stats, seen = sick_and_long(data, diagnose=False)
    assert stats.findings == []
    assert capsys.readouterr().out == ""


def test_a_loss_that_is_no_number_stops_at_once(data):
    run = SICK["targets_with_nan"](*data)
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    stats = kr.callbacks.ActivationStats(every=1, stop_on="error")
    run.model.fit(run.x, run.y, batch_size=32, epochs=3, verbose=0, shuffle=False, callbacks=[stats, count])
    assert len(steps) == 1
    assert [(f.layer, f.code) for f in stats.findings] == [("loss", "non-finite")]


@pytest.mark.parametrize("bad", ["fatal", "note", 1, True])
def test_stop_on_takes_a_severity(bad):
    with pytest.raises(ValueError, match="`stop_on` of ActivationStats must be 'error', 'warning' or None"):
        kr.callbacks.ActivationStats(stop_on=bad)


def test_the_update_is_what_the_optimizer_did_to_the_weights(data):
    x, y = flat(data[0])[:64], data[1][:64]
    model = mlp(x, hidden(1), keras.optimizers.SGD(0.05))
    before = array(model.get_layer("h0").kernel.value), array(model.get_layer("h0").bias.value)
    stats = Run(model, x, y).train(epochs=1, every=1)
    after = array(model.get_layer("h0").kernel.value), array(model.get_layer("h0").bias.value)
    size = np.sqrt(sum(np.square(v).sum() for v in before))
    change = np.sqrt(sum(np.square(v - w).sum() for v, w in zip(after, before, strict=True)))
    (row,) = [row for row in stats.history if row["layer"] == "h0"]
    assert row["update_ratio"] == pytest.approx(change / size, rel=1e-4)
    assert row["update_ratio"] == pytest.approx(0.05 * row["gradient_norm"] / row["weight_norm"], rel=1e-4)
    outputs = np.maximum(flat(data[0])[:64] @ before[0] + before[1], 0)
    ranges = outputs.max(axis=0) - outputs.min(axis=0)
    assert row["range"] == pytest.approx(np.sqrt(np.mean(ranges**2)), rel=1e-4)


def watched(model, x, y=None):
    stats = kr.callbacks.ActivationStats(every=1)
    rows = len(keras.tree.flatten(x)[0])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((rows, 2)) if y is None else y, batch_size=rows, verbose=0, callbacks=[stats])
    return stats._observer.inputs


def test_the_inputs_and_what_the_first_layers_read_are_measured():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(3.0, 2.0, (32, n)).astype("float32") for n in (5, 4))
    ids = rng.integers(0, 9, (32, 3))
    first, second, third = keras.Input((5,)), keras.Input((4,)), keras.Input((3,), dtype="int32")
    words = L.Flatten()(L.Embedding(9, 2)(third))
    joined = L.Concatenate()([L.Dense(3, name="on_a")(first), L.Dense(3, name="on_b")(second), words])
    inputs = watched(keras.Model([first, second, third], L.Dense(2, name="out")(joined)), [a, b, ids])
    assert set(inputs.given) == {0, 1}
    for given, x in ((inputs.given[0], a), (inputs.given[1], b)):
        np.testing.assert_allclose(given.means, x.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(given.deviations, x.std(axis=0), rtol=1e-4)
        assert given.nonfinite == 0
    assert set(inputs.read) == {"on_a", "on_b"}


def test_what_a_rescaling_has_put_right_is_what_the_first_layer_reads():
    x = np.random.default_rng(0).uniform(0, 255, (32, 4, 4, 3)).astype("uint8")
    layers = [L.Rescaling(1 / 255), L.Conv2D(2, 3, name="conv"), L.Flatten(), L.Dense(2)]
    inputs = watched(keras.Sequential([keras.Input((4, 4, 3), dtype="uint8"), *layers]), x)
    np.testing.assert_allclose(inputs.read["conv"].means, x.mean(axis=(0, 1, 2)) / 255, rtol=1e-4)
    np.testing.assert_allclose(inputs.given[0].means, x.mean(axis=(0, 1, 2)), rtol=1e-4)


def test_kernels_measured_on_the_host_are_those_of_a_check():
    start = keras.Input((8, 8, 6))
    x = L.DepthwiseConv2D(3)(start)
    x = L.Conv2DTranspose(4, 3)(L.SeparableConv2D(4, 3)(x))
    model = keras.Model(start, L.Dense(3)(L.LSTM(5)(L.Reshape((-1, 4))(x))))
    model.layers[1].kernel.assign(np.full((3, 3, 6, 1), 0.2))
    rows = {(row.layer, row.kernel): row for row in kernel_rows(model)}
    assert len(rows) == 6
    for layer in model.layers:
        for kernel in kernels_of(layer):
            row, figures = rows[layer.name, kernel.attribute], kernel_figures(kernel)
            assert row.mean == pytest.approx(float(figures["mean"]), abs=1e-6)
            assert row.std**2 + row.mean**2 == pytest.approx(float(figures["square"]), rel=1e-4)
            assert row.largest == pytest.approx(max(float(figures["high"]), -float(figures["low"])))
            np.testing.assert_allclose(
                row.signature.reshape(2, -1), array(figures["signature"])[:2], rtol=1e-3, atol=1e-4
            )
    assert rows[model.layers[1].name, "kernel"].constant


def test_only_what_still_is_alike_is_stuck():
    model = keras.Sequential([keras.Input((4,)), *(L.Dense(6, "relu", name=n) for n in "ab"), L.Dense(2)])
    for name in "ab":
        model.get_layer(name).kernel.assign(np.ones(model.get_layer(name).kernel.shape))
    began = kernel_rows(model)
    assert still_stuck(model, began) == {"a", "b"}
    model.get_layer("b").kernel.assign(np.random.default_rng(0).normal(size=(6, 6)))
    assert still_stuck(model, began) == {"a"}
