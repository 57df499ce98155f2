"""The temperature against SciPy's minimiser; the argmax against logits a rounding apart."""

import keras
import numpy as np
import pytest
from backend_tools import array, wide_numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

import kerasreg as kr

TemperatureScaling = kr.uncertainty.TemperatureScaling


def overconfident(rng, rows=400, classes=4, factor=3.0):
    """Logits that are `factor` times what the labels were drawn from."""
    logits = rng.normal(size=(rows, classes)) * 1.5
    p = np.exp(log_softmax(logits, axis=1))
    labels = (p.cumsum(1) < rng.uniform(size=(rows, 1))).sum(1).clip(0, classes - 1)
    return logits * factor, labels


def best(logits, labels, weights=None):
    def loss(log_t):
        ll = log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels]
        return -np.average(ll, weights=weights)

    return float(
        np.exp(minimize_scalar(loss, bounds=(-12, 12), method="bounded", options={"xatol": 1e-10}).x)
    )


@pytest.mark.parametrize("factor", [0.01, 0.5, 3.0, 1e4])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_scipys_minimum(rng, factor, weighted):
    logits, labels = overconfident(rng, factor=factor)
    weights = rng.uniform(0, 2, 400) if weighted else None
    scaling = TemperatureScaling().fit(logits, labels, weights)
    assert scaling.temperature == pytest.approx(best(logits, labels, weights), rel=1e-5)
    if not weighted:
        assert scaling.temperature == pytest.approx(factor, rel=0.15)
    np.testing.assert_allclose(
        array(scaling(logits.astype("float32"))), logits / scaling.temperature, rtol=1e-5
    )


def test_the_fit_lowers_what_it_should_and_leaves_the_accuracy(rng):
    logits, labels = overconfident(rng)
    scaled = array(TemperatureScaling().fit(logits, labels)(logits.astype("float32")))
    before, after = (np.exp(log_softmax(z, axis=1)) for z in (logits, scaled))
    for score in (kr.uncertainty.negative_log_likelihood, kr.uncertainty.expected_calibration_error):
        assert score(labels, after) < 0.9 * score(labels, before)
    np.testing.assert_array_equal(scaled.argmax(1), logits.argmax(1))


def test_one_logit_and_pixels_and_one_hot_labels_are_rows_too(rng):
    logits, labels = overconfident(rng, classes=2)
    two = TemperatureScaling().fit(logits, labels).temperature
    one = logits[:, 1] - logits[:, 0]
    for form in (one, one[:, None]):
        assert TemperatureScaling().fit(form, labels).temperature == pytest.approx(two, rel=1e-5)
    pixels = TemperatureScaling().fit(logits.reshape(4, 10, 10, 2), labels.reshape(4, 10, 10))
    assert pixels.temperature == pytest.approx(two)
    assert TemperatureScaling().fit(logits, np.eye(2)[labels]).temperature == pytest.approx(two)
    np.testing.assert_allclose(
        array(TemperatureScaling(4.0)(one[:, None].astype("float32"))), one[:, None] / 4, rtol=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(
    arrays("float32", (3, 4), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)),
    st.floats(0.01, 100.0),
    st.sampled_from(["float32", "float16", "bfloat16"]),
)
def test_the_argmax_never_changes(logits, temperature, dtype):
    # Two logits one rounding apart are what a division makes equal.
    above = np.nextafter(logits[:, 1], np.float32(np.inf))
    logits[:, 2] = np.where(np.abs(above) < 1e-30, np.float32(1e-30), above)
    z = keras.ops.cast(keras.ops.convert_to_tensor(logits), dtype)
    scaled = TemperatureScaling(temperature, dtype=dtype)(z)
    assert keras.backend.standardize_dtype(scaled.dtype) == dtype
    wide, before = (array(keras.ops.cast(t, "float32")) for t in (scaled, z))
    np.testing.assert_array_equal(wide.argmax(1), before.argmax(1))
    assert np.isfinite(wide).all()


def test_equal_logits_stay_equal():
    z = np.array([[1.1, 1.1, 0.3], [0.7, 0.2, 0.7]], "float32")
    scaled = array(TemperatureScaling(3.0)(z))
    assert scaled[0, 0] == scaled[0, 1]
    assert scaled[1, 0] == scaled[1, 2]
    np.testing.assert_allclose(scaled, z / 3, rtol=1e-6)


def test_it_is_part_of_a_model_and_no_optimizer_moves_it(rng, tmp_path):
    inner = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    x, y = rng.normal(size=(64, 5)).astype("float32"), rng.integers(0, 3, 64)
    y = np.where(rng.uniform(size=64) < 0.5, array(inner(x)).argmax(1), y)
    scaling = TemperatureScaling().fit(inner.predict(x, verbose=0), y)
    temperature = scaling.temperature
    model = keras.Sequential([keras.Input((5,)), inner, scaling, keras.layers.Softmax()])
    expected = np.exp(log_softmax(array(inner(x)) / temperature, axis=1))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    assert scaling.temperature == temperature
    copy = keras.models.clone_model(model)
    assert copy.layers[1].temperature == temperature
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    ("logits", "labels", "argument", "shown"),
    [
        ([[2.0, 1.0], [0.0, 3.0]], [0, 1], "logits", "largest in each row"),
        ([[2.0, 1.0], [0.0, 3.0]], [1, 0], "logits", "no larger than the others"),
        ([[1.0, 1.0]], [0], "logits", "largest in each row"),
        ([[np.nan, 1.0]], [0], "logits", "1 of 2 numbers NaN"),
        ([[2.0, 1.0]], [2], "y_true", "2 at row 0"),
        ([[2.0, 1.0]], [0, 1], "y_true", "shape (2,)"),
    ],
)
def test_what_has_no_best_temperature_is_refused_and_changes_nothing(logits, labels, argument, shown):
    scaling = TemperatureScaling(2.0)
    with pytest.raises(ValueError, match=f"`{argument}` of TemperatureScaling.fit") as caught:
        scaling.fit(logits, labels)
    assert shown in str(caught.value).partition(", got ")[2]
    assert scaling.temperature == 2.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_logits_beyond_what_a_type_holds_keep_their_order_and_stay_finite(dtype):
    largest = {"float16": 65504.0, "bfloat16": 3.38e38, "float32": 3.4e38, "float64": 1.7e308}[dtype]
    with wide_numbers():
        z = np.array([[-0.8, -0.9, -1.0], [0.9, 1.0, 0.8]]) * largest
        y = TemperatureScaling(0.25, dtype=dtype)(
            keras.ops.cast(keras.ops.convert_to_tensor(z, "float64"), dtype)
        )
        found = array(keras.ops.cast(y, "float64"))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(1), [0, 1])
    assert (np.sort(found, axis=1)[:, 2] > np.sort(found, axis=1)[:, 1]).all()
