"""`Normalization.adapt` beside Keras' own: how long it takes, and how exact it is.

python -m benchmarks.normalization
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import kerasreg as kr
from benchmarks.report import claim, folder, options, publish

SHAPE, QUICK_SHAPE = (60_000, 784), (6_000, 50)
MEAN, DEVIATION = 1e4, 1.0
GOAL_DATASET, GOAL_ARRAY = 2.5, 0.95
GOAL_MEAN, GOAL_VARIANCE = 1e-6, 1e-5


def rows(rounds: int, shape: tuple[int, int] = SHAPE) -> list[dict[str, Any]]:
    """One row for each kind of data: the ratio of times, and both layers' errors against float64 NumPy."""
    import tensorflow as tf

    x = np.random.default_rng(0).normal(MEAN, DEVIATION, shape).astype("float32")
    mean, variance = x.mean(axis=0, dtype="float64"), x.var(axis=0, dtype="float64")
    dataset = tf.data.Dataset.from_tensor_slices(x)
    cases = {
        "array": (x, GOAL_ARRAY),
        "tf.data, batches of 32": (dataset.batch(32), GOAL_DATASET),
        "tf.data, batches of 256": (dataset.batch(256), GOAL_DATASET),
        "tf.data, batches of 512": (dataset.batch(512), GOAL_DATASET),
    }
    makers = {"ours": kr.layers.Normalization, "keras": keras.layers.Normalization}
    found = []
    for case, (data, goal) in cases.items():
        times, layers = _interleaved(makers, data, rounds)
        row = {
            "case": f"adapt, {case}",
            "ours ms": 1000 * times["ours"],
            "keras ms": 1000 * times["keras"],
            "ratio": times["keras"] / times["ours"],
            "goal": goal,
        }
        for name, layer in layers.items():
            row |= {f"{name} {what}": value for what, value in _errors(layer, x, mean, variance).items()}
        found.append(row)
    return found


def _interleaved(
    makers: dict[str, Callable[[], Any]], data: Any, rounds: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """The median time of each layer's `adapt`, turn by turn, and the last layers."""
    times: dict[str, list[float]] = {name: [] for name in makers}
    layers = {}
    for _ in range(rounds + 1):
        for name, make in makers.items():
            layers[name] = make()
            start = time.perf_counter()
            layers[name].adapt(data)
            np.asarray(keras.ops.convert_to_numpy(layers[name].adapt_variance))
            times[name].append(time.perf_counter() - start)
    # The first one compiles and fills caches.
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}, layers


def _errors(layer: Any, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> dict[str, float]:
    """The largest error over the features: of the mean, of the variance, of the mean output."""
    deviation = np.sqrt(variance)
    found = {
        name: np.ravel(keras.ops.convert_to_numpy(getattr(layer, name))) for name in ("mean", "variance")
    }
    rows = x[:1000]
    outputs = np.asarray(keras.ops.convert_to_numpy(layer(rows)), "float64")
    expected = (rows.astype("float64") - mean) / deviation
    return {
        "mean error (sd)": float(np.abs((found["mean"] - mean) / deviation).max()),
        "variance error": float(np.abs(found["variance"] / variance - 1.0).max()),
        "output shift (sd)": float(np.abs((outputs - expected).mean(axis=0)).max()),
    }


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The times, and the worst errors over all kinds of data."""
    peer = "keras.layers.Normalization"
    found = [
        claim(
            f"Normalization.{row['case']}",
            row["ratio"],
            "times as fast",
            peer,
            at_least=row["goal"],
            detail="256" in row["case"],
        )
        for row in rows
    ]
    for what, unit, goal in (
        ("mean error (sd)", "deviations", GOAL_MEAN),
        ("variance error", "of the variance", GOAL_VARIANCE),
    ):
        ours, theirs = ([row[f"{who} {what}"] for row in rows] for who in ("ours", "keras"))
        case = f"Normalization.adapt at mean 1e4, deviation 1, largest {what.removesuffix(' (sd)')}"
        other = f"{peer}: {min(theirs):.2g} to {max(theirs):.2g}"
        found.append(claim(case, max(ours), unit, other, at_most=goal))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="times that each layer adapts")
    args = parser.parse_args()
    rounds = 1 if args.quick else args.rounds
    found = rows(rounds, QUICK_SHAPE if args.quick else SHAPE)
    goals = {"goal_mean_error_sd": GOAL_MEAN, "goal_variance_error": GOAL_VARIANCE}
    facts = {"backend": keras.backend.backend(), "keras": keras.__version__}
    publish("normalization", found, folder(args), claims(found), rounds=rounds, **goals, **facts)
    print(
        f"goals: mean within {GOAL_MEAN:g} sd, variance within {GOAL_VARIANCE:g}; ratio: Keras' time by ours"
    )


if __name__ == "__main__":
    main()
