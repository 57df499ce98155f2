"""What holds for the verbs on a whole model, whatever the model: small stacks of layers, drawn at random."""

import json

import keras
import numpy as np
import pytest
from backend_tools import array
from drawing import THOROUGH, examples, numbers, seeds
from hypothesis import given
from hypothesis import strategies as st

import kerasreg as kr

L = keras.layers
CLASSES = 3
ROWS = 6


def batch_norm(draw):
    kind = draw(st.sampled_from([L.BatchNormalization, kr.layers.BatchNormalization]))
    return kind(center=draw(st.booleans()), scale=draw(st.booleans()))


def dropout(draw):
    kind = draw(st.sampled_from([L.Dropout, kr.layers.Dropout, kr.layers.GaussianDropout]))
    return kind(draw(st.floats(0.1, 0.6)))


def model_of(draw):
    """A stack with at least one kernel, one batch norm and one dropout, its weights as after a training."""
    image = draw(st.booleans())
    linear = {
        True: lambda: L.Conv2D(
            draw(st.integers(1, 4)), draw(st.integers(1, 3)), padding="same", use_bias=draw(st.booleans())
        ),
        False: lambda: L.Dense(draw(st.integers(1, 6)), use_bias=draw(st.booleans())),
    }[image]
    makers = {
        "linear": linear,
        "active": lambda: L.Activation(draw(st.sampled_from(["relu", "tanh", "gelu"]))),
        "norm": lambda: batch_norm(draw),
        "drop": lambda: dropout(draw),
    }
    middle = draw(st.lists(st.sampled_from(list(makers)), max_size=3 if not THOROUGH else 8))
    stack = [makers[kind]() for kind in ("linear", "norm", *middle, "drop")]
    ending = [L.Flatten()] if image else []
    shape = (draw(st.integers(2, 5)), draw(st.integers(2, 5)), 2) if image else (draw(st.integers(1, 6)),)
    model = keras.Sequential([keras.Input(shape), *stack, *ending, L.Dense(CLASSES, "softmax")])
    rng = np.random.default_rng(draw(numbers))
    for variable in model.weights:
        positive = "variance" in variable.path or "gamma" in variable.path
        value = rng.normal(0.3, 0.7, variable.shape)
        variable.assign(0.5 + np.abs(value) if positive else value)
    return model, rng.normal(1.0, 2.0, (ROWS, *shape)).astype("float32"), rng


def same(model, before):
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def close(a, b, tolerance=1e-4):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def run(model, x):
    return array(model(x, training=False))


@examples(4)
@given(data=st.data(), target=st.floats(0.1, 5), per_channel=st.booleans())
def test_calibrate_gives_what_it_says_and_takes_it_back(data, target, per_channel):
    model, x, _ = model_of(data.draw)
    before = model.get_weights()
    try:
        told = kr.calibrate(model, x, target, per_channel, dry_run=True)
    except ValueError as error:
        # Where biases alone are above the target, no scale of a kernel reaches it.
        assert "its bias alone" in str(error)  # noqa: PT017
        same(model, before)
        return
    same(model, before)
    report = kr.calibrate(model, x, target, per_channel)
    assert [row.scale for row in report.rows] == [row.scale for row in told.rows]
    assert all(row.after == pytest.approx(row.target, rel=1e-3) for row in report.calibrated)
    assert all(row.scale is None or row.scale > 0 for row in report.rows)
    kernels = {id(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")}
    for variable, value in zip(model.weights, before, strict=True):
        if id(variable) not in kernels:
            np.testing.assert_array_equal(array(variable), value)
    json.dumps(report.to_dict())
    if report.calibrated:
        report.undo()
    same(model, before)


@examples(3)
@given(data=st.data())
def test_looking_changes_nothing(data):
    model, x, rng = model_of(data.draw)
    before, labels = model.get_weights(), rng.integers(0, CLASSES, ROWS)
    model.compile("sgd", "sparse_categorical_crossentropy")
    report = kr.check(model, x, labels)
    assert {finding.severity for finding in report.findings} <= {"error", "warning"}
    json.dumps(report.to_dict())
    assert [finding.to_dict() for finding in kr.check(model, x, labels).findings] == [
        finding.to_dict() for finding in report.findings
    ]
    first, second = (
        kr.diagnostics.loss_sensitivity(model, x, labels, scale=0.1, repeats=2, seed=3) for _ in range(2)
    )
    assert first == second
    assert first.mean >= 0
    same(model, before)


@examples(4)
@given(data=st.data(), size=st.integers(2, ROWS))
def test_statistics_are_measured_held_and_folded(data, size):
    model, x, _ = model_of(data.draw)
    norms = [layer for layer in model.layers if isinstance(layer, L.BatchNormalization)]
    before = [array(weight) for weight in model.trainable_weights]
    kr.reestimate(model, x, batch_size=size)
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(array(weight), value)
    # What reaches the first batch norm is the same in any batches: its values, all at once.
    inputs = x
    for layer in model.layers[: model.layers.index(norms[0])]:
        inputs = array(layer(inputs))
    axes = tuple(range(inputs.ndim - 1))
    close(array(norms[0].moving_mean), inputs.mean(axes), 1e-3)
    close(array(norms[0].moving_variance), inputs.var(axes), 1e-3)

    expected, kept = run(model, x), model.get_weights()
    folded, report = kr.fold_batch_norm(model, report=True)
    close(run(folded, x), expected, 1e-3)
    assert len(folded.layers) <= len(model.layers)
    assert str(report)
    same(model, kept)

    kr.freeze_batch_norm(model)
    model(x, training=True)
    for weight, value in zip(model.weights, kept, strict=True):
        if "moving" in weight.path:
            np.testing.assert_array_equal(array(weight), value)
    close(run(model, x), expected)


@examples(4)
@given(data=st.data())
def test_other_models_of_the_same_outputs(data):
    model, x, rng = model_of(data.draw)
    # Half of the units of every hidden layer are given nothing.
    for layer in model.layers[:-1]:
        if hasattr(layer, "kernel"):
            kernel = array(layer.kernel) * (rng.uniform(size=layer.kernel.shape[-1]) < 0.5)
            layer.kernel.assign(kernel)
    expected, kept = run(model, x), model.get_weights()
    small, report = kr.shrink(model, report=True)
    close(run(small, x), expected, 1e-3)
    assert small.count_params() <= model.count_params()
    assert str(report)
    plain, report = kr.to_keras(model, report=True)
    np.testing.assert_allclose(run(plain, x), expected, rtol=1e-4, atol=1e-5)
    assert not any(type(layer).__module__.startswith("kerasreg") for layer in plain.layers)
    assert str(report)
    same(model, kept)
    again = keras.Sequential.from_config(plain.get_config())
    again.set_weights(plain.get_weights())
    close(run(again, x), expected)


@examples(4)
@given(data=st.data(), strength=st.floats(1e-3, 1), decay=st.floats(1e-3, 0.1))
def test_penalties_and_decay_are_those_of_the_paths(data, strength, decay):
    model, *_ = model_of(data.draw)
    kr.regularize(model, {"*/kernel": kr.regularizers.L2(strength), "*/bias": kr.regularizers.L1(strength)})
    kernels = [array(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")]
    biases = [array(layer.bias) for layer in model.layers if getattr(layer, "bias", None) is not None]
    wanted = strength * (sum((k**2).sum() for k in kernels) + sum(np.abs(b).sum() for b in biases))
    assert sum(float(array(loss)) for loss in model.losses) == pytest.approx(wanted, rel=1e-4)

    optimizer = keras.optimizers.AdamW(learning_rate=0.1, weight_decay=decay)
    kr.decay_exclusions(optimizer, model, ["*/bias"])
    optimizer.build(model.trainable_variables)
    before = [array(weight) for weight in model.trainable_weights]
    optimizer.apply([keras.ops.zeros(w.shape) for w in model.trainable_weights], model.trainable_variables)
    for weight, value in zip(model.trainable_weights, before, strict=True):
        left = 1.0 if weight.path.endswith("bias") else 1.0 - 0.1 * decay
        np.testing.assert_allclose(array(weight), left * value, rtol=1e-5, atol=1e-7)


@examples(2)
@given(data=st.data(), seed=seeds, size=st.integers(1, ROWS))
def test_random_passes_are_those_of_their_seed_whatever_the_batches(data, seed, size):
    model, x, _ = model_of(data.draw)
    kept = model.get_weights()
    whole = kr.mc_predict(model, x, samples=6, seed=seed, return_samples=True, verbose=0)
    assert isinstance(whole, kr.uncertainty.Prediction)
    assert whole.samples.shape == (6, ROWS, CLASSES)
    close(whole.mean, whole.samples.mean(0), 1e-5)
    close(whole.variance, whole.samples.var(0), 1e-5)
    close(whole.expected_entropy + whole.mutual_information, whole.entropy, 1e-4)
    assert (whole.variance >= 0).all()
    parts = kr.mc_predict(model, x, samples=6, batch_size=size, seed=seed, verbose=0)
    close(parts.mean, whole.mean)
    close(parts.variance, whole.variance)
    same(model, kept)


@examples(1)
@given(seed=seeds, data=st.data())
def test_views_that_change_nothing_are_the_prediction(seed, data):
    # One shape of images, so that one compiled pass serves.
    rng = np.random.default_rng(data.draw(numbers))
    model = keras.Sequential([keras.Input((4, 5, 2)), L.Conv2D(2, 1)])
    x = rng.uniform(0, 1, (3, 4, 5, 2)).astype("float32")
    flips = [kr.augment.RandomFlip("both", probability=data.draw(st.sampled_from([0.0, 0.5])))]
    pipeline = kr.augment.Pipeline(flips, value_range=(0, 1))
    found = kr.tta_predict(model, x, pipeline, samples=3, seed=seed, dense=True, verbose=0)
    # A convolution of single pixels knows no places: led back, all views agree.
    close(found.mean, run(model, x), 1e-4)
    close(found.variance, 0, 1e-5)
    assert (found.votes == 3).all()


@examples(2)
@given(data=st.data())
def test_watching_a_fit_changes_no_weight(data):
    model, x, rng = model_of(data.draw)
    labels, start = rng.integers(0, CLASSES, ROWS), model.get_weights()
    ends, callbacks = [], []
    for watched in (False, True):
        model.set_weights(start)
        for layer in model.layers:
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator.state.assign([7, 0])
        model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
        if watched:
            callbacks = [kr.callbacks.ActivationStats(every=1, gradients=True, diagnose=False)]
            callbacks.append(kr.callbacks.PenaltyReport())
        model.fit(x, labels, batch_size=3, shuffle=False, verbose=0, callbacks=callbacks)
        ends.append(model.get_weights())
    for a, b in zip(*ends, strict=True):
        # A compiler may fuse an observed step otherwise, and round a last bit otherwise.
        close(a, b, 1e-6)
    stats, penalties = callbacks
    assert {row["step"] for row in stats.history} == {0, 1}
    for row in stats.history:
        assert 0 <= row["zeros"] <= 1
        assert row["min"] <= row["mean"] <= row["max"]
        assert row["rms"] ** 2 == pytest.approx(row["mean"] ** 2 + row["std"] ** 2, rel=1e-3, abs=1e-6)
    assert penalties.history == []


LABELS = {
    *(
        f"kerasreg.{verb}"
        for verb in (
            *("calibrate", "check", "reestimate", "freeze_batch_norm", "fold_batch_norm", "shrink"),
            *("to_keras", "regularize", "decay_exclusions", "mc_predict", "tta_predict"),
        )
    ),
    "diagnostics.loss_sensitivity",
    "diagnostics.LossSensitivity",
    "diagnostics.Report",
    "diagnostics.Finding",
    "initialization.CalibrationReport",
    "initialization.CalibratedKernel",
    "batch_norm.FoldReport",
    "sparsity.ShrinkReport",
    "migration.MigrationReport",
    "uncertainty.Prediction",
    "callbacks.ActivationStats",
    "callbacks.PenaltyReport",
}
