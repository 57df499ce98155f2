"""The zoo: every sick model is found out, at the right layer; of the healthy ones nothing is said."""

import json

import keras
import numpy as np
import pytest
from backend_tools import array
from model_zoo import FAULTS, HEALTHY, SICK, Case, cnn, conv, hidden, images, mlp, rows

import kerasreg as kr
from kerasreg.diagnostics.probe import Probe

L = keras.layers
CODES = {
    "zero-kernel",
    "symmetric-units",
    "duplicate-kernels",
    "vanishing-signal",
    "exploding-signal",
    "dead-units",
    "saturated-units",
    "wrong-fan",
    "unnormalized-input",
    "batch-norm-drift",
}


def state(model):
    return [array(v) for v in model.variables]


def found(report):
    return {(finding.code, finding.layer) for finding in report.findings}


@pytest.mark.parametrize("name", SICK)
def test_a_sick_model_is_found_out_at_the_right_layer(name):
    case = SICK[name]()
    before = state(case.model)
    report = kr.check(case.model, case.x)
    assert found(report) == case.findings, str(report)
    for finding in report.findings:
        assert finding.severity in ("error", "warning")
        assert f"'{finding.layer}'" in finding.message
        assert any(character.isdigit() for character in finding.message)
        assert finding.remedy.endswith(".")
    for variable, old in zip(case.model.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), old)


def test_the_zoo_has_each_code_twice_and_models_enough():
    assert list(FAULTS) == list(SICK)
    codes = [code for faults in FAULTS.values() for code, _ in faults]
    assert set(codes) == CODES
    assert min(codes.count(code) for code in CODES) >= 2
    assert len(SICK) >= 24
    assert len(HEALTHY) >= 16


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_is_left_in_peace(name):
    case = HEALTHY[name]()
    report = kr.check(case.model, case.x)
    assert report.ok, str(report)
    assert report.figures.kernels
    assert not report.figures.skipped


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_trains(name):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the models are the same; eager steps are slow on JAX")
    case = HEALTHY[name]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    case.model.compile(keras.optimizers.Adam(3e-3), loss, run_eagerly=True)
    first = float(case.model.train_on_batch(case.x, case.y))
    for _ in range(20):
        last = float(case.model.train_on_batch(case.x, case.y))
    assert last < 0.97 * first


def compiled(case: Case):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    case.model.compile("adam", loss)
    return case


@pytest.mark.parametrize(
    "name", ["thirty_calibrated_layers", "residual_branches_that_end_at_zero", "a_transformer", "an_lstm"]
)
def test_a_healthy_models_gradient_is_left_in_peace_too(name):
    case = compiled(HEALTHY[name]())
    before = state(case.model)
    report = kr.check(case.model, case.x, case.y)
    assert report.ok, str(report)
    for variable, old in zip(case.model.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), old)


def gradient_norms(model, x, y):
    """The norms by the backend's own differentiation, with no code of kerasreg's."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if keras.backend.backend() == "jax":
        import jax

        def value(values):
            outputs, _ = model.stateless_call(values, [v.value for v in model.non_trainable_variables], x)
            return loss(y, outputs)

        gradients = jax.grad(value)([v.value for v in model.trainable_variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=False))
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
    return {
        v.path: float(np.linalg.norm(array(keras.ops.convert_to_tensor(g))))
        for v, g in zip(model.trainable_variables, gradients, strict=True)
    }


def test_the_gradients_are_those_of_the_loss():
    case = compiled(HEALTHY["convolutions_with_batch_norm"]())
    for _ in range(2):  # a batch norm that has learned nothing would use the batch's statistics
        case.model(case.x, training=True)
    report = kr.check(case.model, case.x, case.y)
    expected = gradient_norms(case.model, case.x, case.y)
    for row in report.figures.kernels:
        path = next(path for path in expected if path.endswith(f"{row.layer}/kernel"))
        assert row.gradient == pytest.approx(expected[path], rel=1e-3)
    outputs = case.model(case.x, training=False)
    assert report.figures.loss == pytest.approx(float(case.model.loss(case.y, outputs)), rel=1e-4)


def test_a_gradient_that_is_lost_is_found_where_the_signal_is_not():
    # tanh of large sums: the signal goes on, the gradient does not.
    wide = keras.initializers.RandomNormal(stddev=0.9, seed=1)
    layers = [hidden(f"h{i}", wide if i else "he_normal", units=64, activation="softsign") for i in range(10)]
    tiny = [L.Rescaling(1e-7), hidden("late", keras.initializers.RandomNormal(stddev=3e6), units=8)]
    case = mlp([hidden("early"), *tiny, *layers[:1]])
    x, y = rows()
    case.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    figures = kr.check(case, x, y).figures.kernels
    # The kernel that multiplies a tiny input has a tiny gradient.
    late = next(row for row in figures if row.layer == "late")
    assert late.gradient < 1e-6 * max(row.gradient for row in figures)
    assert ("vanishing-signal", "late") in found(kr.check(case, x, y))


def test_without_correlation_the_prediction_is_what_is_measured():
    x = np.random.default_rng(1).normal(size=(512, 256)).astype("float32")
    for initializer in (
        "he_normal",
        "glorot_uniform",
        "lecun_normal",
        keras.initializers.RandomNormal(stddev=0.3),
    ):
        model = mlp([hidden("h", initializer, units=256)], features=256)
        row = kr.check(model, x).figures.kernels[0]
        assert row.predicted_rms**2 == pytest.approx(row.output_rms**2, rel=0.1)
        kernel = array(model.get_layer("h").kernel)
        assert row.predicted_rms**2 == pytest.approx(256 * kernel.var() * np.square(x).mean(), rel=1e-4)
        assert row.output_rms**2 == pytest.approx(np.square(x @ kernel).mean(), rel=1e-4)


def test_the_figures_are_numpys():
    x, _ = rows()
    model = mlp([hidden("h0"), hidden("h1", activation="tanh")])
    first, second, last = kr.check(model, x).figures.kernels
    w0, w1 = (array(model.get_layer(name).kernel) for name in ("h0", "h1"))
    a0 = np.maximum(x @ w0, 0)
    s1 = a0 @ w1
    assert first.std == pytest.approx(w0.std(), rel=1e-5)
    assert first.mean == pytest.approx(w0.mean(), abs=1e-6)
    assert first.largest == pytest.approx(np.abs(w0).max(), rel=1e-6)
    assert first.dead == pytest.approx((a0.max(axis=0) == 0).mean())
    assert second.input_rms == pytest.approx(np.sqrt(np.square(a0).mean()), rel=1e-4)
    assert second.input_variation == pytest.approx(np.sqrt(a0.var(axis=0).mean()), rel=1e-4)
    assert second.output_rms == pytest.approx(np.sqrt(np.square(s1).mean()), rel=1e-4)
    assert second.output_variation == pytest.approx(np.sqrt(s1.var(axis=0).mean()), rel=1e-4)
    assert second.saturated == pytest.approx((np.abs(np.tanh(s1)) >= 0.97).mean(), abs=1e-3)
    assert (first.distinct_units, second.distinct_units, last.distinct_units) == (32, 32, 3)
    assert (first.output, last.output) == (False, True)


def test_a_new_batch_norm_is_not_looked_at_and_a_trained_one_is_healthy():
    x, _y = images()
    model = cnn([conv("c0", activation=None), L.BatchNormalization(momentum=0.5, name="norm"), L.ReLU()])
    assert kr.check(model, x).figures.norms[0].untouched
    for _ in range(20):
        model(x, training=True)
    report = kr.check(model, x)
    assert report.ok
    assert not report.figures.norms[0].untouched
    assert report.figures.norms[0].shift < 0.01
    assert found(kr.check(model, 3.0 * x + 2.0)) == {("batch-norm-drift", "norm")}


def test_nothing_is_changed_neither_by_dropout_nor_by_an_error():
    norm, drop = L.BatchNormalization(), kr.layers.Dropout(0.5, mc=True)
    model = mlp([hidden("h0"), norm, drop, L.Dropout(0.3), hidden("h1")])
    x, y = rows()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(x, y % 3)
    before = state(model)
    optimizer = [array(v) for v in model.optimizer.variables]
    activations = [layer.activation for layer in (model.get_layer("h0"), model.get_layer("h1"))]
    kr.check(model, x, y)
    with pytest.raises(ValueError, match=r"`x` of check.*inputs, \[\(None, 16\)\], got shapes \[\(4, 5\)\]"):
        kr.check(model, np.ones((4, 5), "float32"))
    # An error from inside the compiled pass.
    with pytest.raises((ValueError, TypeError)):
        kr.check(model, x, np.ones((64, 2, 2), "float32"))
    for old, variable in zip(
        [*before, *optimizer], [*model.variables, *model.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(array(variable), old)
    assert [layer.activation for layer in (model.get_layer("h0"), model.get_layer("h1"))] == activations


def test_a_second_look_compiles_nothing_and_sees_what_has_changed():
    x, _y = rows()
    model = mlp([hidden("h0"), hidden("h1")])
    kr.check(model, x)
    kept = Probe.of(model, x, None)
    assert found(kr.check(model, x)) == set()
    model.get_layer("h1").kernel.assign(model.get_layer("h1").kernel * 0)
    assert found(kr.check(model, x)) == {("zero-kernel", "h1")}
    assert Probe.of(model, x, None) is kept


def test_the_model_can_be_forgotten():
    import gc
    import weakref

    x, _ = rows()
    model = mlp([hidden("h0")])
    kr.check(model, x)
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


def test_the_report_is_a_table_plain_data_and_a_picture(tmp_path):
    case = compiled(SICK["small_normal_weights"]())
    report = kr.check(case.model, case.x, case.y)
    text = str(report)
    assert text.startswith("error vanishing-signal in h2: Dense 'h2':")
    assert "kr.initializers.Calibrated('relu')" in text
    assert [line.split()[0] for line in text.splitlines()[-13:]] == [*[f"h{i}" for i in range(12)], "out"]
    data = json.loads(json.dumps(report.to_dict()))
    assert data["findings"][0]["code"] == "vanishing-signal"
    assert data["figures"]["kernels"][0]["layer"] == "h0"
    figure = report.plot(tmp_path / "check.png")
    assert len(figure.axes) == 2
    measured = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(measured, [row.output_rms for row in report.figures.kernels])
    assert (tmp_path / "check.png").stat().st_size > 5000
    assert len(kr.check(case.model, case.x).plot().axes) == 1


def test_what_a_logarithm_cannot_show_is_marked_on_the_edge(tmp_path):
    x, y = rows()
    model = compiled(Case(mlp([hidden("h0"), hidden("h1", "zeros"), hidden("h2")]), x, y)).model
    kernel = array(model.get_layer("h2").kernel).copy()
    kernel[0, 0] = np.inf
    figures = kr.check(model, x, y)
    signal, gradient = figures.plot(tmp_path / "zeros.png").axes
    marks = {line.get_marker(): list(line.get_xdata()) for line in signal.lines if line.get_color() == "C0"}
    assert marks["v"] == [1, 2, 3]
    assert len(signal.patches) == 1  # the layer with a finding
    marks = {line.get_marker(): list(line.get_xdata()) for line in gradient.lines}
    assert marks["v"] == [0, 1, 2, 3]
    model.get_layer("h2").kernel.assign(kernel)
    model.get_layer("h1").kernel.assign(np.ones((32, 32)))
    signal, _ = kr.check(model, x, y).plot(tmp_path / "infinite.png").axes
    marks = {line.get_marker(): list(line.get_xdata()) for line in signal.lines if line.get_color() == "C0"}
    assert marks["^"] == [2, 3]


def test_what_was_not_seen_is_named():
    x = np.random.default_rng(0).normal(size=(8, 3, 6, 6, 1)).astype("float32")
    layers = [L.ConvLSTM2D(2, 3, name="lstm"), L.Flatten(), L.Dense(2, name="out")]
    report = kr.check(keras.Sequential([keras.Input((3, 6, 6, 1)), *layers]), x)
    assert list(report.figures.skipped) == ["lstm/conv_lstm_cell"]
    assert "not seen: lstm/conv_lstm_cell: it runs inside a loop" in str(report)


def test_a_layer_with_lora_weights_is_looked_at():
    model = mlp([hidden("h0"), hidden("h1")])
    model.get_layer("h1").enable_lora(2)
    report = kr.check(model, rows()[0])
    assert report.ok
    assert [row.frozen for row in report.figures.kernels] == [False, True, False]


def test_another_loss_gives_another_gradient():
    x, y = rows()
    model = mlp([hidden("h0")])
    losses = []
    for weight in (1.0, 3.0):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, loss_weights=weight)
        losses.append(kr.check(model, x, y).figures.loss)
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5)


def test_the_message_names_the_fault_and_the_edit_that_cures_it():
    report = kr.check(*(lambda case: (case.model, case.x))(SICK["constant_hidden_layer"]()))
    (finding,) = report.findings
    assert finding.message == "Dense 'h1': all 32 units compute the same; its kernel is constant."
    assert finding.remedy == "Use kernel_initializer=kr.initializers.Calibrated('relu')."


@pytest.mark.parametrize(
    ("model", "x", "y", "argument"),
    [
        (keras.Sequential([L.Dense(2)]), np.ones((4, 3)), None, "model"),
        ("model", np.ones((4, 3)), None, "model"),
        (None, np.ones((1, 16)), None, "x"),
        (None, np.full((4, 16), np.inf), None, "x"),
        (None, np.ones((4, 16)), np.zeros(4), "model"),
    ],
)
def test_bad_input_is_one_sentence(model, x, y, argument):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        kr.check(mlp([]) if model is None else model, x, y)
    sentence = str(caught.value)
    assert sentence.startswith(f"Argument `{argument}` of check must be ")
    assert sentence.endswith(".")


def test_targets_with_other_rows_are_refused():
    model = mlp([])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"`y` of check.*row for each row of x, got \[3, 4\]"):
        kr.check(model, np.ones((4, 16)), np.zeros((3, 3)))


def test_weights_that_are_not_finite_are_an_error_at_their_layer():
    model = mlp([hidden("h0"), hidden("h1"), hidden("h2")])
    kernel = array(model.get_layer("h1").kernel).copy()
    kernel[3, 3] = np.nan
    model.get_layer("h1").kernel.assign(kernel)
    report = kr.check(model, rows()[0])
    assert found(report) == {("non-finite", "h1")}
