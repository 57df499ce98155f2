"""What is given to the verbs that act on a whole model: models, batches, patterns."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from bad_case import Case, array, inf, nan, refused, weights_of

import kerasreg as kr

X = np.random.default_rng(5).normal(size=(8, 6)).astype("float32")
Y = np.arange(8) % 3


@cache
def trained() -> keras.Model:
    """A small classifier with all that the verbs are about."""
    layers = [
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.Dense(4, "tanh", name="hidden"),
        keras.layers.Dropout(0.5, seed=1, name="drop"),
        keras.layers.Dense(3, "softmax", name="out"),
    ]
    model = keras.Sequential([keras.Input((6,)), *layers], name="small")
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.01), "sparse_categorical_crossentropy")
    return model


@cache
def imager() -> keras.Model:
    return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3, padding="same")])


def unbuilt() -> keras.Model:
    return keras.Sequential([keras.layers.Dense(3), keras.layers.BatchNormalization()], name="raw")


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.dense, self.bn = keras.layers.Dense(3), keras.layers.BatchNormalization()

    def call(self, x: Any) -> Any:
        return self.bn(self.dense(x))


def state() -> Any:
    model = trained()
    optimizer = [array(v.value) for v in model.optimizer.variables]
    penalties = [str(weight.regularizer) for weight in model.weights]
    return [*weights_of(model), *optimizer, *penalties, type(model.layers[0]).__name__]


def cases() -> Iterator[Case]:
    yield from _models()
    yield from _batches()
    yield from _mc_predict()
    yield from _tta_predict()
    yield from _reestimate()
    yield from _patterns()
    yield from _sensitivity()


def _models() -> Iterator[Case]:
    pipeline = _pipeline()
    verbs = {
        "calibrate": lambda model: kr.calibrate(model, X),
        "check": lambda model: kr.check(model, X),
        "decay_exclusions": lambda model: kr.decay_exclusions(trained().optimizer, model, "*"),
        "fold_batch_norm": kr.fold_batch_norm,
        "freeze_batch_norm": kr.freeze_batch_norm,
        "mc_predict": lambda model: kr.mc_predict(model, X),
        "reestimate": lambda model: kr.reestimate(model, X),
        "regularize": lambda model: kr.regularize(model, {"*": "l2"}),
        "shrink": kr.shrink,
        "to_keras": kr.to_keras,
        "tta_predict": lambda model: kr.tta_predict(model, np.zeros((2, 6, 6, 1), "float32"), pipeline),
        "diagnostics.loss_sensitivity": lambda model: kr.diagnostics.loss_sensitivity(model, X, Y),
    }
    for name, verb in verbs.items():
        case = partial(Case, name, wants=refused("`model`"), state=state)
        yield case("an unbuilt model", lambda verb=verb: verb(unbuilt()))
        yield case("a subclassed model that was never called", lambda verb=verb: verb(Subclassed()))
        yield case("None for a model", lambda verb=verb: verb(None))
        yield case("a layer for a model", lambda verb=verb: verb(keras.layers.Dense(3)))
        yield case("a class for a model", lambda verb=verb: verb(keras.Model))
        yield case("a path for a model", lambda verb=verb: verb("model.keras"))
    plain = keras.Sequential([keras.Input((6,)), keras.layers.ReLU()])
    for name in (
        "calibrate",
        "decay_exclusions",
        "fold_batch_norm",
        "freeze_batch_norm",
        "reestimate",
        "regularize",
    ):
        yield Case(
            name,
            "a model with nothing to do",
            lambda name=name: verbs[name](plain),
            refused("`model`"),
            state,
        )
    yield Case(
        "mc_predict", "a model with nothing to do", lambda: verbs["mc_predict"](plain), refused("`model`")
    )
    yield Case(
        "diagnostics.loss_sensitivity",
        "a model that is not compiled",
        lambda: kr.diagnostics.loss_sensitivity(plain, X, Y),
        refused("`model`"),
    )
    yield Case(
        "check",
        "targets for a model that is not compiled",
        lambda: kr.check(plain, X, Y),
        refused("`model`", "compile"),
    )
    called = Subclassed()
    called(X)
    for name in ("fold_batch_norm", "shrink", "to_keras"):
        yield Case(
            name,
            "a subclassed model",
            lambda name=name: verbs[name](called),
            refused("`model`", "own"),
            lambda: weights_of(called),
        )
    for name, arguments in (
        ("fold_batch_norm", {"report": 1}),
        ("freeze_batch_norm", {"frozen": "no"}),
        ("freeze_batch_norm", {"affine": 0}),
        ("shrink", {"report": "x"}),
        ("to_keras", {"report": None}),
        ("to_keras", {"mc_off": 1}),
    ):
        (argument,) = arguments
        yield Case(
            name,
            f"{argument}={arguments[argument]!r}",
            lambda name=name, arguments=arguments: getattr(kr, name)(trained(), **arguments),
            refused(f"`{argument}`"),
            state,
        )
    for what, variance in (("statistics of NaN", nan), ("a negative variance", -5.0)):
        yield Case(
            "fold_batch_norm",
            what,
            lambda variance=variance: kr.fold_batch_norm(_with_statistics(variance), report=True),
            _stays,
        )


def _stays(found: Any) -> None:
    model, report = found
    assert isinstance(model.layers[-1], keras.layers.BatchNormalization), "folded"
    assert "finite" in str(report), report


def _with_statistics(variance: float) -> keras.Model:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    model.layers[1].moving_variance.assign(np.full(3, variance))
    return model


def _bad_batches(least: int) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """What no batch for the model is."""
    yield "no rows", X[:0], ()
    if least > 1:
        yield "one row", X[:1], ()
    yield "other features", X[:, :2], ("(8, 2)",)
    yield "a rank too high", X[None, None], ()
    yield "a number", 3.0, ()
    yield "words", np.full((8, 6), "x"), ()
    yield "None", None, ()
    yield "a list of unequal rows", [[1.0] * 6, [1.0] * 5], ()
    yield "an empty dataset", tf.data.Dataset.from_tensor_slices(X).batch(4).take(0), ()
    yield "two arrays of other lengths", [X, X[:3]], ()


def _nonfinite(value: float) -> np.ndarray:
    x = X.copy()
    x[2, 1] = value
    return x


def _batches() -> Iterator[Case]:
    looks = {
        "calibrate": lambda x: kr.calibrate(trained(), x),
        "check": lambda x: kr.check(trained(), x),
        "diagnostics.loss_sensitivity": lambda x: kr.diagnostics.loss_sensitivity(trained(), x, Y),
    }
    for name, look in looks.items():
        for what, x, words in _bad_batches(2):
            yield Case(name, what, partial(look, x), refused("`x`", *words), state)
        for word, value in (("NaN", nan), ("infinity", inf)):
            yield Case(name, word, partial(look, _nonfinite(value)), refused("`x`"), state)
    for what, y, words in (
        ("targets of other rows", Y[:3], ("rows",)),
        ("NaN in the targets", np.where(Y == 1, nan, Y), ("NaN",)),
        ("no targets", Y[:0], ()),
        ("words as targets", np.full(8, "x"), ()),
        ("a label past the classes", np.where(Y == 1, 7, Y), ("7",)),
        ("a negative label", Y - 1, ("-1",)),
    ):
        yield Case("check", what, lambda y=y: kr.check(trained(), X, y), refused("`y`", *words), state)
        yield Case(
            "diagnostics.loss_sensitivity",
            what,
            lambda y=y: kr.diagnostics.loss_sensitivity(trained(), X, y),
            refused("`y`", *words),
            state,
        )
    for arguments in (
        {"target": 0},
        {"target": nan},
        {"per_channel": 1},
        {"dry_run": "x"},
        {"branch_target": -1.0},
        {"branch_target": "big"},
        {"branch_target": {"none*": 1.0}},
        {"exclude": ["none*"]},
        {"exclude": 3},
    ):
        (argument,) = arguments
        yield Case(
            "calibrate",
            f"{arguments}",
            lambda arguments=arguments: kr.calibrate(trained(), X, **arguments),
            refused(f"`{argument}"),
            state,
        )

    def zeroed() -> Any:
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(4, kernel_initializer="zeros"), keras.layers.Dense(3)]
        )
        return kr.calibrate(model, X)

    yield Case("calibrate", "a kernel of zeros on the way", zeroed, refused("dense"))
    yield Case("calibrate", "a batch of zeros", lambda: kr.calibrate(trained(), X * 0), refused("`"), state)


def _mc_predict() -> Iterator[Case]:
    def predict(x: Any = X, **arguments: Any) -> Any:
        return kr.mc_predict(trained(), x, **{"samples": 4, "seed": 0, "verbose": False, **arguments})

    case = partial(Case, "mc_predict", state=state)
    for what, x, words in _bad_batches(1):
        yield case(what, partial(predict, x), refused("`x`", *words))
    for arguments in (
        {"samples": 1},
        {"samples": 2.5},
        {"batch_size": 0},
        {"seed": -1},
        {"seed": 1.5},
        {"tolerance": 0},
        {"tolerance": nan},
        {"return_samples": 1},
        {"antithetic": "x"},
        {"verbose": "x"},
        {"exact_last_layer": 0},
    ):
        (argument,) = arguments
        yield case(f"{arguments}", partial(predict, **arguments), refused(f"`{argument}`"))

    yield case("a row of NaN", lambda: (predict(_nonfinite(nan)), predict()), _only_its_row)
    yield case("a batch of one", lambda: predict(X[:1]), _finite_prediction)
    yield case("whole numbers", lambda: predict(np.ones((8, 6), "int32")), _finite_prediction)
    frame = predict()
    yield Case(
        "uncertainty.Prediction",
        "an output that it has not",
        lambda: _message(KeyError, lambda: frame["other"]),
        _names("other"),
    )
    regression = keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    numbers = kr.mc_predict(regression, X, samples=4, seed=0, verbose=False)
    yield Case(
        "uncertainty.Prediction",
        "the entropy of what are no classes",
        lambda: numbers.entropy,
        refused("entropy", "softmax"),
    )


def _message(kind: type[Exception], do: Any) -> str:
    """What an error of another kind says, where that kind is the right one."""
    try:
        do()
    except kind as error:
        return str(error)
    return "nothing"


def _names(word: str) -> Any:
    def check(text: str) -> None:
        assert word in text, text

    return check


def _only_its_row(pair: tuple[Any, Any]) -> None:
    bad, clean = pair
    others = np.arange(8) != 2
    np.testing.assert_allclose(bad.mean[others], clean.mean[others], rtol=1e-6)
    assert not np.isfinite(bad.mean[2]).any(), "a number out of NaN"
    _finite_prediction(clean)


def _finite_prediction(found: Any) -> None:
    assert np.isfinite(found.mean).all()
    assert np.isfinite(found.variance).all()


def _pipeline(*transforms: Any, **arguments: Any) -> Any:
    augment = kr.augment
    return augment.Pipeline(
        list(transforms) or [augment.RandomFlip()], **{"value_range": (0, 1), **arguments}
    )


def _tta_predict() -> Iterator[Case]:
    images = np.random.default_rng(1).uniform(0.1, 0.9, (4, 6, 6, 1)).astype("float32")
    pipeline = _pipeline()

    def predict(x: Any = images, pipeline: Any = pipeline, **arguments: Any) -> Any:
        return kr.tta_predict(
            imager(), x, pipeline, **{"samples": 2, "seed": 0, "verbose": False, **arguments}
        )

    case = partial(Case, "tta_predict", state=lambda: weights_of(imager()))
    bad = images.copy()
    bad[1, 2, 2] = nan
    for what, x, words in (
        ("no rows", images[:0], ("`x`",)),
        ("NaN in an image", bad, ("`value_range`", "NaN")),
        ("infinity in an image", np.where(np.isnan(bad), np.float32(inf), bad), ("`value_range`", "inf")),
        ("values past the range", images * 255, ("`value_range`",)),
        ("uint8 images for a range of (0, 1)", (images * 255).astype("uint8"), ("`value_range`", "uint8")),
        ("rows of features", X, ("`x`", "(8, 6)")),
        ("images of another size", images[:, :3], ("`x`", "(4, 3, 6, 1)")),
        ("words", np.full((4, 6, 6, 1), "x"), ("`",)),
        ("None", None, ("`x`",)),
        ("an empty dataset", tf.data.Dataset.from_tensor_slices(images).batch(2).take(0), ("`x`",)),
    ):
        yield case(what, partial(predict, x), refused(*words))
    for arguments in (
        {"samples": 1},
        {"batch_size": 0},
        {"seed": -1},
        {"dense": 1},
        {"dropout_samples": 1},
        {"dropout_samples": 2},
        {"return_samples": "x"},
        {"verbose": "x"},
    ):
        (argument,) = arguments
        wanted = "`model`" if arguments == {"dropout_samples": 2} else f"`{argument}`"
        yield case(f"{arguments}", partial(predict, **arguments), refused(wanted))
    yield case("no pipeline", partial(predict, pipeline=3), refused("`pipeline`", "3"))
    mixing = _pipeline(kr.augment.MixUp(0.2, num_classes=3))
    yield case("a pipeline that mixes", partial(predict, pipeline=mixing), refused("`pipeline`", "MixUp"))
    yield case("a batch of one", lambda: predict(images[:1]), _finite_prediction)


def _reestimate() -> Iterator[Case]:
    def measure(data: Any, **arguments: Any) -> Any:
        return kr.reestimate(trained(), data, **{"batch_size": 4, "verbose": False, **arguments})

    case = partial(Case, "reestimate", state=state)
    slices = tf.data.Dataset.from_tensor_slices
    for what, data, words in (
        ("NaN", _nonfinite(nan), ("`data`", "bn")),
        ("infinity", _nonfinite(inf), ("`data`", "bn")),
        ("no rows", X[:0], ("`data`",)),
        ("an empty dataset", slices(X).batch(4).take(0), ("`data`",)),
        ("an endless dataset", slices(X).batch(4).repeat(), ("`steps`",)),
        ("other features", X[:, :2], ("`data`", "(4, 2)")),
        ("other features in a dataset", slices(X[:, :2]).batch(4), ("`data`", "(4, 2)")),
        ("words", np.full((8, 6), "x"), ("`data`",)),
        ("None", None, ("`data`",)),
        ("a number", 3, ("`data`",)),
        ("a word", "x", ("`data`",)),
        ("inputs of other lengths", [X, X[:3]], ("`data`",)),
        ("NaN in the second batch", np.concatenate([X, _nonfinite(nan)]), ("`data`", "batch 3")),
    ):
        yield case(what, partial(measure, data), refused(*words))
    for arguments in ({"steps": 0}, {"steps": 1.5}, {"batch_size": 0}, {"verbose": "x"}):
        (argument,) = arguments
        yield case(f"{arguments}", partial(measure, X, **arguments), refused(f"`{argument}`"))
    yield case(
        "a generator that raises", lambda: _message(OSError, lambda: measure(_failing())), _names("disk")
    )
    yield Case(
        "reestimate", "one row", _one_row, lambda found: np.testing.assert_allclose(found[0], X[0], rtol=1e-5)
    )


def _one_row() -> Any:
    model = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization()])
    kr.reestimate(model, X[:1], verbose=False)
    return [array(w) for w in model.layers[0].weights[2:]]


def _failing() -> Iterator[Any]:
    yield X
    raise OSError("the disk is gone")


def _patterns() -> Iterator[Case]:
    def put(rules: Any) -> Any:
        return kr.regularize(trained(), rules)

    for what, rules, words in (
        ("a pattern that fits nothing", {"none*": "l2"}, ("none*", "hidden/kernel")),
        ("a broken expression", {"(": "l2"}, ("(",)),
        ("an empty pattern", {"": "l2"}, ("`rules`",)),
        ("a number as pattern", {3: "l2"}, ("`rules`", "3")),
        ("a statistic", {"bn/moving_mean": "l2"}, ("moving_mean",)),
        ("an unknown regularizer", {"*": "l7"}, ("l7",)),
        ("a number as regularizer", {"*": 0.1}, ("0.1",)),
        ("a function that nobody registered", {"*": lambda w: 0.0}, ("register",)),
        (
            "a config of somebody's module",
            {"*": {"module": "os", "class_name": "system", "config": {}}},
            ("`rules`",),
        ),
        ("a list", ["*"], ("`rules`",)),
        ("None", None, ("`rules`", "None")),
        ("a second rule that fits nothing", {"*/kernel": "l2", "none*": "l2"}, ("none*",)),
        ("a group lasso of other axes", {"*/kernel": kr.regularizers.GroupLasso(0.1, axis=5)}, ("`axis`",)),
    ):
        yield Case("regularize", what, partial(put, rules), refused(*words), state)
    poisoned = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="out")])
    poisoned.layers[0].kernel.assign([[nan], [1.0]])
    yield Case(
        "regularize",
        "a weight of NaN",
        lambda: kr.regularize(poisoned, {"*": "l2"}),
        refused("nan", "out/kernel"),
        lambda: [str(w.regularizer) for w in poisoned.weights],
    )
    optimizer = trained().optimizer

    def spare(patterns: Any, by: Any = optimizer) -> Any:
        return kr.decay_exclusions(by, trained(), patterns)

    for what, patterns, words in (
        ("a pattern that fits nothing", "none*", ("none*",)),
        ("a second pattern that fits nothing", ["*/bias", "none*"], ("none*",)),
        ("a broken expression", ["("], ("(",)),
        ("a number", 3, ("`patterns`", "3")),
        ("None", None, ("`patterns`", "None")),
        ("a number in a list", [3], ("`patterns`", "3")),
    ):
        yield Case("decay_exclusions", what, partial(spare, patterns), refused(*words), state)
    for what, by in (
        ("a name for an optimizer", "adamw"),
        ("None for an optimizer", None),
        ("an optimizer without decay", keras.optimizers.SGD(0.1)),
    ):
        yield Case("decay_exclusions", what, partial(spare, "*", by), refused("`optimizer`"), state)


def _sensitivity() -> Iterator[Case]:
    measure = partial(kr.diagnostics.loss_sensitivity, trained(), X, Y)
    for arguments in (
        {"scale": 0},
        {"scale": nan},
        {"scale": [0.1, -1]},
        {"scale": []},
        {"repeats": 1},
        {"seed": -1},
        {"training": 1},
    ):
        (argument,) = arguments
        yield Case(
            "diagnostics.loss_sensitivity",
            f"{arguments}",
            partial(measure, **arguments),
            refused(f"`{argument}`"),
            state,
        )
    yield Case(
        "diagnostics.loss_sensitivity",
        "None for targets",
        lambda: kr.diagnostics.loss_sensitivity(trained(), X, None),
        refused("`y`", "None"),
        state,
    )
    plot = kr.diagnostics.plot_loss_sensitivity
    for what, curves in (
        ("nothing", {}),
        ("a number", 3),
        ("a dict of something else", {"a": 3}),
        ("no points", {"a": []}),
    ):
        yield Case("diagnostics.plot_loss_sensitivity", what, partial(plot, curves), refused("`curves`"))
