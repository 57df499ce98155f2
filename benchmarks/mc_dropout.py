"""`mc_predict` against the two loops that it replaces: one process, interleaved, medians.

python -m benchmarks.mc_dropout

The eager loop is `[model(x, training=True) for _ in range(50)]`, the other one `model.predict(x)`, called 50
times on a twin of the model whose dropout is `kr.layers.Dropout(mc=True)`. Both then take mean and variance.
Times are those of the whole call as a user types it, with compiled functions warm on all sides.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import kerasreg as kr
from benchmarks.report import claim, folder, options, publish

PASSES = 50
L = keras.layers


def head_cnn(mc: bool = False) -> keras.Model:
    """Convolutions with batch norm; dropout before the last layer only."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            *(
                layer
                for filters in (32, 64, 128)
                for layer in (
                    L.Conv2D(filters, 3, padding="same", use_bias=False),
                    L.BatchNormalization(),
                    L.ReLU(),
                    L.Conv2D(filters, 3, padding="same", use_bias=False),
                    L.BatchNormalization(),
                    L.ReLU(),
                    L.MaxPooling2D(),
                )
            ),
            L.GlobalAveragePooling2D(),
            L.Dense(128, "relu"),
            kr.layers.Dropout(0.5, mc=mc),
            L.Dense(10, "softmax"),
        ]
    )


def mlp(mc: bool = False) -> keras.Model:
    """Dropout before every layer: nothing is the same in two passes."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            *(layer for _ in range(3) for layer in (kr.layers.Dropout(0.1, mc=mc), L.Dense(256, "relu"))),
            kr.layers.Dropout(0.1, mc=mc),
            L.Dense(10, "softmax"),
        ]
    )


def spatial_cnn(mc: bool = False) -> keras.Model:
    """Dropout of feature maps between the convolutions, and of features before the last layer."""

    class Spatial(L.SpatialDropout2D):
        def call(self, inputs, training=False):
            return super().call(inputs, training=True)

    spatial = Spatial if mc else L.SpatialDropout2D
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            L.Conv2D(32, 3, activation="relu"),
            L.MaxPooling2D(),
            spatial(0.2),
            L.Conv2D(64, 3, activation="relu"),
            L.MaxPooling2D(),
            spatial(0.2),
            L.Flatten(),
            L.Dense(128, "relu"),
            kr.layers.Dropout(0.5, mc=mc),
            L.Dense(10, "softmax"),
        ]
    )


# Model, rows, and how many times as fast as the eager loop it is to be.
CASES = (
    (head_cnn, 32, 100),
    (head_cnn, 1, 250),
    (mlp, 32, 25),
    (mlp, 256, 5),
    (spatial_cnn, 32, 8),
)


NAMES = {
    "head_cnn": "CNN with dropout before its last layer",
    "mlp": "MLP with dropout before every layer",
    "spatial_cnn": "CNN with dropout after convolutions too",
}


def data(model: keras.Model, rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, *model.input_shape[1:])).astype("float32")


def sample(model: keras.Model, x: np.ndarray, passes: int = PASSES) -> None:
    kr.mc_predict(model, x, samples=passes, batch_size=len(x), seed=0)


def eager_loop(model: keras.Model, x: np.ndarray) -> None:
    ys = np.stack([np.asarray(model(x, training=True)) for _ in range(PASSES)])
    ys.mean(axis=0), ys.var(axis=0)


def predict_loop(model: keras.Model, x: np.ndarray) -> None:
    ys = np.stack([model.predict(x, batch_size=len(x), verbose=0) for _ in range(PASSES)])
    ys.mean(axis=0), ys.var(axis=0)


def interleaved(contenders: list[Callable[[], None]], rounds: int, repeats: list[int]) -> list[float]:
    """Median milliseconds of each, all of them in every round; quick ones several times."""
    times: list[list[float]] = [[] for _ in contenders]
    for contender in contenders:
        contender()
        contender()
    for _ in range(rounds):
        for found, contender, count in zip(times, contenders, repeats, strict=True):
            for _ in range(count):
                start = time.perf_counter()
                contender()
                found.append(1000 * (time.perf_counter() - start))
    return [statistics.median(found) for found in times]


def speed(rounds: int, quick: bool) -> list[dict]:
    rows = []
    for make, batch, goal in [case for case in CASES if not quick or case[:2] == (mlp, 32)]:
        model, twin = make(), make(mc=True)
        x = data(model, batch)
        contenders = [
            lambda m=model, x=x: eager_loop(m, x),
            lambda m=twin, x=x: predict_loop(m, x),
            lambda m=model, x=x: sample(m, x),
        ]
        eager, predict, ours = interleaved(contenders, rounds, [1, 1, 10])
        rows.append(
            {
                "case": f"{make.__name__}, batch {batch}",
                "eager loop ms": eager,
                "predict loop ms": predict,
                "mc_predict ms": ours,
                "against eager": eager / ours,
                "against predict": predict / ours,
                "goal": f"at least {goal}x the eager loop",
                "reached": bool(eager / ours >= goal),
            }
        )
    return rows


def growth(rounds: int, quick: bool) -> list[dict]:
    """What ten times as many passes cost."""
    rows = []
    for make, bound, goal in ((spatial_cnn, "tail", 10.5), (head_cnn, "prefix", 3.0))[quick:]:
        model = make()
        x = data(model, 32)
        few, many = interleaved(
            [lambda m=model, x=x: sample(m, x), lambda m=model, x=x: sample(m, x, 10 * PASSES)],
            rounds,
            [5, 1],
        )
        rows.append(
            {
                "case": f"{make.__name__}, batch 32, {bound}-bound",
                "50 passes ms": few,
                "500 passes ms": many,
                "ratio": many / few,
                "goal": f"at most {goal:g}",
                "reached": bool(many / few <= goal),
            }
        )
    return rows


MEMORY = """
import resource, sys
from benchmarks import mc_dropout
model = mc_dropout.spatial_cnn()
mc_dropout.sample(model, mc_dropout.data(model, int(sys.argv[1])), int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def memory(rounds: int, quick: bool) -> list[dict]:
    """The largest resident size of a fresh process that samples once."""
    batch, most = (16, 50) if quick else (256, 500)

    def peak(passes: int) -> float:
        command = [sys.executable, "-c", MEMORY, str(batch), str(passes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])

    pairs = [(peak(5), peak(most)) for _ in range(rounds)]
    few, many = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        {
            "case": f"spatial_cnn, batch {batch}",
            "5 passes MiB": few,
            f"{most} passes MiB": many,
            "ratio": many / few,
            "goal": "at most 1.1",
            "reached": bool(many / few <= 1.1),
        }
    ]


def claims(part: str, rows: list[dict]) -> list[dict]:
    """The rows of one part, as `benchmarks.all` shows them."""
    found = []
    for row in rows:
        name, _, how = row["case"].partition(", ")
        case = f"mc_predict, {NAMES[name]}, {how}"
        bound = float(row["goal"].split()[2].removesuffix("x"))
        if part == "speed":
            unit, loop = "times as fast", f"{PASSES} calls of"
            found += [
                claim(case, row["against eager"], unit, f"{loop} model(x, training=True)", at_least=bound),
                claim(case, row["against predict"], unit, f"{loop} model.predict(x)", detail=True),
            ]
        else:
            unit = "times the time" if part == "growth" else "times the memory"
            few, many = list(row)[1:3]
            case = f"{case}, {many.rpartition(' ')[0]}"
            found.append(claim(case, row["ratio"], unit, few.rpartition(" ")[0], at_most=bound))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timings of each contender")
    parser.add_argument("--only", choices=("speed", "growth", "memory"), help="this alone")
    arguments = parser.parse_args()
    facts = {"backend": keras.backend.backend(), "keras": keras.__version__, "cores": os.cpu_count()}
    for part in (speed, growth, memory):
        if arguments.only in (None, part.__name__):
            rounds = min(arguments.rounds, 3) if part is memory else arguments.rounds
            rounds = 1 if arguments.quick else rounds
            name, rows = part.__name__, part(rounds, arguments.quick)
            facts |= {"rounds": rounds, "passes": PASSES}
            publish(f"mc_dropout_{name}", rows, folder(arguments), claims(name, rows), **facts)
            print()


if __name__ == "__main__":
    main()
