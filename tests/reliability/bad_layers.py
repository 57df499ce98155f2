"""What is given to layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from bad_case import Case, array, inf, nan, refused, weights_of
from keras_versions import HAS_RENORM

import kerasreg as kr

layers = kr.layers
RNG = np.random.default_rng(0)

# A layer with one seed, and a batch that it takes.
NOISY = {
    "Dropout": (lambda: layers.Dropout(0.5, seed=1), (4, 6)),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5, seed=1), (4, 6)),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.5, seed=1), (4, 6)),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5, seed=1), (4, 5, 6)),
    "SpatialDropout2D": (lambda: layers.SpatialDropout2D(0.5, seed=1), (4, 5, 5, 3)),
    "SpatialDropout3D": (lambda: layers.SpatialDropout3D(0.5, seed=1), (4, 3, 3, 3, 2)),
    "DropPath": (lambda: layers.DropPath(0.5, seed=1), (4, 6)),
    "DropBlock2D": (lambda: layers.DropBlock2D(0.3, 2, seed=1), (4, 5, 5, 3)),
    "ConcreteDropout": (
        lambda: layers.ConcreteDropout(keras.layers.Dense(3, kernel_initializer="ones"), 100, seed=1),
        (4, 6),
    ),
    "LSTM": (lambda: layers.LSTM(3, dropout=0.5, seed=1, **_fixed()), (4, 5, 6)),
    "GRU": (lambda: layers.GRU(3, dropout=0.5, seed=1, **_fixed()), (4, 5, 6)),
}
# JAX has no words: there Keras says so before a layer is reached.
WORDS = refused("`inputs`", "string") if keras.backend.backend() == "tensorflow" else refused(by="Keras")
WORDS_AS_MASK, WORDS_INVERTED = (
    refused(f"`{name}`", "string") if keras.backend.backend() == "tensorflow" else refused(by="Keras")
    for name in ("mask", "x")
)
RANKS = {"SpatialDropout1D": 3, "SpatialDropout2D": 4, "SpatialDropout3D": 5, "LSTM": 3, "GRU": 3}


def _fixed() -> dict[str, Any]:
    """Initial weights that are the same in two layers."""
    return {
        f"{name}_initializer": keras.initializers.GlorotUniform(seed=i)
        for i, name in enumerate(("kernel", "recurrent"))
    }


def cases() -> Iterator[Case]:
    for name, (make, shape) in NOISY.items():
        yield from _noisy(name, make, shape)
    yield from _sequences()
    yield from _batch_normalization()
    yield from _normalization()
    yield from _temperature_scaling()


def batch(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype("float32")


def _noisy(name: str, make: Any, shape: tuple[int, ...]) -> Iterator[Case]:
    good = batch(shape)
    case = partial(Case, f"layers.{name}")
    for word, value in (("NaN", nan), ("infinity", inf)):
        bad = good.copy()
        bad[1] = value

        def two_calls(bad: np.ndarray = bad) -> tuple[Any, ...]:
            one, other = make(), make()
            return tuple(
                array(y)
                for layer, first in ((one, bad), (other, good))
                for y in (layer(first, training=True), layer(good, training=True))
            )

        yield case(f"a row of {word}, in training", two_calls, _only_its_row)
    empty = refused("`inputs`", name, "(0, 5, 6)") if name in ("LSTM", "GRU") else _empty
    yield case("an empty batch, in training", lambda: make()(good[:0], training=True), empty)
    yield case("an empty batch", lambda: make()(good[:0]), empty)
    yield case("a batch of one, in training", lambda: make()(good[:1], training=True), _one_finite_row)
    layer = make()
    layer(good)
    whole = np.ones(shape, "int32")
    yield case(
        "whole numbers, in training",
        lambda: layer(whole, training=True),
        refused("`inputs`", name, "int32"),
        lambda: weights_of(layer),
    )
    if name in RANKS:
        yield case(
            "a rank too low",
            lambda: layer(good[..., 0]),
            refused("ndim", by="Keras"),
            lambda: weights_of(layer),
        )
    yield case("words", lambda: layer(np.full(shape, "x"), training=True), WORDS, lambda: weights_of(layer))


def _only_its_row(calls: tuple[np.ndarray, ...]) -> None:
    first, second, clean_first, clean_second = calls
    others = np.arange(len(first)) != 1
    np.testing.assert_array_equal(first[others], clean_first[others])
    np.testing.assert_array_equal(second, clean_second)
    assert np.isfinite(second).all(), "the next batch is not finite"


def _empty(y: Any) -> None:
    assert y.shape[0] == 0


def _one_finite_row(y: Any) -> None:
    assert y.shape[0] == 1
    assert np.isfinite(array(y)).all()


def _sequences() -> Iterator[Case]:
    good = batch((4, 5, 6))
    for name in ("LSTM", "GRU"):
        make = NOISY[name][0]
        mask = np.ones((4, 5), bool)
        mask[1] = False

        def masked(make: Any = make, mask: np.ndarray = mask) -> tuple[np.ndarray, np.ndarray]:
            return (array(make()(good, mask=mask, training=True)), array(make()(good, training=True)))

        def silent_row(ys: tuple[np.ndarray, np.ndarray]) -> None:
            assert (ys[0][1] == 0).all(), "a state out of nothing"
            np.testing.assert_allclose(np.delete(ys[0], 1, 0), np.delete(ys[1], 1, 0), rtol=1e-5, atol=1e-6)

        yield Case(f"layers.{name}", "a fully masked sequence", masked, silent_row)
        built = make()
        built(good)
        yield Case(
            f"layers.{name}",
            "other features than it was built for",
            lambda built=built: built(good[..., :2]),
            refused("`inputs`", "(4, 5, 2)"),
            lambda built=built: weights_of(built),
        )
    drop = layers.DropBlock2D(0.3, 2)
    yield Case("layers.DropBlock2D", "a rank too low", lambda: drop(good), refused("`inputs`", "(4, 5, 6)"))
    concrete = NOISY["ConcreteDropout"][0]()
    concrete(good[:, 0])
    yield Case(
        "layers.ConcreteDropout",
        "other features than it was built for",
        lambda: concrete(good[:, 0, :2], training=True),
        refused("`inputs`", "(4, 2)"),
        lambda: weights_of(concrete),
    )


BATCH_NORMS = {
    "as it is": {},
    "debiased": {"averaging": "debiased"},
    "cumulative": {"averaging": "cumulative"},
    "moving": {"normalize_with": "moving"},
    "ghost batches": {"virtual_batch_size": 2},
}
if HAS_RENORM:
    BATCH_NORMS["renorm"] = {"renorm": True, "renorm_clipping": {"rmin": 0.5, "rmax": 2.0, "dmax": 1.0}}


def _batch_normalization() -> Iterator[Case]:
    good = batch((4, 3))
    case = partial(Case, "layers.BatchNormalization")

    def bads() -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        for word, value in (("NaN", nan), ("infinity", inf), ("-infinity", -inf)):
            x = good.copy()
            x[1, 2] = value
            yield f"one {word}", x, None
        yield "an empty batch", good[:0], None
        yield "a fully masked batch", good, np.zeros(4, bool)
        yield "a fully masked batch, as numbers", good, np.zeros(4, "float32")

    # What a mode does with such a batch is one code for all backends; JAX compiles every operation anew.
    quick = keras.backend.backend() != "tensorflow"
    modes = ("as it is", "ghost batches") if quick else tuple(BATCH_NORMS)
    for mode in modes:
        for what, x, mask in bads():
            arguments = BATCH_NORMS[mode]
            if quick and ("infinity" in what or "numbers" in what):
                continue

            def two(arguments: Any = arguments, x: Any = x, mask: Any = mask) -> tuple[Any, ...]:
                one, other = (layers.BatchNormalization(**arguments) for _ in range(2))
                found = []
                for layer, first in ((one, x), (other, None)):
                    layer(good, training=True)
                    if first is not None:
                        layer(first, training=True, **({} if mask is None else {"mask": mask}))
                    found.append(
                        (
                            array(layer(good, training=True)),
                            [array(w.value) for w in layer.weights],
                            layer.skipped_batches,
                        )
                    )
                return tuple(found)

            def skipped(found: tuple[Any, ...]) -> None:
                (y, weights, count), (clean, clean_weights, none) = found
                assert (count, none) == (1, 0), f"{count} skipped"
                np.testing.assert_array_equal(y, clean)
                for weight, wanted in zip(weights, clean_weights, strict=True):
                    np.testing.assert_array_equal(weight, wanted)

            yield case(f"{what}, in training, {mode}", two, skipped)
    built = layers.BatchNormalization()
    built(good)
    image = layers.BatchNormalization()
    image(np.zeros((2, 5, 5, 3), "float32"))

    def state() -> Any:
        return weights_of(built)

    yield case(
        "channels first for a layer of channels last",
        lambda: image(np.zeros((2, 3, 5, 5), "float32")),
        refused("axis", by="Keras"),
        lambda: weights_of(image),
    )
    yield case(
        "other features than it was built for",
        lambda: built(good[:, :2], training=True),
        refused("axis", by="Keras"),
        state,
    )
    yield case(
        "a mask of other rows",
        lambda: built(good, training=True, mask=np.ones(3, bool)),
        refused("`mask`", "(3,)"),
        state,
    )
    yield case(
        "a mask of words", lambda: built(good, training=True, mask=np.full(4, "x")), WORDS_AS_MASK, state
    )
    yield case(
        "a mask of fractions",
        lambda: built(good, training=True, mask=np.full(4, 0.5, "float32")),
        refused("`mask`", "float32"),
        state,
    )
    yield case(
        "whole numbers, in training",
        lambda: layers.BatchNormalization()(np.ones((4, 3), "int32"), training=True),
        lambda y: _finite(y),
    )
    yield case("words", lambda: built(np.full((4, 3), "x"), training=True), WORDS, state)
    yield case(
        "a batch of one, in training",
        lambda: layers.BatchNormalization()(good[:1], training=True),
        _one_finite_row,
    )
    yield case(
        "NaN at inference",
        lambda: array(built(np.where(np.eye(4, 3) > 0, nan, good))),
        lambda y: _nan_where(y, np.eye(4, 3) > 0),
        state,
    )
    yield case(
        "no feature axis", lambda: layers.BatchNormalization()(np.ones(4, "float32")), refused("`axis`")
    )
    yield case(
        "a file of a layer with other weights",
        lambda: built.load_own_variables({"0": 1}),
        refused("4 weights", "1"),
        state,
    )


def _finite(y: Any) -> None:
    assert np.isfinite(array(y)).all()


def _nan_where(y: np.ndarray, places: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(y), places)


def _normalization() -> Iterator[Case]:
    import tensorflow as tf

    good = batch((8, 3))
    case = partial(Case, "layers.Normalization")
    adapted = layers.Normalization()
    adapted.adapt(good)

    def state() -> Any:
        return [*weights_of(adapted), adapted.mean, adapted.variance]

    nan_column, infinite = good.copy(), good.copy()
    nan_column[:, 1] = nan
    infinite[2, 1] = inf
    for method in ("adapt", "partial_fit"):
        give = getattr(adapted, method)
        yield case(f"{method}: infinity", partial(give, infinite), refused("`data`", "infinity"), state)
        yield case(f"{method}: no rows", partial(give, good[:0]), refused("`data`", "(0, 3)"), state)
        yield case(
            f"{method}: an empty dataset",
            partial(give, tf.data.Dataset.from_tensor_slices(good).batch(2).take(0)),
            refused("`data`", "none"),
            state,
        )
        yield case(f"{method}: words", partial(give, np.full((4, 3), "x")), refused("`data`", "<U1"), state)
        yield case(
            f"{method}: other features", partial(give, good[:, :2]), refused("`data`", "(8, 2)"), state
        )
        yield case(f"{method}: a dict", partial(give, {"x": good}), refused("`data`"), state)
        yield case(f"{method}: None", partial(give, None), refused("`data`", "None"), state)
        yield case(
            f"{method}: an endless dataset",
            partial(give, tf.data.Dataset.from_tensors(good).repeat()),
            refused("`data`", "endless"),
            state,
        )
        yield case(
            f"{method}: infinity in the second batch",
            partial(give, iter([good, infinite])),
            refused("`data`", "infinity"),
            state,
        )
        yield case(
            f"{method}: words in the second batch",
            partial(give, iter([good, np.full((4, 3), "x")])),
            refused("`data`"),
            state,
        )
        yield case(
            f"{method}: numbers too large for a variance",
            partial(give, good * 1e300),
            refused("`data`"),
            state,
        )
    yield case("adapt: a column of NaN", lambda: adapted.adapt(nan_column), refused("`data`", "[1]"), state)

    def with_hole() -> Any:
        layer, holed = layers.Normalization(), good.copy()
        holed[0, 1] = nan
        layer.adapt(holed)
        return layer.mean.ravel()

    yield case(
        "adapt: a NaN here and there",
        with_hole,
        lambda mean: np.testing.assert_allclose(
            mean,
            [
                good[:, 0].mean(dtype="float64"),
                good[1:, 1].mean(dtype="float64"),
                good[:, 2].mean(dtype="float64"),
            ],
            rtol=1e-6,
        ),
    )

    def one_row() -> Any:
        layer = layers.Normalization()
        layer.adapt(good[:1])
        return array(layer(good[:1]))

    yield case("adapt: one row", one_row, lambda y: np.testing.assert_allclose(y, 0, atol=1e-6))
    yield case(
        "a row of NaN",
        lambda: array(adapted(np.where(np.arange(8)[:, None] == 1, nan, good))),
        lambda y: _nan_where(y, np.repeat(np.arange(8)[:, None] == 1, 3, 1)),
        state,
    )
    yield case("an empty batch", lambda: adapted(good[:0]), _empty, state)
    yield case("other features than it was adapted to", lambda: adapted(good[:, :2]), refused(), state)
    yield case("words", lambda: adapted(np.full((4, 3), "x")), WORDS, state)
    yield case("one feature for several", lambda: adapted(good[:, :1]), refused("`inputs`", "(8, 1)"), state)
    yield case(
        "whole numbers",
        lambda: array(adapted(np.ones((2, 3), "uint8"))),
        lambda y: np.testing.assert_allclose(y, array(adapted(np.ones((2, 3), "float32"))), rtol=1e-6),
    )
    yield case(
        "merge: a layer that measured nothing",
        lambda: adapted.merge(layers.Normalization()),
        refused("`other`"),
        state,
    )
    yield case(
        "merge: other features",
        lambda: adapted.merge(_adapted(good[:, :2])),
        refused("`other`", "(2,)"),
        state,
    )
    yield case("merge: no layer", lambda: adapted.merge(3), refused("`other`", "3"), state)
    yield case("inverse: other features", lambda: adapted.inverse(good[:, :2]), refused("`x`"), state)
    yield case("inverse: words", lambda: adapted.inverse(np.full((4, 3), "x")), WORDS_INVERTED, state)


def _adapted(data: np.ndarray) -> Any:
    layer = layers.Normalization()
    layer.adapt(data)
    return layer


def _temperature_scaling() -> Iterator[Case]:
    logits, labels = np.array([[4.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    layer = layers.TemperatureScaling().fit(logits, labels)
    case = partial(Case, "layers.TemperatureScaling", state=lambda: weights_of(layer))
    for what, arguments, words in (
        ("NaN in the logits", (np.array([[nan, 0.0]] * 4), labels), ("`logits`",)),
        ("infinite logits", (np.array([[inf, 0.0]] * 4), labels), ("`logits`",)),
        ("no rows", (logits[:0], labels[:0]), ("`logits`", "(0, 2)")),
        ("a label past the classes", (logits, [0, 0, 0, 2]), ("`y_true`", "2")),
        ("a negative label", (logits, [0, 0, 0, -1]), ("`y_true`", "-1")),
        ("fractions as labels", (logits, [0.5, 0, 0, 1]), ("`y_true`",)),
        ("labels of other rows", (logits, [0, 0, 1]), ("`y_true`", "(3,)")),
        ("words as labels", (logits, ["a", "b", "c", "d"]), ("`y_true`",)),
        ("a NaN weight", (logits, labels, [nan, 1, 1, 1]), ("`sample_weight`",)),
        ("a negative weight", (logits, labels, [-1, 1, 1, 1]), ("`sample_weight`",)),
        ("weights of 0", (logits, labels, [0, 0, 0, 0]), ("`sample_weight`",)),
        ("words as logits", (np.full((4, 2), "x"), labels), ("`logits`",)),
        ("labels that are always right", (logits, [0, 0, 0, 0]), ("`logits`",)),
        ("labels that are always wrong", (logits, [1, 1, 1, 1]), ("`logits`",)),
    ):
        yield case(f"fit: {what}", lambda arguments=arguments: layer.fit(*arguments), refused(*words))
    yield case("an empty batch", lambda: layer(logits[:0]), _empty)
    yield case(
        "a row of NaN",
        lambda: array(layer(np.array([[nan, 0.0], [4.0, 0.0]], "float32"))),
        lambda y: np.testing.assert_array_equal(np.isfinite(y).all(1), [False, True]),
    )
    yield case("whole numbers", lambda: layer(np.array([[4, 0]])), refused("`inputs`", "int"))
