"""What holds for every score of uncertain predictions, whatever the predictions."""

import json
import math

import numpy as np
import pytest
from drawing import examples, numbers, probabilities
from hypothesis import assume, given
from hypothesis import strategies as st

import kerasreg as kr

U = kr.uncertainty
SCORES = {
    "uncertainty.brier_score": (U.brier_score, 2.0),
    "uncertainty.negative_log_likelihood": (U.negative_log_likelihood, math.inf),
    "uncertainty.expected_calibration_error": (U.expected_calibration_error, 1.0),
}


@pytest.mark.parametrize("label", SCORES)
@examples(25)
@given(data=st.data())
def test_a_score_is_bounded_and_counts_rows_by_their_weight(label, data):
    score, most = SCORES[label]
    rows, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 5))
    rng = np.random.default_rng(data.draw(numbers))
    p, labels = probabilities(data.draw, (rows, classes)), rng.integers(0, classes, rows)
    whole = score(labels, p)
    assert 0 <= whole <= most + 1e-9
    assert score(np.eye(classes)[labels], p) == pytest.approx(whole)
    order = rng.permutation(rows)
    assert score(labels[order], p[order]) == pytest.approx(whole)
    weight = rng.integers(0, 3, rows)
    weight[0] += 1
    repeated = np.repeat(np.arange(rows), weight)
    assert score(labels, p, sample_weight=weight) == pytest.approx(score(labels[repeated], p[repeated]))
    # What is certain and right is best.
    assert score(labels, np.eye(classes)[labels]) == pytest.approx(0, abs=1e-12)
    names = rng.permutation(classes)
    renamed = np.argsort(names)[labels], p[:, names]
    ties = np.sort(p, axis=1)[:, -1] == np.sort(p, axis=1)[:, -2]
    if not ties.any():
        assert score(*renamed) == pytest.approx(whole)


@examples(25)
@given(data=st.data())
def test_a_curve_s_bins_hold_all_rows_and_its_error_is_their_gap(data):
    rows, classes, bins = (data.draw(st.integers(*ends)) for ends in ((1, 15), (2, 4), (1, 20)))
    binning = data.draw(st.sampled_from(["equal_width", "equal_mass"]))
    label = data.draw(st.none() | st.integers(0, classes - 1))
    rng = np.random.default_rng(data.draw(numbers))
    p, labels = probabilities(data.draw, (rows, classes)), rng.integers(0, classes, rows)
    curve = U.reliability_curve(labels, p, bins, binning, label)
    assert curve.weight.sum() == rows
    assert (np.diff(curve.edges) >= 0).all()
    taken = curve.weight > 0
    np.testing.assert_array_equal(np.isnan(curve.confidence), ~taken)
    assert ((curve.accuracy[taken] >= 0) & (curve.accuracy[taken] <= 1)).all()
    said = p.max(axis=1) if label is None else p[:, label]
    right = p.argmax(axis=1) == labels if label is None else labels == label
    shares = curve.weight[taken] / rows
    assert (shares * curve.confidence[taken]).sum() == pytest.approx(said.mean())
    assert (shares * curve.accuracy[taken]).sum() == pytest.approx(right.mean())
    gaps = np.abs(curve.accuracy[taken] - curve.confidence[taken])
    assert curve.error == pytest.approx((shares * gaps).sum(), abs=1e-9)
    assert curve.error <= curve.maximum_error + 1e-9
    assert U.expected_calibration_error(labels, p, bins, binning, label) == pytest.approx(curve.error)


@examples(25)
@given(data=st.data())
def test_a_retention_curve_lies_below_the_oracle_and_counts_order_only(data):
    rows, classes = data.draw(st.integers(1, 15)), data.draw(st.integers(2, 4))
    rng = np.random.default_rng(data.draw(numbers))
    p, labels = probabilities(data.draw, (rows, classes)), rng.integers(0, classes, rows)
    doubt = rng.integers(0, 5, rows).astype(float)  # with ties
    curve = U.retention_curve(labels, p, doubt)
    right = p.argmax(axis=1) == labels
    assert curve.accuracy[0] == pytest.approx(right.mean())
    assert (curve.accuracy <= curve.oracle + 1e-9).all()
    assert (np.diff(curve.oracle) >= -1e-12).all()
    assert curve.area == pytest.approx(np.mean(curve.accuracy))
    order = rng.permutation(rows)
    for other in (
        U.retention_curve(labels[order], p[order], doubt[order]),
        U.retention_curve(labels, p, doubt**3 - 7),
    ):
        np.testing.assert_allclose(other.accuracy, curve.accuracy, atol=1e-9)
    np.testing.assert_allclose(U.retention_curve(labels, p, np.ones(rows)).accuracy, right.mean(), atol=1e-9)
    np.testing.assert_allclose(U.retention_curve(labels, p, ~right).accuracy, curve.oracle, atol=1e-9)


@examples(25)
@given(data=st.data())
def test_doubts_are_bounded_and_order_says_nothing(data):
    shape = tuple(data.draw(st.integers(*ends)) for ends in ((1, 5), (1, 4), (2, 5)))
    p, rng = probabilities(data.draw, shape), np.random.default_rng(data.draw(numbers))
    figures = U.predictive_entropy, U.expected_entropy, U.mutual_information
    total, aleatoric, epistemic = (figure(p) for figure in figures)
    for found in (total, aleatoric, epistemic):
        assert found.shape == shape[1:-1]
        assert (found >= 0).all()
        assert (found <= math.log(shape[-1]) + 1e-9).all()
    np.testing.assert_allclose(aleatoric + epistemic, total, atol=1e-9)
    # What one pass can be told from the others by is at most its number.
    assert (epistemic <= math.log(shape[0]) + 1e-9).all()
    mixed = p[rng.permutation(shape[0])][..., rng.permutation(shape[-1])]
    for figure in figures:
        np.testing.assert_allclose(figure(mixed), figure(p), atol=1e-9)
        np.testing.assert_allclose(figure(np.concatenate([p, p])), figure(p), atol=1e-9)
    np.testing.assert_allclose(U.mutual_information(np.stack([p[0]] * 3)), 0, atol=1e-9)


@examples(25)
@given(data=st.data())
def test_a_mixture_s_likelihood_moves_with_its_targets_and_their_unit(data):
    passes, rows, outputs = (data.draw(st.integers(*ends)) for ends in ((1, 5), (1, 5), (1, 3)))
    tau = data.draw(st.floats(1e-2, 100))
    rng = np.random.default_rng(data.draw(numbers))
    y, samples = rng.normal(size=(rows, outputs)), rng.normal(size=(passes, rows, outputs))
    score = U.gaussian_mixture_log_likelihood
    whole = score(y, samples, tau)
    # No density is above that of its own peak.
    assert whole <= outputs / 2 * math.log(tau / (2 * math.pi)) + 1e-9
    offset, c = rng.normal(size=(1, outputs)), data.draw(st.floats(0.1, 10))
    assert score(y + offset, samples + offset, tau) == pytest.approx(whole, rel=1e-6, abs=1e-6)
    # In another unit, the density is that of the unit.
    assert score(c * y, c * samples, tau / c**2) == pytest.approx(whole - outputs * math.log(c), abs=1e-6)
    assert score(y, samples[rng.permutation(passes)], tau) == pytest.approx(whole)
    assert score(y, np.concatenate([samples, samples]), tau) == pytest.approx(whole)
    each = [score(y[i : i + 1], samples[:, i : i + 1], tau) for i in range(rows)]
    assert np.mean(each) == pytest.approx(whole)


@examples(20)
@given(
    rate=st.floats(0, 0.99), scale=st.floats(0.01, 10), count=st.integers(1, 10**6), decay=st.floats(1e-8, 1)
)
def test_a_precision_follows_its_formula(rate, scale, count, decay):
    tau = U.model_precision(rate, scale, count, decay)
    assert tau == pytest.approx((1 - rate) * scale**2 / (2 * count * decay))
    # Gal's way round: the decay of a precision is that precision's.
    back = scale**2 * (1 - rate) / (2 * count * tau)
    assert back == pytest.approx(decay)


@examples(10)
@given(data=st.data())
def test_a_fitted_temperature_is_no_worse_and_moves_with_the_logits(data):
    rng = np.random.default_rng(data.draw(numbers))
    rows, classes = data.draw(st.integers(20, 60)), data.draw(st.integers(2, 4))
    truth = rng.normal(size=(rows, classes)) * 2
    labels = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1)
    # With labels that are certain, or no better than chance, no temperature is the best.
    own = truth[np.arange(rows), labels]
    assume((own < truth.max(axis=1)).any() and own.mean() > truth.mean())
    logits = (truth * data.draw(st.floats(0.2, 5))).astype("float32")
    fitted = U.TemperatureScaling().fit(logits, labels).temperature

    def loss(t):
        return U.negative_log_likelihood(labels, logits / t, from_logits=True)

    assert loss(fitted) <= min(loss(1.0), loss(0.9 * fitted), loss(1.1 * fitted)) + 1e-6
    assert U.TemperatureScaling().fit(3 * logits, labels).temperature == pytest.approx(3 * fitted, rel=1e-3)


def test_curves_are_plain_data():
    curve = U.reliability_curve([0, 1], [[0.7, 0.3], [0.4, 0.6]])
    assert json.loads(json.dumps(vars(curve)["edges"].tolist()))[0] == 0


LABELS = {
    *SCORES,
    "uncertainty.reliability_curve",
    "uncertainty.ReliabilityCurve",
    "uncertainty.retention_curve",
    "uncertainty.RetentionCurve",
    "uncertainty.predictive_entropy",
    "uncertainty.expected_entropy",
    "uncertainty.mutual_information",
    "uncertainty.gaussian_mixture_log_likelihood",
    "uncertainty.model_precision",
    "uncertainty.TemperatureScaling",
}
