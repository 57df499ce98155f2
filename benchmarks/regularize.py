"""What a step costs with 50 weights penalised by kr.regularize, against Keras' own at construction.

python -m benchmarks.regularize
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
import numpy as np

import kerasreg as kr
from benchmarks.report import claim, folder, options, publish

LAYERS = 50
GOAL = 1.02
CASES = ("no penalty", "Keras' at construction", "kr.regularize, Keras' L2", "kr.regularize, our L2")


def build(case: str, width: int) -> keras.Model:
    """Fifty dense layers; the same computation, whoever gave the penalty."""
    own = keras.regularizers.L2(1e-4) if case == CASES[1] else None
    layers = [keras.layers.Dense(width, "relu", kernel_regularizer=own, name=f"h{i}") for i in range(LAYERS)]
    model = keras.Sequential([keras.Input((width,)), *layers])
    model.compile("sgd", "mse")
    if case == CASES[2]:
        kr.regularize(model, {"*/kernel": keras.regularizers.L2(1e-4)})
    if case == CASES[3]:
        kr.regularize(model, {"*/kernel": kr.regularizers.L2(1e-4)})
    return model


def seconds(model: keras.Model, data: Any, steps: int) -> float:
    """The time of so many steps of `train_on_batch`."""
    start = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(*data)
    return time.perf_counter() - start


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A step's time beside that of the same penalties, given at construction."""
    peer = "Keras' L2, given at construction"
    return [
        claim(
            f"{row['case']}, a step of {LAYERS} layers",
            row["ratio"],
            "times the time",
            peer,
            at_most=GOAL,
            detail="Keras" in row["case"],
        )
        for row in rows
        if row["case"].startswith("kr.")
    ]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="interleaved measurements of each case")
    parser.add_argument("--steps", type=int, default=10, help="steps in each measurement")
    parser.add_argument("--width", type=int, default=64, help="units of each layer, and the batch size")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.steps = len(CASES), 5
    x = np.random.default_rng(0).normal(size=(args.width, args.width)).astype("float32")
    models = {case: build(case, args.width) for case in CASES}
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for model in models.values():
        seconds(model, (x, x), 3)
    for round_number in range(args.rounds):
        # In turn, each case first as often as any other.
        order = CASES[round_number % len(CASES) :] + CASES[: round_number % len(CASES)]
        for case in order:
            times[case].append(1000 * seconds(models[case], (x, x), args.steps) / args.steps)
    peer = times[CASES[1]]
    rows = [
        {
            "case": case,
            "median ms": statistics.median(times[case]),
            # Of the two that were measured side by side.
            "ratio": statistics.median(a / b for a, b in zip(times[case], peer, strict=True)),
        }
        for case in CASES
    ]
    publish(
        "regularize",
        rows,
        folder(args),
        claims(rows),
        backend=keras.backend.backend(),
        keras=keras.__version__,
        weights=LAYERS,
        goal=f"at most {GOAL} times Keras' at construction",
    )


if __name__ == "__main__":
    main()
