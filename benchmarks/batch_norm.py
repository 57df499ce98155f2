"""Batch and input normalisation against Keras' own layers: speed in one process, and errors far from zero.

python -m benchmarks.batch_norm
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from typing import Any

from benchmarks.report import claim, folder, options, publish

TYPES = ("float32", "bfloat16")
IMAGES, LARGE = (32, 32, 32, 64), (32, 56, 56, 64)
# (shape, type, least ratio in training, and at inference) in the graph that `fit` runs on a processor.
GRAPH_CASES = [
    (IMAGES, "float32", 2.5, 1.3),
    (LARGE, "float32", 2.5, 1.3),
    (IMAGES, "bfloat16", 3.5, 0.95),
    (LARGE, "bfloat16", 3.5, 0.95),
    (IMAGES, "float16", 0.95, 0.95),
    ((256, 512), "float32", 0.95, 0.95),
    ((256, 512), "bfloat16", 0.95, 0.95),
    ((32, 128), "float32", 0.95, 0.95),
    ((32, 100, 64), "float32", 0.95, 0.95),
]
COMPILED_CASES = [
    (shape, dtype, 0.95, 0.95)
    for shape, dtype in [
        (IMAGES, "float32"),
        (IMAGES, "bfloat16"),
        (IMAGES, "float16"),
        ((256, 512), "float32"),
        ((256, 512), "bfloat16"),
        ((32, 128), "float32"),
        ((32, 100, 64), "float32"),
    ]
]
WORST_VARIANCE_ERROR = 1e-4
QUICK_CASES, QUICK_PARTS = 1, ("speed_tensorflow", "speed_jax", "errors_tensorflow")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=75, help="timings of each case and layer")
    parser.add_argument(
        "--part", choices=PARTS, help="one part only, as JSON: what this command calls itself with"
    )
    arguments = parser.parse_args()
    if arguments.part:
        if arguments.quick:
            del GRAPH_CASES[QUICK_CASES:], COMPILED_CASES[QUICK_CASES:]
        print("rows:" + json.dumps(PARTS[arguments.part](arguments.rounds)))
        return
    rounds = 3 if arguments.quick else arguments.rounds
    rows = []
    for part in QUICK_PARTS if arguments.quick else PARTS:
        if part.endswith("jax") and importlib.util.find_spec("jax") is None:
            print(f"left out: {part}, for there is no JAX here (pip install jax)")
        else:
            rows += _in_a_process(part, rounds, arguments.quick)
    publish("batch_norm", rows, folder(arguments), claims(rows), rounds=rounds, cores=os.cpu_count())
    missed = [row["case"] for row in rows if not row["met"]]
    print(
        f"{len(rows) - len(missed)} of {len(rows)} goals met"
        + (f"; missed: {', '.join(missed)}" if missed else "")
    )


def claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The images in TensorFlow's graph, the least of all else, and the worst variance."""
    peer = "keras.layers.BatchNormalization"
    speed = {row["case"]: row for row in rows if row["unit"] == "ms" and "adapt" not in row["case"]}
    images = [f"graph {dtype} {shape} forward+backward" for dtype, shape in product(TYPES, (IMAGES, LARGE))]
    found = [
        claim(f"BatchNormalization, {case}", row["ratio"], "times as fast", peer, at_least=row["goal"])
        for case, row in speed.items()
        if case in images
    ]
    rest = {case: row for case, row in speed.items() if case not in images}
    if rest:
        least = min(rest, key=lambda case: rest[case]["ratio"])
        ratio, goal = rest[least]["ratio"], rest[least]["goal"]
        what = f"BatchNormalization, the least of {len(rest)} other cases: {least}"
        found.append(claim(what, ratio, "times as fast", peer, at_least=goal))
    errors = [row for row in rows if row["case"].startswith("variance error")]
    both = [row for row in errors if row["Keras"] is not None]
    if both:
        what = "BatchNormalization, variance at mean 1e4, deviation 1, largest error of all modes"
        worst = max(row["kerasreg"] for row in errors)
        theirs = f"{peer}: {min(r['Keras'] for r in both):.2g} to {max(r['Keras'] for r in both):.2g}"
        found.append(claim(what, worst, "of the variance", theirs, at_most=WORST_VARIANCE_ERROR))
    return found


def _in_a_process(part: str, rounds: int, quick: bool) -> list[dict[str, Any]]:
    """A backend is for a process; both layers of a comparison are in the same one."""
    backend = "jax" if part.endswith("jax") else "tensorflow"
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.batch_norm", "--part", part, "--rounds", str(rounds)]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.rsplit("rows:", 1)[1])


def speed_tensorflow(rounds: int) -> list[dict[str, Any]]:
    return [
        row
        for mode, cases in (("graph", GRAPH_CASES), ("XLA", COMPILED_CASES))
        for case in cases
        for row in _speed(mode, *case, rounds)
    ]


def speed_jax(rounds: int) -> list[dict[str, Any]]:
    return [row for case in COMPILED_CASES for row in _speed("JAX", *case, rounds)]


def adapt(rounds: int) -> list[dict[str, Any]]:
    """`benchmarks.normalization` in this command's columns: the time, and the errors at mean 1e4."""
    from benchmarks import normalization

    found = []
    for row in normalization.rows(max(3, rounds // 5)):
        found.append(_row(row["case"], "ms", row["keras ms"], row["ours ms"], row["ratio"], row["goal"]))
        for what, goal in (
            ("mean error (sd)", normalization.GOAL_MEAN),
            ("variance error", normalization.GOAL_VARIANCE),
        ):
            unit = "sd" if "sd" in what else "relative"
            case = f"{row['case']}: {what.removesuffix(' (sd)')}"
            found.append(_row(case, unit, row[f"keras {what}"], row[f"ours {what}"], None, goal))
    return found


def errors_tensorflow(rounds: int) -> list[dict[str, Any]]:
    import tensorflow as tf

    return [
        *_errors("graph", tf.function),
        *_errors("XLA", lambda step: tf.function(step, jit_compile=True)),
        *_errors("masked, graph", tf.function, masked=True),
        *_errors("ghost batches, graph", tf.function, virtual_batch_size=8),
    ]


def errors_jax(rounds: int) -> list[dict[str, Any]]:
    return [
        *_errors("JAX", lambda step: step),
        *_errors("masked, JAX", lambda step: step, masked=True),
        *_errors("ghost batches, JAX", lambda step: step, virtual_batch_size=8),
    ]


def errors_synchronized(rounds: int) -> list[dict[str, Any]]:
    """Two logical processors, each with one half of the batch."""
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    import numpy as np

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def on_halves(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(x: Any, *mask: Any) -> Any:
            values = [
                strategy.experimental_distribute_values_from_function(
                    lambda context, whole=whole: tf.constant(
                        np.split(np.asarray(whole), 2)[context.replica_id_in_sync_group]
                    )
                )
                for whole in (x, *mask)
            ]
            return strategy.run(tf.function(step), args=tuple(values))

        return run

    scope = strategy.scope
    return [
        *_errors("synchronised", on_halves, scope, synchronized=True),
        *_errors("masked, synchronised", on_halves, scope, masked=True, synchronized=True),
    ]


PARTS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "speed_tensorflow": speed_tensorflow,
    "speed_jax": speed_jax,
    "adapt": adapt,
    "errors_tensorflow": errors_tensorflow,
    "errors_jax": errors_jax,
    "errors_synchronized": errors_synchronized,
}


def _speed(
    mode: str, shape: tuple[int, ...], dtype: str, train_goal: float, infer_goal: float, rounds: int
) -> list[dict[str, Any]]:
    """Time Keras' layer and ours, in turns: forward and backward with a given dL/dy, and inference."""
    import keras
    import numpy as np

    import kerasreg as kr

    rng = np.random.default_rng(0)
    x, dy = (keras.ops.cast(rng.normal(size=shape).astype("float32"), dtype) for _ in range(2))
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    compiled = {}
    for name, kind in (("keras", keras.layers.BatchNormalization), ("ours", kr.layers.BatchNormalization)):
        layer = kind(dtype=policy)
        layer.build(shape)
        compiled[name] = _compiled_jax(layer) if mode == "JAX" else _compiled_tensorflow(layer, mode == "XLA")
    rows = []
    for i, (task, goal) in enumerate((("forward+backward", train_goal), ("inference", infer_goal))):
        keras_ms, ours_ms = _interleaved({name: both[i] for name, both in compiled.items()}, x, dy, rounds)
        rows.append(_row(f"{mode} {dtype} {shape} {task}", "ms", keras_ms, ours_ms, keras_ms / ours_ms, goal))
    return rows


def _interleaved(calls: dict[str, Callable[..., Any]], x: Any, dy: Any, rounds: int) -> list[float]:
    """Median milliseconds of each call."""
    for call in calls.values():
        call(x, dy)
        call(x, dy)
    start = time.perf_counter()
    calls["keras"](x, dy)
    # Short calls several times over, so that the clock does not matter.
    repeats = max(1, int(0.005 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeats):
                call(x, dy)
            times[name].append(1000 * (time.perf_counter() - start) / repeats)
    return [statistics.median(column) for column in times.values()]


def _compiled_tensorflow(layer: Any, jit_compile: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import tensorflow as tf

    def forward_and_backward(x: Any, dy: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        # A network wants y, too; without it the graph would leave it out.
        return y, *tape.gradient(y, [x, layer.gamma.value, layer.beta.value], output_gradients=dy)

    return (
        tf.function(forward_and_backward, jit_compile=jit_compile),
        tf.function(lambda x, dy: layer(x, training=False), jit_compile=jit_compile),
    )


def _compiled_jax(layer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax

    trained, others = (
        [v.value for v in vs] for vs in (layer.trainable_variables, layer.non_trainable_variables)
    )

    def forward_and_backward(x: Any, dy: Any) -> Any:
        def forward(trained: Any, x: Any) -> Any:
            return layer.stateless_call(trained, others, x, training=True)

        y, back, state = jax.vjp(forward, trained, x, has_aux=True)
        return y, state, back(dy)

    def inference(x: Any, dy: Any) -> Any:
        return layer.stateless_call(trained, others, x, training=False)[0]

    compiled = [jax.jit(forward_and_backward), jax.jit(inference)]
    return tuple(lambda *args, call=call: jax.block_until_ready(call(*args)) for call in compiled)


def _errors(
    mode: str, compiled: Callable[..., Any], scope: Any = None, masked: bool = False, **arguments: Any
) -> list[dict[str, Any]]:
    """Relative error of the moving variance after one batch of mean 1e4 and deviation 1."""
    from contextlib import nullcontext

    import keras
    import numpy as np

    import kerasreg as kr

    x = np.random.default_rng(0).normal(1e4, 1.0, (64, 16, 16, 8)).astype("float32")
    mask = np.random.default_rng(1).random((64, 16, 16)) < 0.6 if masked else None
    exact = x.astype("float64")
    if masked:
        variance = exact[mask].var(0)
    elif size := arguments.get("virtual_batch_size"):
        variance = exact.reshape(-1, size, *x.shape[1:]).var((1, 2, 3)).mean(0)
    else:
        variance = exact.var((0, 1, 2))
    worst = []
    for kind, given in (
        (keras.layers.BatchNormalization, {k: v for k, v in arguments.items() if k == "synchronized"}),
        (kr.layers.BatchNormalization, arguments),
    ):
        with (scope or nullcontext)():
            layer = kind(momentum=0.0, **given)
            layer.build(x.shape)
        step = compiled(lambda x, *m, layer=layer: layer(x, training=True, mask=m[0] if m else None))
        step(x, *([] if mask is None else [mask]))
        found = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(layer.moving_variance))
        worst.append(float(np.abs(found / variance - 1).max()))
    if "virtual_batch_size" in arguments:
        # Keras has no ghost batches to compare with.
        worst[0] = None
    return [_row(f"variance error, {mode}", "relative", *worst, None, WORST_VARIANCE_ERROR)]


def _row(case: str, unit: str, keras: Any, ours: float, ratio: float | None, goal: float) -> dict[str, Any]:
    met = ours <= goal if ratio is None else ratio >= goal
    return {
        "case": case,
        "unit": unit,
        "Keras": keras,
        "kerasreg": ours,
        "ratio": ratio,
        "goal": goal,
        "met": met,
    }


if __name__ == "__main__":
    main()
