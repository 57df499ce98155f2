"""The retention curve against a loop that rejects row by row; the pictures show the curves."""

import sys
from itertools import pairwise, permutations

import numpy as np
import pytest

import kerasreg as kr

u = kr.uncertainty


def rejecting(right, doubt):
    """Accuracy on the rest, most doubtful row first, one row after the other."""
    order = np.argsort(-doubt)
    return [right[order[k:]].mean() for k in range(len(right))]


@pytest.fixture
def scored(rng):
    p = rng.dirichlet(np.full(3, 0.5), 80)
    y = np.where(rng.uniform(size=80) < p.max(1), p.argmax(1), rng.integers(0, 3, 80))
    return y, p


def test_the_curve_is_the_loop_over_rejected_rows(scored, rng):
    y, p = scored
    right = p.argmax(1) == y
    entropy = -(p * np.log(p)).sum(1)
    for doubt, given in ((entropy, None), (1 - p.max(1), 1 - p.max(1)), (rng.normal(size=80),) * 2):
        curve = u.retention_curve(y, p, given)
        np.testing.assert_allclose(curve.accuracy, rejecting(right, doubt))
        np.testing.assert_allclose(curve.rejected, np.arange(80) / 80)
        np.testing.assert_allclose(curve.oracle, rejecting(right, 1.0 - right + 0 * doubt))
        assert curve.area == pytest.approx(curve.accuracy.mean())
        assert (curve.accuracy <= curve.oracle + 1e-12).all()
    # What is rejected by doubt is wrong more often than what is kept.
    assert u.retention_curve(y, p).area > right.mean() + 0.05
    assert u.retention_curve(y, p).at(0.3) == u.retention_curve(y, p).accuracy[24]
    assert u.retention_curve(y, p).at(1.0) == u.retention_curve(y, p).accuracy[-1]


def test_equal_doubts_count_with_the_average_over_their_orders():
    p, y = np.array([0.9, 0.9, 0.8, 0.8, 0.8]), np.array([1, 0, 1, 1, 0])
    right = (p > 0.5) == y
    # The first row of each order goes first.
    orders = [
        [right[list(o)][k:].mean() for k in range(5)]
        for o in permutations(range(5))
        if all(p[a] <= p[b] for a, b in pairwise(o))
    ]
    np.testing.assert_allclose(u.retention_curve(y, p, 1 - p).accuracy, np.mean(orders, axis=0))


def test_doubt_without_a_difference_is_the_accuracy_throughout(scored):
    y, p = scored
    curve = u.retention_curve(y, p, np.ones(80))
    np.testing.assert_allclose(curve.accuracy, (p.argmax(1) == y).mean())


def test_the_diagram_shows_the_curve(scored, tmp_path):
    y, p = scored
    curve = u.reliability_curve(y, p, 5)
    figure = u.reliability_diagram(y, p, 5, path=tmp_path / "diagram.png")
    taken = curve.weight > 0
    diagram, shares = figure.axes
    heights = [bar.get_height() for bar in diagram.patches]
    gaps = curve.confidence - curve.accuracy
    np.testing.assert_allclose(heights, [*curve.accuracy[taken], *gaps[taken]])
    assert [bar.get_height() for bar in shares.patches] == pytest.approx(curve.weight[taken] / 80)
    assert f"{curve.error:.3f}" in diagram.get_title()
    assert (tmp_path / "diagram.png").stat().st_size > 5000
    assert "class 2" in u.reliability_diagram(y, p, label=2).axes[0].get_ylabel()


def test_the_retention_picture_shows_each_curve_and_one_bound(scored, tmp_path, rng):
    y, p = scored
    curves = {"entropy": u.retention_curve(y, p), "chance": u.retention_curve(y, p, rng.normal(size=80))}
    figure = u.plot_retention_curve(curves, path=tmp_path / "retention.png")
    lines = figure.axes[0].lines
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(lines) == 4  # two curves, their common bound, chance
    assert labels[0] == f"entropy, mean {curves['entropy'].area:.3f}"
    np.testing.assert_allclose(lines[0].get_ydata(), curves["entropy"].accuracy)
    assert (tmp_path / "retention.png").stat().st_size > 5000
    other = u.retention_curve((y + 1) % 3, p)
    assert len(u.plot_retention_curve({"a": curves["entropy"], "b": other}).axes[0].lines) == 6
    assert len(u.plot_retention_curve(other).axes[0].lines) == 3


@pytest.mark.parametrize("bad", [{}, {"a": 1}, None, [1, 2]])
def test_what_is_no_curve_is_not_drawn(bad):
    with pytest.raises(ValueError, match="`curves` of plot_retention_curve"):
        u.plot_retention_curve(bad)


def test_pictures_go_into_given_axes_and_leave_pyplot_alone(scored):
    from matplotlib.figure import Figure

    y, p = scored
    loaded = "matplotlib.pyplot" in sys.modules
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert u.reliability_diagram(y, p, ax=left) is figure
    assert u.plot_retention_curve(u.retention_curve(y, p), ax=right) is figure
    assert len(figure.axes) == 2
    assert left.patches
    assert left.get_xlabel() == "confidence"
    assert right.lines
    assert ("matplotlib.pyplot" in sys.modules) == loaded
