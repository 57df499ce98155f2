"""`kr.calibrate` and `kr.check`: how exact, how fast, against the ways people do it by hand.

python -m benchmarks.calibrate
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr
from benchmarks.report import claim, folder, options, publish

L = keras.layers
GOAL_HOOKS, GOAL_SUBMODELS, GOAL_CHECK = 34.0, 285.0, 2.0
QUICK_DEPTH, QUICK_MODELS = 4, 3


# Models --------------------------------------------------------------------------------------------------


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def mlp(depth: int = 30, width: int = 128, dtype: str = "float32") -> keras.Model:
    layers = [L.Dense(width, "relu", name=f"h{i}", dtype=dtype) for i in range(depth)]
    return keras.Sequential([keras.Input((width,)), *layers])


def cnn() -> keras.Model:
    layers = [L.Conv2D(16, 3, padding="same", activation="relu")]
    for _ in range(4):
        layers += [
            L.DepthwiseConv2D(3, padding="same", activation="relu"),
            L.Conv2D(16, 1, activation="relu"),
            L.Conv2DTranspose(16, 4, strides=2, padding="same", activation="gelu"),
            L.SeparableConv2D(16, 3, strides=2, padding="same", activation="relu"),
        ]
    return keras.Sequential([keras.Input((12, 12, 3)), *layers, L.GlobalAveragePooling2D(), L.Dense(10)])


def resnet(blocks: int = 8) -> keras.Model:
    x = start = keras.Input((12, 12, 3))
    x = L.Conv2D(16, 3, padding="same")(x)
    for _ in range(blocks):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same")(x)))
        y = L.Conv2D(16, 3, padding="same")(y)
        x = L.ReLU()(x + y)
    return keras.Model(start, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


class Block(L.Layer):
    """A pre-norm transformer block."""

    def __init__(self, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.norms = [L.LayerNormalization(), L.LayerNormalization()]
        self.attention = L.MultiHeadAttention(4, width // 4)
        self.up, self.down = L.Dense(4 * width, "gelu"), L.Dense(width)

    def build(self, shape: Any) -> None:
        for norm in self.norms:
            norm.build(shape)
        self.attention.build(shape, shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 4 * shape[-1]))

    def call(self, x: Any) -> Any:
        y = self.norms[0](x)
        x = x + self.attention(y, y)
        return x + self.down(self.up(self.norms[1](x)))


class Transformer(keras.Model):
    """Subclassed, so that there is no graph."""

    def __init__(self, depth: int = 4, width: int = 32):
        super().__init__()
        self.words = L.Embedding(100, width)
        self.blocks = [Block(width) for _ in range(depth)]
        self.head = L.Dense(10)

    def call(self, x: Any) -> Any:
        x = self.words(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def transformer() -> keras.Model:
    model = Transformer()
    model(np.zeros((2, 16), "int32"))
    return model


def recurrent() -> keras.Model:
    layers = [
        L.TimeDistributed(L.Dense(16, "relu")),
        L.Bidirectional(L.LSTM(16, return_sequences=True)),
        L.TimeDistributed(L.Dense(16, "tanh")),
        L.Dense(5),
    ]
    return keras.Sequential([keras.Input((10, 8)), *layers])


def mobile_net() -> keras.Model:
    return keras.applications.MobileNetV2(input_shape=(64, 64, 3), weights=None, classes=10)


# Exactness -----------------------------------------------------------------------------------------------


def linear_rms(model: keras.Model, x: Any) -> dict[str, float]:
    """Each linear layer's RMS in a pass of its own, by code that shares nothing with the verb's."""
    layers = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    cells = {id(layer.cell) for layer in layers if isinstance(layer, L.RNN)}
    seen: dict[str, list[np.ndarray]] = {}

    def watched(layer: keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            activation = vars(layer).get("activation")
            if isinstance(layer, L.RNN):
                linear = keras.ops.matmul(inputs, layer.cell.kernel)
            else:
                vars(layer)["activation"] = None
                linear = call(inputs, *args, **kwargs)
                if activation is None:
                    vars(layer).pop("activation")
                vars(layer)["activation"] = activation
            values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(linear, "float32")), "float64")
            seen.setdefault(layer.path, []).append(values.ravel())
            return call(inputs, *args, **kwargs)

        return run

    kinds = ("kernel", "pointwise_kernel", "embeddings")
    chosen = [
        layer
        for layer in layers
        if id(layer) not in cells
        and (isinstance(layer, L.RNN) or any(getattr(layer, kind, None) is not None for kind in kinds))
    ]
    norms = [layer for layer in layers if isinstance(layer, L.BatchNormalization)]
    for layer in chosen:
        vars(layer)["call"] = watched(layer, layer.call)
    for norm in norms:
        vars(norm)["call"] = lambda inputs, training=None, mask=None, own=norm.call: own(
            inputs, training=True
        )
    try:
        with keras.StatelessScope():
            model(x, training=False)
    finally:
        for layer in (*chosen, *norms):
            del vars(layer)["call"]
    return {path: float(np.sqrt(np.mean(np.square(np.concatenate(parts))))) for path, parts in seen.items()}


def exactness(policy: str = "float32", quick: bool = False) -> list[dict[str, Any]]:
    words = np.random.default_rng(0).integers(0, 100, (16, 16))
    cases: dict[str, tuple[Callable[[], keras.Model], Any]] = {
        "MLP, 30 layers": (mlp, normal(256, 128)),
        "CNN with depthwise, pointwise, transposed": (cnn, normal(16, 12, 12, 3)),
        "residual net with batch norm": (resnet, normal(16, 12, 12, 3)),
        "subclassed transformer": (transformer, words),
        "TimeDistributed and BiLSTM": (recurrent, normal(16, 10, 8)),
        "MobileNetV2": (mobile_net, normal(8, 64, 64, 3)),
    }
    if policy != "float32":
        cases = {f"MLP, 30 layers, {policy}": (lambda: mlp(dtype=policy), normal(256, 128).astype("float16"))}
    rows = []
    for name, (make, x) in list(cases.items())[: 1 if quick else None]:
        keras.utils.set_random_seed(0)
        model = make()
        report = kr.calibrate(model, x, branch_target=None)
        found = linear_rms(model, x)
        rows.append(
            {
                "model": name,
                "layers": len(found),
                "largest error": max(abs(rms - 1.0) for rms in found.values()),
                "goal": 1e-5 if policy == "float32" else 1e-3,
                "left alone": len(report.skipped),
            }
        )
    return rows


# Speed ---------------------------------------------------------------------------------------------------


def by_hooks(model: keras.Model, x: Any) -> None:
    """Layer by layer, as Mishkin and Matas' code: hook, pass, measure, rescale, until it is right."""
    for layer in model.layers:
        for _ in range(5):
            caught = []
            call = layer.call

            def hooked(inputs: Any, *args: Any, call: Any = call, caught: Any = caught, **kwargs: Any) -> Any:
                activation = hooked.layer.activation
                hooked.layer.activation = None
                caught.append(call(inputs, *args, **kwargs))
                hooked.layer.activation = activation
                return activation(caught[-1])

            hooked.layer = layer
            layer.call = hooked
            model(x)
            layer.call = call
            rms = float(np.sqrt(np.mean(np.square(keras.ops.convert_to_numpy(caught[-1])))))
            if abs(rms - 1.0) < 1e-3:
                break
            layer.kernel.assign(layer.kernel / rms)


def by_submodels(model: keras.Model, x: Any, passes: int = 10) -> None:
    """Layer by layer with a new model up to each one, asked by `predict`, until its variance is within 0.1.

    The recipe of LSUV-keras (Korobov, 2016), with its margin and its ten passes at most; here of the linear
    output, so that both do the same.
    """
    for layer in model.layers:
        for _ in range(passes):
            part = keras.Model(model.inputs[0], keras.ops.matmul(layer.input, layer.kernel))
            power = float(np.mean(np.square(part.predict(x, verbose=0))))
            if abs(power - 1.0) <= 0.1:
                break
            layer.kernel.assign(layer.kernel / np.sqrt(power))


def by_submodels_once(model: keras.Model, x: Any) -> None:
    """The same in a hurry: one prediction a layer, and no second look."""
    by_submodels(model, x, passes=1)


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def speed(rounds: int, depth: int = 30) -> list[dict[str, Any]]:
    x = normal(64, 128)
    ways = {
        "kr.calibrate": kr.calibrate,
        "a hook per layer": by_hooks,
        "sub-models and predict": by_submodels,
        "sub-models, one prediction each": by_submodels_once,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds + 1):
        keras.utils.set_random_seed(i)
        for name, run in ways.items():
            if name.startswith("sub") and i > max(2, rounds // 5):
                continue
            model = mlp(depth)
            model(x)
            taken = [seconds(lambda run=run, model=model: run(model, x))]
            if name == "kr.calibrate":  # so short that one measurement would be chance
                for _ in range(4):
                    fresh = mlp(depth)
                    fresh(x)
                    taken.append(seconds(lambda fresh=fresh: kr.calibrate(fresh, x)))
            if i:
                times[name].append(statistics.median(taken))
    ours = statistics.median(times["kr.calibrate"])
    goals = {"a hook per layer": GOAL_HOOKS, "sub-models and predict": GOAL_SUBMODELS}
    return [
        {
            "way": name,
            "median ms": 1000 * statistics.median(found),
            "ratio": statistics.median(found) / ours,
            "goal": goals.get(name, "-"),
        }
        for name, found in times.items()
    ]


def check_cost(rounds: int, quick: bool = False) -> list[dict[str, Any]]:
    """A check against one forward pass, both compiled, on 50 layers."""
    rows = []
    for width, batch in ((256, 256), (512, 256))[: 1 if quick else None]:
        model, x = mlp(50, width), normal(batch, width)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            compiled = tf.function(lambda t, model=model: model(t, training=False))
            tensor = tf.constant(x)
            forward = lambda compiled=compiled, tensor=tensor: compiled(tensor).numpy()  # noqa: E731
        else:
            import jax

            compiled = jax.jit(lambda t, model=model: model(t, training=False))
            forward = lambda compiled=compiled, x=x: np.asarray(compiled(x))  # noqa: E731
        look = lambda model=model, x=x: kr.check(model, x)  # noqa: E731
        forward(), look()
        times = [(seconds(forward), seconds(look)) for _ in range(rounds)]
        one, other = (statistics.median(column) for column in zip(*times, strict=True))
        name = f"check of 50 layers of {width}, {batch} rows"
        found = {"forward ms": 1000 * one, "check ms": 1000 * other, "ratio": other / one}
        rows.append({"case": name, **found, "goal": f"at most {GOAL_CHECK:g}"})
    return rows


def depth_of_depthwise() -> list[dict[str, Any]]:
    """Signal behind 20 depthwise layers: Keras' he_normal, Calibrated alone, and calibrated on data."""
    x = normal(16, 16, 16, 64)
    rows = []
    for name, make in (
        ("he_normal", lambda: "he_normal"),
        ("Calibrated", lambda: kr.initializers.Calibrated("relu", kind="depthwise")),
        ("Calibrated and kr.calibrate", lambda: kr.initializers.Calibrated("relu", kind="depthwise")),
    ):
        keras.utils.set_random_seed(0)
        layers = [
            L.DepthwiseConv2D(3, padding="same", activation="relu", depthwise_initializer=make())
            for _ in range(20)
        ]
        model = keras.Sequential([keras.Input((16, 16, 64)), *layers])
        if "kr.calibrate" in name:
            kr.calibrate(model, x)
        found = list(linear_rms(model, x).values())
        rows.append({"start": name, "last RMS / first RMS": found[-1] / found[0], "goal": "0.3 to 3"})
    return rows


def prediction(draws: int = 10) -> list[dict[str, Any]]:
    """Predicted against measured variance of a Dense layer on white input, the worst of ten draws."""
    rows = []
    for name in ("he_normal", "glorot_uniform", "lecun_normal", "orthogonal"):
        ratios = []
        for seed in range(draws):
            keras.utils.set_random_seed(seed)
            model = keras.Sequential([keras.Input((256,)), L.Dense(256, kernel_initializer=name)])
            x = np.random.default_rng(seed).normal(size=(512, 256)).astype("float32")
            row = kr.check(model, x).figures.kernels[0]
            ratios.append((row.predicted_rms / row.output_rms) ** 2)
        worst = max(ratios, key=lambda ratio: abs(ratio - 1.0))
        rows.append({"Dense(256), weights": name, "predicted / measured": worst, "goal": "0.9 to 1.1"})
    return rows


def zoo(models: int | None = None) -> list[dict[str, Any]]:
    """The sick and the healthy models of the tests: how many a check tells right."""
    folder = Path(__file__).parents[1] / "tests"
    sys.path.insert(0, str(folder))
    try:
        from model_zoo import FAULTS, HEALTHY, SICK
    finally:
        sys.path.remove(str(folder))
    counts = dict.fromkeys(("found", "peace"), 0)
    looked_at = {"found": list(SICK.values())[:models], "peace": list(HEALTHY.values())[:models]}
    for zoo in looked_at.values():
        for make in zoo:
            keras.utils.set_random_seed(0)
            case = make()
            said = {(finding.code, finding.layer) for finding in kr.check(case.model, case.x).findings}
            counts["found" if case.findings else "peace"] += said == case.findings
    codes = [code for faults in FAULTS.values() for code, _ in faults]
    fewest = min(codes.count(code) for code in codes)
    return [
        {
            "models": "sick",
            "told right": counts["found"],
            "of": len(looked_at["found"]),
            "goal": "all of 24 or more",
        },
        {
            "models": "healthy",
            "told right": counts["peace"],
            "of": len(looked_at["peace"]),
            "goal": "all of 16 or more",
        },
        {"models": "sick, for each code", "told right": fewest, "of": fewest, "goal": "2 or more"},
    ]


# What `benchmarks.all` shows -------------------------------------------------------------------------------


def exactness_claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    exact = [row["largest error"] for row in rows if row["goal"] == 1e-5]
    what = f"kr.calibrate, {len(exact)} kinds of models in float32, largest error"
    return [claim(what, max(exact), "off", "a target RMS of 1", at_most=1e-5)]


def depthwise_claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = {row["start"]: row["last RMS / first RMS"] for row in rows}
    what, peer = "kr.calibrate, RMS behind 20 depthwise layers", f"he_normal: {last['he_normal']:.2g}"
    return [claim(what, last["Calibrated and kr.calibrate"], "times the first", peer, at_least=0.3)]


def prediction_claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    worst = max(abs(row["predicted / measured"] - 1.0) for row in rows)
    what = f"kr.check, variance behind a Dense predicted, {len(rows)} initializers"
    return [claim(what, worst, "off at most", "the measured one", at_most=0.1, detail=True)]


def zoo_claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sick, healthy = rows[:2]
    share = {row["models"]: 100 * row["told right"] / row["of"] for row in (sick, healthy)}
    found = [("faults told right", sick), ("left in peace", healthy)]
    return [
        claim(
            f"kr.check, {what}",
            share[row["models"]],
            "%",
            f"{row['of']} {row['models']} models",
            at_least=100,
        )
        for what, row in found
    ]


def speed_claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        claim(
            "kr.calibrate",
            row["ratio"],
            "times as fast",
            row["way"],
            at_least=None if row["goal"] == "-" else row["goal"],
            detail=row["goal"] == "-",
        )
        for row in rows[1:]
    ]


def check_claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    unit, peer = "times the time", "a compiled forward pass"
    return [
        claim(f"kr.{row['case']}", row["ratio"], unit, peer, at_most=GOAL_CHECK, detail=row is rows[0])
        for row in rows
    ]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="of each timing")
    parser.add_argument("--only", choices=["exactness", "check", "speed"], help="this alone")
    args = parser.parse_args()
    backend = keras.backend.backend()
    suffix = "" if backend == "tensorflow" else f"_{backend}"
    quick, few = args.quick, QUICK_MODELS if args.quick else None
    rounds, depth = (1, QUICK_DEPTH) if quick else (args.rounds, 30)

    def tell(name: str, rows: list[dict[str, Any]], claims: Any, **facts: Any) -> None:
        publish(f"{name}{suffix}", rows, folder(args), claims(rows), backend=backend, **facts)

    if args.only in (None, "exactness"):
        rows = [*exactness(quick=quick), *exactness("float16", quick)]
        tell("calibrate_exactness", rows, exactness_claims)
        tell("calibrate_depthwise", depth_of_depthwise(), depthwise_claims)
    if args.only in (None, "check"):
        tell("check_prediction", prediction(1 if quick else 10), prediction_claims)
        tell("check_zoo", zoo(few), zoo_claims)
    if args.only in (None, "speed"):
        tell("calibrate_speed", speed(rounds, depth), speed_claims, rounds=rounds, layers=depth)
        tell("check_cost", check_cost(rounds, quick), check_claims)


if __name__ == "__main__":
    main()
