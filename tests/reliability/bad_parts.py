"""What is given to regularizers, initializers and constraints: weights and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from bad_case import Case, array, inf, nan, refused, weights_of

import kerasreg as kr

W = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")
PENALTIES = {
    "L1": lambda: kr.regularizers.L1(0.1),
    "L2": lambda: kr.regularizers.L2(0.1),
    "ElasticNet": lambda: kr.regularizers.ElasticNet(0.1, 0.5),
    "GroupLasso": lambda: kr.regularizers.GroupLasso(0.1),
    "Orthogonal": lambda: kr.regularizers.Orthogonal(0.1),
    "GaussianPrior": lambda: kr.regularizers.GaussianPrior(1.0, 10),
    "LaplacePrior": lambda: kr.regularizers.LaplacePrior(1.0, 10),
    "StudentTPrior": lambda: kr.regularizers.StudentTPrior(1.0, 10, 2.0),
}


def cases() -> Iterator[Case]:
    for name, make in PENALTIES.items():
        yield from _penalty(name, make())
    yield from _schedule()
    yield from _initializers()
    yield from _constraints()


def _penalty(name: str, penalty: Any) -> Iterator[Case]:
    case = partial(Case, f"regularizers.{name}")
    yield case("whole numbers", lambda: penalty(np.ones((4, 3), "int32")), refused("`x`", "int32"))
    yield case("words", lambda: penalty(np.full((4, 3), "x")), WORDS)
    yield case("a NaN weight", lambda: array(penalty(np.where(W[0, 0] == W, np.float32(nan), W))), _is_nan)
    yield case(
        "an infinite weight", lambda: array(penalty(np.where(W[0, 0] == W, np.float32(inf), W))), _not_finite
    )
    yield case("no weights", lambda: array(penalty(W[:0])), _zero)
    yield case("weights of 0", lambda: array(penalty(np.zeros((4, 3), "float32"))), _finite)


WORDS = refused("`x`", "string") if keras.backend.backend() == "tensorflow" else refused(by="Keras")


def _is_nan(found: Any) -> None:
    assert np.isnan(found), found


def _not_finite(found: Any) -> None:
    assert not np.isfinite(found), found


def _finite(found: Any) -> None:
    assert np.isfinite(found).all(), found


def _zero(found: Any) -> None:
    assert found == 0, found


def _schedule() -> Iterator[Case]:
    case, schedule = partial(Case, "regularizers.Schedule"), kr.regularizers.Schedule
    for what, function in (
        ("NaN at step 0", lambda step: step * nan),
        ("infinity at step 0", lambda step: step + inf),
        ("a negative strength at step 0", lambda step: step - 1.0),
        ("a vector", lambda step: keras.ops.ones(3)),
        ("words", lambda step: "x"),
        ("None", lambda step: None),
    ):
        yield case(what, partial(schedule, function), refused("Schedule"))
    yield case("a class", partial(schedule, dict), refused("`function`"))
    for what, make, words in (
        ("warmup of no steps", partial(schedule.warmup, 0.1, 0), ("`steps`", "0")),
        ("warmup of NaN", partial(schedule.warmup, nan, 3), ("`strength`", "nan")),
        ("cosine from 0", partial(schedule.cosine, 0.0, 3), ("`strength`", "0.0")),
        ("cosine to infinity", partial(schedule.cosine, 0.1, 3, inf), ("`end`", "inf")),
        (
            "piecewise out of order",
            partial(schedule.piecewise, [5, 3], [1, 2, 3]),
            ("`boundaries`", "[5, 3]"),
        ),
        ("piecewise of too few", partial(schedule.piecewise, [3], [1]), ("`strengths`", "1")),
        ("piecewise of a number", partial(schedule.piecewise, 3, [1]), ("`boundaries`", "3")),
        ("piecewise of nothing", partial(schedule.piecewise, [], [1]), ("`boundaries`", "[]")),
    ):
        yield case(what, make, refused(*words))
    warm = schedule.warmup(0.1, 10)
    yield case("a vector of steps", lambda: warm(np.arange(3.0)), refused("`step`", "(3,)"))
    late = schedule(lambda step: keras.ops.where(step > 0, -1.0, 1.0))
    yield case("a negative strength later", lambda: float(array(late(5.0))), _zero)


def _initializers() -> Iterator[Case]:
    case, calibrated = partial(Case, "initializers.Calibrated"), kr.initializers.Calibrated
    for what, make, shape, words in (
        ("a number as shape", calibrated(), 3, ("`shape`", "3")),
        ("words as shape", calibrated(), "ab", ("`shape`", "'ab'")),
        ("no axes", calibrated(), (), ("`shape`", "()")),
        ("a negative size", calibrated(), (-3, 4), ("`shape`", "-3")),
        ("an unknown size", calibrated(), (None, 4), ("`shape`", "None")),
        ("a dense kernel for a convolution", calibrated(kind="conv"), (4,), ("`shape`", "(4,)")),
        ("a dense kernel for a depthwise one", calibrated(kind="depthwise"), (4,), ("`shape`", "(4,)")),
        ("axes that the kernel has not", calibrated(input_axes=(5,)), (3, 4), ("`input_axes`", "5")),
        ("groups that do not fit", calibrated(kind="conv", groups=3), (3, 3, 2, 4), ("`groups`", "3")),
        (
            "strides of other axes",
            calibrated(kind="transpose", strides=(2, 2, 2)),
            (3, 3, 2, 4),
            ("`strides`",),
        ),
        ("a NaN size", calibrated(), (nan, 4), ("`shape`", "nan")),
    ):
        yield case(what, partial(make, shape), refused(*words))
    yield case("a kernel without inputs", lambda: array(calibrated()((0, 4))), lambda w: _shape(w, (0, 4)))
    for what, activation in (
        ("an activation of NaN", lambda x: x * nan),
        ("an activation of 0", lambda x: x * 0),
        ("an activation of two inputs", lambda x, y: x),
        ("an activation that raises", _raises),
        ("an activation that gives words", lambda x: "x"),
    ):
        yield case(what, partial(calibrated, activation), refused("`activation`"))
    delta = kr.initializers.DeltaOrthogonal()
    for what, shape in (
        ("a dense kernel", (4, 4)),
        ("fewer outputs than inputs", (3, 3, 8, 4)),
        ("no shape", ()),
        ("a number as shape", 3),
        ("an unknown size", (None, 3, 4)),
        ("a kernel of no width", (0, 4, 4)),
    ):
        yield Case("initializers.DeltaOrthogonal", what, partial(delta, shape), refused("`shape`"))
    for what, layer in (
        ("no layer", 3),
        ("None", None),
        ("a layer without a kernel", keras.layers.ReLU()),
        ("a layer's class", keras.layers.Dense),
        ("attention that is not built", keras.layers.MultiHeadAttention(2, 2)),
    ):
        yield Case(
            "initializers.for_layer", what, partial(kr.initializers.for_layer, layer), refused("`layer`")
        )
    yield Case(
        "initializers.for_layer",
        "an unknown activation",
        partial(kr.initializers.for_layer, keras.layers.Dense(3), "rectifier"),
        refused("`activation`"),
    )
    yield Case(
        "initializers.for_layer",
        "a negative seed",
        partial(kr.initializers.for_layer, keras.layers.Dense(3), seed=-1),
        refused("`seed`", "-1"),
    )
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="out")])
    empty = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    draw = kr.initializers.reinitialize
    for what, do, words in (
        ("an unbuilt model", lambda: draw(keras.Sequential([keras.layers.Dense(3)])), ("`model`",)),
        ("no model", lambda: draw(None), ("`model`", "None")),
        ("a model without kernels", lambda: draw(empty), ("`model`",)),
        ("an unknown activation", lambda: draw(model, "rectifier"), ("`activation`",)),
        ("softmax", lambda: draw(model, "softmax"), ("`activation`",)),
        ("a fraction as seed", lambda: draw(model, seed=1.5), ("`seed`", "1.5")),
    ):
        yield Case("initializers.reinitialize", what, do, refused(*words), lambda: weights_of(model))


def _raises(x: Any) -> Any:
    raise KeyError("nothing of that name")


def _shape(found: Any, wanted: tuple[int, ...]) -> None:
    assert found.shape == wanted, found.shape


def _constraints() -> Iterator[Case]:
    bounded, unit = kr.constraints.MaxNorm(1.0), kr.constraints.UnitNorm()
    soft, group = kr.constraints.SoftThreshold(0.1), kr.constraints.GroupSoftThreshold(0.1)
    bad = np.where(np.arange(3) == 1, np.float32(nan), W)
    for name, do in (
        ("MaxNorm", bounded),
        ("UnitNorm", unit),
        ("SoftThreshold", lambda w: soft.prox(w, 0.5)),
        ("GroupSoftThreshold", lambda w: group.prox(w, 0.5)),
    ):
        case = partial(Case, f"constraints.{name}")
        yield case("a unit of NaN", lambda do=do: (array(do(bad)), array(do(W))), _only_its_unit)
        yield case(
            "an infinite weight",
            lambda do=do: (
                array(do(np.where(np.arange(12).reshape(4, 3) == 1, np.float32(inf), W))),
                array(do(W)),
            ),
            _only_its_unit,
        )
        yield case("no weights", lambda do=do: array(do(W[:0])), lambda w: _shape(w, (0, 3)))
        yield case(
            "weights of 0",
            lambda do=do: array(do(np.zeros((4, 3), "float32"))),
            lambda w: _zero(np.abs(w).max()),
        )
        yield case("whole numbers", lambda do=do: do(np.ones((4, 3), "int32")), refused("`w`", "int32"))
        yield case(
            "words",
            lambda do=do: do(np.full((4, 3), "x")),
            refused("`w`", "string") if keras.backend.backend() == "tensorflow" else refused(by="Keras"),
        )
    for name, made in (
        ("MaxNorm", kr.constraints.MaxNorm(1.0, axis=5)),
        ("UnitNorm", kr.constraints.UnitNorm(axis=5)),
    ):
        yield Case(
            f"constraints.{name}", "axes that the weights have not", partial(made, W), refused("`axis`", "5")
        )
    far = kr.constraints.GroupSoftThreshold(0.1, axis=5)
    yield Case(
        "constraints.GroupSoftThreshold",
        "axes that the weights have not",
        lambda: far.prox(W, 0.5),
        refused("`axis`", "5"),
    )
    for name, made in (("SoftThreshold", soft), ("GroupSoftThreshold", group)):
        case = partial(Case, f"constraints.{name}")
        yield case("a call outside of a step", partial(made, W), refused("`w`", "prox"))
        for what, step, words in (
            ("a negative step size", -0.5, ("`step_size`", "-0.5")),
            ("a NaN step size", nan, ("`step_size`", "nan")),
            ("an infinite step size", inf, ("`step_size`", "inf")),
            ("words as step size", "x", ("`step_size`", "'x'")),
            ("step sizes of another shape", np.ones((2, 2), "float32"), ("`step_size`", "(2, 2)")),
        ):
            yield case(what, partial(made.prox, W, step), refused(*words))
        layer = keras.layers.Dense(2, kernel_constraint=made)
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile(keras.optimizers.Adadelta(), "mse")
        yield case(
            "an optimizer without a metric",
            lambda model=model: model.train_on_batch(W[:, :3], W[:, :2]),
            refused("`optimizer`", "Adadelta"),
            lambda model=model: weights_of(model),
        )


def _only_its_unit(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found, clean = pair
    np.testing.assert_array_equal(np.delete(found, 1, 1), np.delete(clean, 1, 1))
    assert not np.isfinite(found[:, 1]).all(), "a unit of NaN became a number"
