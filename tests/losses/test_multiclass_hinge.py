"""The multiclass hinge loss against the lecture's double loop."""

import keras
import numpy as np
import pytest
from backend_tools import array, compiled, gradient

import kerasreg as kr

VARIANTS = {"sum": sum, "max": max}
# Keras computes eagerly there, in fit too: every label can be looked at.
ON_TORCH = keras.backend.backend() == "torch"


def loop(labels, scores, margin, reduce):
    """The loss of each sample, class by class."""
    losses = []
    for label, row in zip(labels, scores, strict=True):
        wrong = [max(0.0, row[j] - row[label] + margin) for j in range(len(row)) if j != label]
        losses.append(reduce(wrong))
    return np.array(losses)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 5, 40)


@pytest.fixture
def scores(rng):
    return rng.normal(0.0, 2.0, (40, 5)).astype("float32")


@pytest.mark.parametrize("margin", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_the_lectures_double_loop(variant, margin, labels, scores):
    expected = loop(labels, scores, margin, VARIANTS[variant])
    assert (expected > 0).any()
    loss = kr.losses.MulticlassHinge(margin, variant, reduction="none")
    np.testing.assert_allclose(array(loss(labels, scores)), expected, rtol=1e-5, atol=1e-6)
    mean = kr.losses.MulticlassHinge(margin, variant)
    assert float(mean(labels, scores)) == pytest.approx(expected.mean(), rel=1e-5)


def test_the_largest_violation_is_over_the_wrong_classes_only():
    # Keras' CategoricalHinge says 0.5 here.
    y, s = np.array([[1.0, 0.0, 0.0]]), np.array([[0.5, -3.0, -4.0]], "float32")
    assert float(kr.losses.MulticlassHinge(variant="max")(y, s)) == 0.0
    assert float(kr.losses.MulticlassHinge(variant="sum")(y, s)) == 0.0


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_of_every_form_give_the_same(variant, labels, scores):
    loss = kr.losses.MulticlassHinge(variant=variant, reduction="none")
    expected = array(loss(labels, scores))
    for form in (
        labels[:, None],
        labels.astype("float32"),
        np.eye(5)[labels],
        np.eye(5, dtype="int32")[labels],
    ):
        np.testing.assert_array_equal(array(loss(form, scores)), expected)
    deep = loss(labels.reshape(8, 5), scores.reshape(8, 5, 5))
    np.testing.assert_array_equal(array(deep).ravel(), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_common_shift_of_the_scores_changes_nothing(variant, labels, scores):
    loss = kr.losses.MulticlassHinge(variant=variant)
    assert float(loss(labels, scores + 7.0)) == pytest.approx(float(loss(labels, scores)), rel=1e-5)


def test_the_sum_bounds_the_maximum(labels, scores):
    by_sum, by_max = (
        kr.losses.MulticlassHinge(variant=v, reduction="none")(labels, scores) for v in VARIANTS
    )
    assert (array(by_max) <= array(by_sum) + 1e-6).all()
    assert (array(by_max) < array(by_sum)).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_gradient_is_the_finite_difference_of_the_loop(variant, rng):
    labels, scores = rng.integers(0, 4, 6), rng.normal(0.0, 2.0, (6, 4))
    numeric, step = np.zeros_like(scores), 1e-5
    for place in np.ndindex(*scores.shape):
        nudge = np.zeros_like(scores)
        nudge[place] = step
        above, below = (loop(labels, scores + s * nudge, 1.0, VARIANTS[variant]).mean() for s in (1, -1))
        numeric[place] = (above - below) / (2 * step)
    loss = kr.losses.MulticlassHinge(variant=variant)
    exact = gradient(lambda s: loss(labels, s), scores.astype("float32"))
    np.testing.assert_allclose(exact, numeric, atol=1e-5)
    assert np.abs(numeric).max() > 0


def test_sample_weights_count_samples(labels, scores):
    weights = np.linspace(0.0, 2.0, 40).astype("float32")
    expected = (loop(labels, scores, 1.0, sum) * weights).mean()
    weighted = kr.losses.MulticlassHinge()(labels, scores, sample_weight=weights)
    assert float(weighted) == pytest.approx(expected, rel=1e-5)


def test_fit_reports_the_loops_mean(labels, scores):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5, kernel_initializer="identity")])
    model.compile(keras.optimizers.SGD(0.0), kr.losses.MulticlassHinge())
    loss = model.fit(scores, labels, batch_size=10, verbose=0).history["loss"][0]
    assert loss == pytest.approx(loop(labels, scores, 1.0, sum).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "shown"), [([0, 5, 1], "[5.0]"), ([0, -1, 7], "[-1.0, 7.0]"), ([0, 0.5, 1], "[0.5]")]
)
def test_a_label_that_is_no_class_is_refused_where_it_can_be_seen(wrong, shown, scores):
    with pytest.raises(ValueError, match="class numbers from 0 to 4") as caught:
        kr.losses.MulticlassHinge()(np.array(wrong), scores[:3])
    assert shown in str(caught.value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_label_that_is_no_class_is_nan_where_it_cannot_be_seen(variant, scores):
    loss = compiled(kr.losses.MulticlassHinge(variant=variant, reduction="none"))
    labels = keras.ops.convert_to_tensor(np.array([0, 5, -1, 1], "float32"))
    if ON_TORCH:
        with pytest.raises(ValueError, match=r"got \[-1.0, 5.0\]"):
            loss(labels, keras.ops.convert_to_tensor(scores[:4]))
        return
    found = array(loss(labels, keras.ops.convert_to_tensor(scores[:4])))
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, False])


def test_fit_shows_a_label_that_is_no_class(scores):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    model.compile("sgd", kr.losses.MulticlassHinge())
    if ON_TORCH:
        with pytest.raises(ValueError, match=r"got \[9.0\]"):
            model.fit(scores, np.full(40, 9), verbose=0)
        return
    loss = model.fit(scores, np.full(40, 9), verbose=0).history["loss"][0]
    assert np.isnan(loss)


@pytest.mark.parametrize(
    ("labels", "scores", "argument", "shown"),
    [
        (np.zeros(3), np.zeros((2, 4)), "y_true", "(3,)"),
        (np.zeros(2), np.zeros((1, 4)), "y_true", "(2,)"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "y_true", "(2, 3)"),
        (np.zeros((3, 4)), np.zeros((2, 4)), "y_true", "(3, 4)"),
        (np.zeros((2, 4, 1)), np.zeros((2, 4)), "y_true", "(2, 4, 1)"),
        (np.zeros(2), np.zeros((2, 1)), "y_pred", "(2, 1)"),
        (np.zeros(2), np.zeros(2), "y_pred", "(2,)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(labels, scores, argument, shown):
    with pytest.raises(ValueError, match=f"`{argument}` of MulticlassHinge") as caught:
        kr.losses.MulticlassHinge()(labels, scores)
    assert f"got shape {shown}" in str(caught.value)
