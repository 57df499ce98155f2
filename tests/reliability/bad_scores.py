"""What is given to losses, metrics and scores: labels, probabilities, samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from backend_tools import compiled
from bad_case import Case, array, inf, nan, refused, weights_of

import kerasreg as kr

scores = kr.uncertainty
P = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
Y = np.array([0, 1, 1])

# What no labels are, and what the sentence has to show.
BAD_LABELS = {
    "a label past the classes": ([0, 1, 2], ("2",)),
    "a negative label": ([0, 1, -1], ("-1",)),
    "a fraction as label": ([0, 1, 0.5], ("0.5",)),
    "NaN as label": ([0, 1, nan], ("nan",)),
    "words as labels": (["a", "b", "c"], ("str",)),
    "labels of other rows": ([0, 1], ("(2,)",)),
    "one-hot rows of other classes": (np.eye(3), ("(3, 3)",)),
    "one-hot rows with two ones": ([[1, 1], [1, 0], [0, 1]], ("2",)),
}
BAD_PROBABILITIES = {
    "NaN among the probabilities": (np.where(P == 0.8, nan, P), ("1 of 6",)),
    "infinity among the probabilities": (np.where(P == 0.8, inf, P), ("1 of 6",)),
    "logits": (np.array([[4.0, -1.0], [0.0, 2.0], [1.0, 1.0]]), ("softmax",)),
    "no rows": (P[:0], ("(0, 2)",)),
    "a number": (0.5, ("()",)),
    "words": (np.full((3, 2), "x"), ("ndarray",)),
    "percent": (P * 100, ("100",)),
}
BAD_WEIGHTS = {
    "a NaN weight": ([1, 1, nan], ("NaN",)),
    "a negative weight": ([1, 1, -1], ("-1",)),
    "weights of 0": ([0, 0, 0], ("0",)),
    "weights of other rows": ([1, 1], ("(2,)",)),
}


def cases() -> Iterator[Case]:
    yield from _hinge()
    yield from _metric()
    of_labels = {
        "brier_score": scores.brier_score,
        "negative_log_likelihood": scores.negative_log_likelihood,
        "expected_calibration_error": scores.expected_calibration_error,
        "reliability_curve": scores.reliability_curve,
        "reliability_diagram": scores.reliability_diagram,
        "retention_curve": scores.retention_curve,
    }
    for name, score in of_labels.items():
        yield from _of_labels(name, score)
    for name in ("predictive_entropy", "expected_entropy", "mutual_information"):
        yield from _of_samples(name, getattr(scores, name))
    yield from _mixture()
    yield from _plots()


def _of_labels(name: str, score: Callable[..., Any]) -> Iterator[Case]:
    case = partial(Case, f"uncertainty.{name}")
    for what, (labels, words) in BAD_LABELS.items():
        yield case(what, partial(score, labels, P), refused("`y_true`", *words))
    for what, (values, words) in BAD_PROBABILITIES.items():
        yield case(what, partial(score, Y, values), refused("`y_pred`", *words))
    if name == "retention_curve":
        for what, doubt in (("NaN as doubt", [0, 1, nan]), ("the doubt of other rows", [0, 1])):
            yield case(what, partial(score, Y, P, doubt), refused("`uncertainty`"))
        yield case("one row", lambda: score(Y[:1], P[:1]), lambda curve: _equal(curve.accuracy, [1.0]))
        return
    for what, (weights, words) in BAD_WEIGHTS.items():
        yield case(what, partial(score, Y, P, sample_weight=weights), refused("`sample_weight`", *words))
    yield case("one row", lambda: score(Y[:1], P[:1]), lambda found: None)


def _equal(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(found, wanted)


def _of_samples(name: str, figure: Callable[..., Any]) -> Iterator[Case]:
    case = partial(Case, f"uncertainty.{name}")
    passes = np.stack([P, P[::-1]])
    for what, values, words in (
        ("NaN", np.where(passes == 0.8, nan, passes), ("nan",)),
        ("infinity", np.where(passes == 0.8, inf, passes), ("inf",)),
        ("no passes", passes[:0], ("(0, 3, 2)",)),
        ("logits", passes * 3 - 1, ("sums",)),
        ("one pass alone, without its axis", P[0], ("(2,)",)),
        ("words", np.full((2, 3, 2), "x"), ()),
        ("None", None, ()),
    ):
        yield case(what, partial(figure, values), refused("`samples`", *words))
    yield case("no rows", partial(figure, passes[:, :0]), lambda found: _equal(found.shape, (0,)))


def _mixture() -> Iterator[Case]:
    case = partial(Case, "uncertainty.gaussian_mixture_log_likelihood")
    score, y, passes = scores.gaussian_mixture_log_likelihood, np.zeros(3), np.ones((4, 3))
    for what, arguments, words in (
        ("NaN in the targets", ([0, 0, nan], passes, 1.0), ("`y_true`",)),
        ("infinite passes", (y, passes * inf, 1.0), ("`samples`",)),
        ("targets of other rows", (y[:2], passes, 1.0), ("`y_true`", "(2,)")),
        ("no passes", (y, passes[:0], 1.0), ("`samples`", "(0, 3)")),
        ("no rows", (y[:0], passes[:, :0], 1.0), ("`samples`", "(4, 0)")),
        ("words", (["a", "b", "c"], passes, 1.0), ("`y_true`",)),
        ("a precision of 0", (y, passes, 0.0), ("`tau`", "0.0")),
        ("a NaN precision", (y, passes, nan), ("`tau`", "nan")),
    ):
        yield case(what, partial(score, *arguments), refused(*words))
    good = {"rate": 0.5, "length_scale": 0.1, "num_examples": 100, "weight_decay": 1e-5}
    for name, value in (
        ("rate", 1.0),
        ("rate", nan),
        ("length_scale", 0),
        ("num_examples", 0),
        ("num_examples", 1.5),
        ("weight_decay", 0),
        ("weight_decay", "x"),
    ):
        yield Case(
            "uncertainty.model_precision",
            f"{name} of {value}",
            partial(scores.model_precision, **{**good, name: value}),
            refused(f"`{name}`", repr(value)),
        )


def _plots() -> Iterator[Case]:
    case = partial(Case, "uncertainty.plot_retention_curve")
    for what, curves in (("no curves", {}), ("something else", 3), ("a dict of something else", {"a": P})):
        yield case(what, partial(scores.plot_retention_curve, curves), refused("`curves`"))
    curve = scores.retention_curve(Y, P)
    yield case("no axes", partial(scores.plot_retention_curve, curve, ax=3), refused("`ax`", "3"))
    yield Case(
        "uncertainty.reliability_diagram",
        "no axes",
        partial(scores.reliability_diagram, Y, P, ax=3),
        refused("`ax`", "3"),
    )
    for name, arguments, words in (
        ("reliability_curve", {"label": 2}, ("`label`", "2")),
        ("reliability_curve", {"label": -1}, ("`label`", "-1")),
        ("expected_calibration_error", {"bins": 0}, ("`bins`", "0")),
        ("expected_calibration_error", {"binning": "other"}, ("`binning`", "'other'")),
        ("brier_score", {"scale_by_half": "x"}, ("`scale_by_half`", "'x'")),
        ("negative_log_likelihood", {"from_logits": 1}, ("`from_logits`", "1")),
    ):
        yield Case(
            f"uncertainty.{name}",
            f"{arguments}",
            partial(getattr(scores, name), Y, P, **arguments),
            refused(*words),
        )


def _hinge() -> Iterator[Case]:
    loss = kr.losses.MulticlassHinge()
    case = partial(Case, "losses.MulticlassHinge")
    z = np.array([[2.0, 1.5, -1.0], [0.0, 1.0, 0.5]], "float32")
    for what, labels, values, words in (
        ("a label past the classes", [0, 3], z, ("`y_true`", "3")),
        ("a negative label", [0, -1], z, ("`y_true`", "-1")),
        ("a fraction as label", np.array([0, 0.5], "float32"), z, ("`y_true`", "0.5")),
        ("NaN as label", np.array([0, nan], "float32"), z, ("`y_true`", "nan")),
        ("labels of other rows", [0, 1, 2], z, ("`y_true`", "(3,)")),
        ("one-hot rows of other classes", np.eye(2), z, ("`y_true`", "(2, 2)")),
        ("one score a row", [0, 1], z[:, :1], ("`y_pred`", "(2, 1)")),
        ("one-hot rows with two ones", [[1.0, 1, 0], [0, 1, 0]], z, ("`y_true`", "one-hot")),
        ("one-hot rows of nothing", [[0.0, 0, 0], [0, 1, 0]], z, ("`y_true`", "one-hot")),
        ("NaN in one-hot rows", [[nan, 0, 0], [0, 1, 0]], z, ("`y_true`", "one-hot")),
        ("scores in one-hot's place", [[0.5, -2, 1], [0, 1, 0]], z, ("`y_true`", "one-hot")),
    ):
        yield case(
            what, lambda labels=labels, values=values: loss(np.asarray(labels), values), refused(*words)
        )
    per_row = kr.losses.MulticlassHinge(reduction="none")

    def in_a_graph(labels: Any) -> np.ndarray:
        call = compiled(lambda y: per_row(y, keras.ops.convert_to_tensor(z)))
        return array(call(keras.ops.convert_to_tensor(labels)))

    for what, labels in (
        ("a label past the classes, compiled", np.array([0, 3])),
        ("a negative label, compiled", np.array([0, -1])),
        ("a fraction as label, compiled", np.array([0, 0.5], "float32")),
        ("one-hot rows with two ones, compiled", np.array([[1.0, 0, 0], [1, 1, 0]], "float32")),
        ("one-hot rows of nothing, compiled", np.array([[1.0, 0, 0], [0, 0, 0]], "float32")),
    ):
        yield case(what, partial(in_a_graph, labels), lambda found: _equal(np.isnan(found), [False, True]))
    yield case(
        "NaN among the scores",
        lambda: array(per_row(np.array([0, 1]), np.where(z == 2.0, np.float32(nan), z))),
        lambda found: _equal(np.isnan(found), [True, False]),
    )
    yield case(
        "an empty batch", lambda: array(per_row(np.zeros(0, "int32"), z[:0])), lambda y: _equal(y.shape, (0,))
    )
    yield case("a batch of one", lambda: array(per_row(np.array([0]), z[:1])), lambda y: _equal(y, [0.5]))


def _metric() -> Iterator[Case]:
    metric = kr.metrics.ExpectedCalibrationError(bins=4)
    metric.update_state(Y, P)
    case = partial(Case, "metrics.ExpectedCalibrationError", state=lambda: weights_of(metric))
    for what, arguments, words in (
        ("a label past the classes", ([0, 1, 2], P), ("`y_true`", "2")),
        ("a negative label", ([0, 1, -1], P), ("`y_true`", "-1")),
        ("a fraction as label", ([0, 1, 0.5], P), ("`y_true`", "0.5")),
        ("NaN as label", ([0, 1, nan], P), ("`y_true`", "nan")),
        ("labels of other rows", ([0, 1], P), ("`y_true`", "(2,)")),
        ("one-hot rows of other classes", (np.eye(3), P), ("`y_true`", "(3, 3)")),
        ("one-hot rows with two ones", ([[1, 1], [1, 0], [0, 1]], P), ("`y_true`",)),
        ("NaN among the probabilities", (Y, np.where(P == 0.8, nan, P)), ("`y_pred`",)),
        ("infinity among the probabilities", (Y, np.where(P == 0.8, inf, P)), ("`y_pred`",)),
        ("logits", (Y, P * 9 - 1), ("`y_pred`", "softmax")),
        ("one number a row", (Y, P[:, :1]), ("`y_pred`", "(3, 1)")),
        ("a NaN weight", (Y, P, [1, 1, nan]), ("`sample_weight`",)),
        ("a negative weight", (Y, P, [1, 1, -1]), ("`sample_weight`",)),
        ("weights of other rows", (Y, P, [1, 1]), ("`sample_weight`", "(2,)")),
    ):
        yield case(
            what,
            lambda arguments=arguments: metric.update_state(*map(np.asarray, arguments)),
            refused(*words),
        )

    def in_a_graph(y: Any, p: Any) -> list[float]:
        one = kr.metrics.ExpectedCalibrationError(bins=4)
        one.update_state(Y, P)
        before = float(array(one.result()))
        _compiled_update(one, y, p)
        after = float(array(one.result()))
        one.reset_state()
        one.update_state(Y, P)
        return [before, after, float(array(one.result()))]

    def nan_until_reset(found: list[float]) -> None:
        before, after, again = found
        assert np.isnan(after), "a number that looks right"
        assert again == before, "a reset is no new start"

    for what, y, p in (
        ("a label past the classes, compiled", np.array([0, 1, 2]), P),
        ("a negative label, compiled", np.array([0, 1, -1]), P),
        ("NaN among the probabilities, compiled", Y, np.where(P == 0.8, nan, P)),
        ("logits, compiled", Y, P * 9 - 1),
    ):
        yield Case("metrics.ExpectedCalibrationError", what, partial(in_a_graph, y, p), nan_until_reset)
    yield case("an empty batch", lambda: metric.update_state(Y[:0], P[:0]), lambda _: None)
    yield case(
        "nothing yet",
        lambda: float(array(kr.metrics.ExpectedCalibrationError().result())),
        lambda found: _equal(found, 0.0),
    )


def _compiled_update(metric: Any, y: Any, p: Any) -> None:
    y, p = keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(p, dtype="float32")
    if keras.backend.backend() == "jax":
        import jax

        values = jax.jit(metric.stateless_update_state)([v.value for v in metric.variables], y, p)
        for variable, value in zip(metric.variables, values, strict=True):
            variable.assign(value)
    else:
        compiled(metric.update_state)(y, p)
