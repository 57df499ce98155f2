"""The page of backends shows the committed figures, and they hold."""

import json

import pytest

from benchmarks.reliability import backends

FIGURES = json.loads(backends.FIGURES.read_text())


def test_the_page_shows_the_committed_figures():
    assert not FIGURES["quick"]
    assert backends.page_table(FIGURES["rows"]) in backends.PAGE.read_text()


def test_every_feature_agrees_where_it_is_promised():
    for row in FIGURES["rows"]:
        assert row["holds"] in ("yes", "not supported"), row
        if row["holds"] == "yes":
            assert row["largest difference"] <= row["tolerance"] == backends.tolerance(row["feature"])
        else:
            assert row["backend"] == "torch"
            assert not row["feature"].startswith(backends.ON_TORCH)
        assert "no" not in [row[policy] for policy in backends.POLICIES]


def test_every_layer_was_tried_in_every_policy_on_every_backend():
    import kerasreg as kr

    for backend in backends.BACKENDS:
        of = {row["feature"]: row for row in FIGURES["rows"] if row["backend"] == backend}
        for name in kr.layers.__all__:
            assert [of[f"layers.{name}"][policy] for policy in backends.POLICIES] == ["yes"] * 3


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([[1.0, 2.0]], [[1.0, 2.5]], 0.2),
        ([[0.1]], [[0.3]], 0.2),
        ([[200.0]], [[100.0]], 1.0),
        ([[float("nan")]], [[1.0]], float("inf")),
        ([[1.0]], [[1.0, 2.0]], float("inf")),
    ],
)
def test_a_difference_is_relative_to_the_largest_number_or_to_1(ours, theirs, expected):
    assert backends._difference(ours, theirs) == pytest.approx(expected)
