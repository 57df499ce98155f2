"""The expected calibration error against a loop over samples and bins."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr


def loop(labels, probabilities, bins, weights=None):
    """ECE, sample by sample; bin b holds confidences in (b / bins, (b + 1) / bins]."""
    weights = np.ones(len(labels)) if weights is None else weights
    total = 0.0
    for b in range(bins):
        confidence = accuracy = mass = 0.0
        for label, row, weight in zip(labels, probabilities, weights, strict=True):
            top = max(row)
            inside = b / bins < top <= (b + 1) / bins
            if inside:
                mass += weight
                confidence += weight * top
                accuracy += weight * (list(row).index(top) == label)
        if mass:
            total += mass / sum(weights) * abs(accuracy / mass - confidence / mass)
    return total


@pytest.fixture
def probabilities(rng):
    return rng.dirichlet(np.full(4, 0.5), 200).astype("float32")


@pytest.fixture
def labels(probabilities, rng):
    # Too modest where it is unsure and too sure where it is sure: what the bins would cancel in one sum.
    unsure = probabilities.max(axis=1) < 0.7
    return np.where(unsure, probabilities.argmax(axis=1), rng.integers(0, 4, 200))


def measured(labels, probabilities, weights=None, **arguments):
    metric = kr.metrics.ExpectedCalibrationError(**arguments)
    metric.update_state(labels, probabilities, sample_weight=weights)
    return float(metric.result())


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_it_is_the_loop_over_samples_and_bins(bins, labels, probabilities):
    expected = loop(labels, probabilities, bins)
    assert expected > 0.05
    assert measured(labels, probabilities, bins=bins) == pytest.approx(expected, rel=1e-5)


def test_sample_weights_count_samples(labels, probabilities, rng):
    weights = rng.uniform(0.0, 3.0, 200).astype("float32")
    expected = loop(labels, probabilities, 10, weights)
    assert abs(expected - loop(labels, probabilities, 10)) > 1e-3
    for form in (weights, weights[:, None]):
        assert measured(labels, probabilities, form, bins=10) == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_zero_takes_a_sample_out(labels, probabilities):
    keep = np.arange(200) % 3 > 0
    found = measured(labels, probabilities, keep.astype("float32"))
    assert found == pytest.approx(measured(labels[keep], probabilities[keep]), rel=1e-5)


def test_labels_of_every_form_give_the_same(labels, probabilities):
    expected = measured(labels, probabilities)
    for form in (labels[:, None], np.eye(4)[labels], labels.astype("float32"), labels.astype("uint8")):
        assert measured(form, probabilities) == expected


def test_batches_add_up_and_reset_forgets(labels, probabilities):
    metric = kr.metrics.ExpectedCalibrationError()
    metric.update_state(labels[::-1], probabilities)
    metric.reset_state()
    assert float(metric.result()) == 0.0
    for part in (slice(0, 7), slice(7, 150), slice(150, 200)):
        metric.update_state(labels[part], probabilities[part])
    assert float(metric.result()) == pytest.approx(measured(labels, probabilities), rel=1e-5)


def test_right_as_often_as_it_says_is_zero():
    probabilities = np.array([[0.75, 0.25]] * 4, "float32")
    assert measured(np.array([0, 0, 0, 1]), probabilities) == 0.0
    assert measured(np.array([1, 1, 1, 1]), probabilities) == 0.75


def test_certainty_belongs_to_the_last_bin():
    certain = np.eye(3, dtype="float32")
    assert measured(np.array([0, 1, 2]), certain) == 0.0
    assert measured(np.array([1, 2, 0]), certain) == 1.0
    # A confidence on the edge of two bins closes the lower one, as in the paper: alone here, not with 0.75.
    edge = np.array([[0.5, 0.5], [0.75, 0.25]], "float32")
    assert measured(np.array([0, 1]), edge, bins=2) == pytest.approx((0.5 + 0.75) / 2)


def test_fit_and_evaluate_report_it(labels, probabilities):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(1.0)])
    model.compile(loss="mse", metrics=[kr.metrics.ExpectedCalibrationError(bins=7, name="ece")])
    found = model.evaluate(probabilities, np.eye(4)[labels], batch_size=32, verbose=0, return_dict=True)
    assert found["ece"] == pytest.approx(loop(labels, probabilities, 7), rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "probabilities", "weights", "argument", "shown"),
    [
        (np.zeros(2), np.full(2, 0.5), None, "y_pred", "shape (2,)"),
        (np.zeros(2), np.ones((2, 1)), None, "y_pred", "shape (2, 1)"),
        (np.zeros(3), np.full((2, 2), 0.5), None, "y_true", "shape (3,)"),
        (np.zeros((1, 2)), np.full((1, 3), 0.5), None, "y_true", "shape (1, 2)"),
        (np.zeros((2, 2, 1)), np.full((2, 2), 0.5), None, "y_true", "shape (2, 2, 1)"),
        (np.zeros(2), np.full((2, 2), 0.5), np.ones(3), "sample_weight", "shape (3,)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(labels, probabilities, weights, argument, shown):
    metric = kr.metrics.ExpectedCalibrationError()
    with pytest.raises(ValueError, match=f"`{argument}` of ExpectedCalibrationError") as caught:
        metric.update_state(labels, probabilities, sample_weight=weights)
    assert f"got {shown}" in str(caught.value)
    assert all(not array(variable).any() for variable in metric.variables)
