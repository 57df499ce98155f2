"""ECE, Brier, NLL and the reliability curve against scikit-learn and loops over rows."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

import kerasreg as kr

u = kr.uncertainty
SCORES = {
    "brier_score": u.brier_score,
    "negative_log_likelihood": u.negative_log_likelihood,
    "expected_calibration_error": u.expected_calibration_error,
    "reliability_curve": u.reliability_curve,
    "reliability_diagram": u.reliability_diagram,
    "retention_curve": u.retention_curve,
}


def case(rng, rows=300, classes=4, dtype="float64"):
    """Probabilities and labels that are right about as often as half the confidence says."""
    p = rng.dirichlet(np.full(classes, 0.4), rows).astype(dtype)
    labels = np.where(rng.uniform(size=rows) < p.max(1) / 2, p.argmax(1), rng.integers(0, classes, rows))
    return labels, p


def binned(edges, confidence, right, weights):
    """ECE by hand, over bins (low, high]."""
    total = 0.0
    for low, high in pairwise(edges):
        inside = [low < c <= high for c in confidence]
        if any(inside):
            w = weights[inside]
            total += w.sum() * abs(
                np.average(right[inside], weights=w) - np.average(confidence[inside], weights=w)
            )
    return total / weights.sum()


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_brier_and_nll_are_scikit_learns(rng, classes, weighted):
    y, p = case(rng, classes=classes)
    w = rng.uniform(0.1, 3.0, len(y)) if weighted else None
    every = range(classes)
    assert u.brier_score(y, p, w) == pytest.approx(brier_score_loss(y, p, sample_weight=w, labels=every))
    assert u.negative_log_likelihood(y, p, w) == pytest.approx(log_loss(y, p, sample_weight=w, labels=every))
    whole = np.average(np.square(p - np.eye(classes)[y]).sum(1), weights=w)
    assert u.brier_score(y, p, w, scale_by_half=False) == pytest.approx(whole)
    assert u.brier_score(y, p, w, scale_by_half=True) == pytest.approx(whole / 2)


def test_one_probability_stands_for_two_classes(rng):
    y, p = case(rng, classes=2)
    assert u.brier_score(y, p[:, 1]) == pytest.approx(brier_score_loss(y, p[:, 1]))
    for score in (u.brier_score, u.negative_log_likelihood, u.expected_calibration_error):
        assert score(y, p[:, 1]) == pytest.approx(score(y, p)) == pytest.approx(score(y[:, None], p[:, 1:]))


@pytest.mark.parametrize("score", [u.brier_score, u.negative_log_likelihood, u.expected_calibration_error])
def test_labels_predictions_and_pixels_of_every_form_give_the_same(rng, score):
    y, p = case(rng, rows=48, dtype="float32")
    expected = score(y, p)
    for form in (
        y[:, None],
        np.eye(4)[y],
        y.astype("float32"),
        list(map(int, y)),
        keras.ops.convert_to_tensor(y),
    ):
        assert score(form, p) == expected
    assert score(y, keras.ops.convert_to_tensor(p)) == expected
    assert score(y.reshape(3, 4, 4), p.reshape(3, 4, 4, 4)) == pytest.approx(expected)
    assert score(y.reshape(3, 4, 4, 1), p.reshape(3, 4, 4, 4)) == pytest.approx(expected)
    weights = np.arange(48) % 3 > 0
    assert score(y, p, sample_weight=weights) == pytest.approx(score(y[weights], p[weights]))


def test_nll_from_logits_knows_how_unlikely_it_was(rng):
    logits = rng.normal(size=(50, 3)) * 3
    y = rng.integers(0, 3, 50)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert u.negative_log_likelihood(y, logits, from_logits=True) == pytest.approx(log_loss(y, p))
    assert u.negative_log_likelihood([1], [[1.0, 0.0]]) == np.inf
    assert u.negative_log_likelihood([1], [[1000.0, -1000.0]], from_logits=True) == 2000.0
    z = rng.normal(size=30)
    two = np.stack([np.zeros(30), z], 1)
    labels = rng.integers(0, 2, 30)
    found = u.negative_log_likelihood(labels, z, from_logits=True)
    assert found == pytest.approx(u.negative_log_likelihood(labels, two, from_logits=True))


@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize("weighted", [False, True])
def test_ece_of_equal_widths_is_the_loop_and_the_metrics(rng, bins, weighted):
    y, p = case(rng)
    w = rng.uniform(0.1, 3.0, len(y)) if weighted else np.ones(len(y))
    expected = binned(np.linspace(0, 1, bins + 1), p.max(1), p.argmax(1) == y, w)
    assert expected > 0.1
    assert u.expected_calibration_error(y, p, bins, sample_weight=w) == pytest.approx(expected)
    metric = kr.metrics.ExpectedCalibrationError(bins)
    metric.update_state(y, p.astype("float32"), sample_weight=w.astype("float32"))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-4)


def test_ece_of_equal_masses_is_that_of_the_sorted_rows_in_parts(rng):
    y, p = case(rng, rows=240)
    confidence, right = p.max(1), p.argmax(1) == y
    parts = np.array_split(np.argsort(confidence), 12)
    expected = sum(len(i) / 240 * abs(confidence[i].mean() - right[i].mean()) for i in parts)
    assert u.expected_calibration_error(y, p, 12, "equal_mass") == pytest.approx(expected)
    assert (u.reliability_curve(y, p, 12, "equal_mass").weight == 20).all()
    # A weight of three is the row three times, to the bins' edges too.
    times = rng.integers(1, 4, 240)
    weighted = u.reliability_curve(y, p, 12, "equal_mass", sample_weight=times)
    repeated = u.reliability_curve(np.repeat(y, times), np.repeat(p, times, 0), 12, "equal_mass")
    np.testing.assert_array_equal(weighted.edges, repeated.edges)
    np.testing.assert_allclose(weighted.accuracy, repeated.accuracy)


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_the_order_of_the_rows_says_nothing_where_confidences_are_equal(rng, binning):
    p = rng.choice([0.6, 0.7, 0.8], 100)[:, None] * [1, -1] + [0, 1]
    y = rng.integers(0, 2, 100)
    found = {
        round(u.expected_calibration_error(y[i], p[i], 5, binning), 12)
        for i in (np.arange(100), rng.permutation(100), rng.permutation(100))
    }
    assert len(found) == 1


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
@pytest.mark.parametrize("label", [0, 1])
def test_the_curve_of_a_class_is_scikit_learns(rng, binning, strategy, label):
    y, p = case(rng, classes=2)
    curve = u.reliability_curve(y, p, 10, binning, label=label)
    taken = curve.weight > 0
    true, said = calibration_curve(y == label, p[:, label], n_bins=10, strategy=strategy)
    np.testing.assert_allclose(curve.accuracy[taken], true)
    np.testing.assert_allclose(curve.confidence[taken], said)
    assert curve.weight.sum() == 300
    gaps = np.abs(true - said)
    assert curve.error == pytest.approx(np.average(gaps, weights=curve.weight[taken]))
    assert curve.maximum_error == pytest.approx(gaps.max())


def test_edges_close_the_lower_bin_in_every_precision():
    for dtype in ("float32", "float64"):
        curve = u.reliability_curve([0, 0], np.array([[0.6, 0.4], [0.7, 0.3]], dtype), bins=10, label=0)
        assert curve.weight.nonzero()[0].tolist() == [5, 6]
    # 0 is in the first bin, 1 in the last.
    curve = u.reliability_curve([0, 1], [[1.0, 0.0], [0.0, 1.0]], bins=4, label=0)
    assert curve.weight.tolist() == [1, 0, 0, 1]
    assert curve.error == 0.0


def test_certain_and_right_is_zero_and_certain_and_wrong_the_worst():
    sure = np.eye(3)
    for score, worst in ((u.brier_score, 2.0), (u.expected_calibration_error, 1.0)):
        assert score([0, 1, 2], sure) == 0.0
        assert score([1, 2, 0], sure) == worst
    assert u.negative_log_likelihood([0, 1, 2], sure) == 0.0


BAD = [
    ([0, 1], [[0.5, 0.6], [0.5, 0.5]], {}, "y_pred", "sums from 1 to 1.1"),
    ([0, 1], [[1.5, -0.5], [0.5, 0.5]], {}, "y_pred", "-0.5"),
    ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], {}, "y_pred", "1 of 4 numbers NaN"),
    ([0, 1], [0.5, 1.5], {}, "y_pred", "1.5"),
    ([0, 1], np.zeros((0, 2)), {}, "y_pred", "shape (0, 2)"),
    ([0, 1], 0.5, {}, "y_pred", "shape ()"),
    ([0, 1], "probabilities", {}, "y_pred", "a str"),
    ([0, 2], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "2 at row 1"),
    ([-1, 0], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "-1 at row 0"),
    ([0.5, 0], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "0.5 at row 0"),
    ([0, np.nan], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "nan at row 1"),
    ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "shape (3,)"),
    ([[0, 1]], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "shape (1, 2)"),
    ([[0.5, 0.5], [1, 0]], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "sums from 1 to 1"),
    (["a", "b"], [[0.5, 0.5], [0.5, 0.5]], {}, "y_true", "str"),
]


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("y_true", "y_pred", "arguments", "argument", "shown"), BAD, ids=[b[4] for b in BAD])
def test_bad_input_is_refused_in_one_sentence(name, y_true, y_pred, arguments, argument, shown):
    with pytest.raises(ValueError, match=f"Argument `{argument}` of {name} must be") as caught:
        SCORES[name](y_true, y_pred, **arguments)
    sentence = str(caught.value)
    assert shown in sentence.partition(", got ")[2]
    assert sentence.endswith(".")
    assert ". " not in sentence


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("brier_score", {"sample_weight": [1, 2, 3]}, "shape (3,)"),
        ("brier_score", {"sample_weight": [1, -2]}, "-2"),
        ("brier_score", {"sample_weight": [0, 0]}, "0"),
        ("brier_score", {"scale_by_half": "yes"}, "'yes'"),
        ("negative_log_likelihood", {"from_logits": 1}, "1"),
        ("expected_calibration_error", {"bins": 0}, "0"),
        ("expected_calibration_error", {"binning": "quantile"}, "'quantile'"),
        ("expected_calibration_error", {"label": 2}, "2"),
        ("expected_calibration_error", {"label": -1}, "-1"),
        ("reliability_diagram", {"ax": "here"}, "'here'"),
        ("retention_curve", {"uncertainty": [1.0]}, "shape (1,)"),
        ("retention_curve", {"uncertainty": [1.0, np.nan]}, "1 of 2 numbers NaN"),
    ],
)
def test_other_bad_arguments_are_refused(name, arguments, shown):
    (argument,) = arguments
    with pytest.raises(ValueError, match=f"Argument `{argument}` of {name} must be") as caught:
        SCORES[name]([0, 1], [[0.5, 0.5], [0.5, 0.5]], **arguments)
    assert shown in str(caught.value).partition(", got ")[2]


def test_a_prediction_is_told_to_hand_over_its_mean():
    prediction = u.Prediction(np.full((2, 2), 0.5), np.zeros((2, 2)), np.ones(2))
    with pytest.raises(ValueError, match="got a Prediction; pass an array, of a Prediction its `mean`"):
        u.brier_score([0, 1], prediction)
