"""What `ActivationStats` costs: CPU time per step beside the bare step, and beside what people do without it.

python -m benchmarks.activation_stats

A 10-layer convnet with batches of 64, all layers watched. Observed and bare steps take turns in one `fit`;
each observed one is compared with the bare ones around it; the CPU time of all threads counts. At every=10 a
step pays a tenth of that, which is how its share is worked out.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

import kerasreg as kr
from benchmarks.report import claim, folder, options, publish

L = keras.layers
BATCH, WARM_UP = 64, 4
QUICK_BATCH, QUICK_PAIRS = 8, 4
GOALS = {("graph", 1): 8.0, ("graph", 10): 2.0, ("XLA", 10): 5.0, ("JAX", 10): 5.0}
GOAL_GRADIENTS = 5.0


def convnet() -> keras.Model:
    conv = {"padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            L.Conv2D(32, 3, **conv),
            L.Conv2D(32, 3, **conv),
            L.MaxPooling2D(),
            L.Conv2D(64, 3, **conv),
            L.Conv2D(64, 3, **conv),
            L.MaxPooling2D(),
            L.Conv2D(128, 3, **conv),
            L.GlobalAveragePooling2D(),
            L.Dense(64, "relu"),
            L.Dense(10),
        ]
    )


def chain(layers: int) -> keras.Model:
    """Equal convolutions, as many as wanted."""
    conv = [L.Conv2D(16, 3, padding="same", activation="relu") for _ in range(layers - 2)]
    return keras.Sequential([keras.Input((16, 16, 3)), *conv, L.GlobalAveragePooling2D(), L.Dense(10)])


class Clock(keras.callbacks.Callback):
    """CPU seconds of each step: from its first callback, where this stands first, to its last."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._start = time.process_time()

    def stop(self, logs: Mapping[str, Any]) -> None:
        # Read, so that what was only sent to the device is done.
        float(keras.ops.convert_to_numpy(logs["loss"]))
        self.seconds.append(time.process_time() - self._start)


class Stop(keras.callbacks.Callback):
    """Stands last."""

    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._clock.stop(logs)


class SecondPass(keras.callbacks.Callback):
    """Figures from a forward pass of their own, as tools do that ask a second model for all outputs."""

    def __init__(self, model: keras.Model, batch: np.ndarray, histograms: bool):
        super().__init__()
        every_output = keras.Model(model.inputs, [layer.output for layer in model.layers])
        self._batch, self._names = batch, [layer.name for layer in model.layers]
        self._histograms = histograms
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._run = tf.function(lambda x: every_output(x, training=False))
            self._writer = tf.summary.create_file_writer(tempfile.mkdtemp()) if histograms else None
        else:
            self._run = every_output.predict_on_batch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not is_observed(batch):
            return
        if keras.backend.backend() == "jax":
            # There a fit keeps the weights to itself until it is asked for them.
            self.model.jax_state_sync()
        outputs = self._run(self._batch)
        if self._histograms:
            import tensorflow as tf

            with self._writer.as_default():
                for name, output in zip(self._names, outputs, strict=True):
                    tf.summary.histogram(name, output, step=batch)
            self._writer.flush()
            return
        for output in outputs:
            values = np.asarray(keras.ops.convert_to_numpy(output))
            values.mean(), values.std(), (values == 0).mean()


def is_observed(step: int) -> bool:
    """Every second step, once the functions are compiled."""
    return step < WARM_UP or step % 2 == 0


def cost(
    make: Callable[[], keras.Model], watch: Callable[[keras.Model, np.ndarray], Any], pairs: int, jit: bool
) -> tuple[float, float, Any]:
    """CPU seconds of a bare step, what an observed one adds to it, and the callback."""
    keras.utils.set_random_seed(0)
    model = make()
    rng = np.random.default_rng(0)
    batch = BATCH if pairs > QUICK_PAIRS else QUICK_BATCH
    x = rng.normal(size=(batch, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, 10, batch)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit)
    steps = WARM_UP + 2 * pairs + 1
    callback, clock = watch(model, x), Clock()
    x, y = np.tile(x, (steps, 1, 1, 1)), np.tile(y, steps)
    model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=[clock, callback, Stop(clock)])
    taken = clock.seconds
    observed = range(WARM_UP + 2, steps - 1, 2)
    added = [taken[i] - (taken[i - 1] + taken[i + 1]) / 2 for i in observed]
    bare = [taken[i] for i in range(WARM_UP + 1, steps, 2)]
    return statistics.median(bare), statistics.median(added), callback


def stats(**arguments: Any) -> Callable[..., Any]:
    return lambda model, x: kr.callbacks.ActivationStats(every=is_observed, diagnose=False, **arguments)


def shares(pairs: int, modes: Sequence[str]) -> list[dict[str, Any]]:
    on_tensorflow = keras.backend.backend() == "tensorflow"
    ways = {
        "ActivationStats": stats(),
        "  with gradients": stats(gradients=True),
        "  with histograms": stats(histograms=True),
        "a second forward pass": lambda model, x: SecondPass(model, x, histograms=False),
    }
    if on_tensorflow:
        ways["  and tf.summary.histogram"] = lambda model, x: SecondPass(model, x, histograms=True)
    rows = []
    for mode in modes:
        for way, watch in ways.items():
            if mode == "XLA" and watch not in list(ways.values())[:2]:
                continue
            bare, added, _ = cost(convnet, watch, pairs, jit=mode != "graph")
            goals = {1: "-", 10: "-"}
            if way == "ActivationStats":
                goals = {k: f"at most {GOALS[mode, k]:g}" if (mode, k) in GOALS else "-" for k in (1, 10)}
            elif "gradients" in way:
                goals[10] = f"at most {GOAL_GRADIENTS:g}"
            print(f"{mode}, {way.strip()}: {1000 * bare:.1f} ms and {1000 * added:.1f} more", flush=True)
            rows.append(
                {
                    "mode": mode,
                    "way": way,
                    "bare step, ms": 1000 * bare,
                    "every=1, %": 100 * added / bare,
                    "goal": goals[1],
                    "every=10, %": 10 * added / bare,
                    "goal at 10": goals[10],
                }
            )
    return rows


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an observed step costs more than a bare one, and how much less than by other ways."""
    found = []
    cost = {(row["mode"], row["way"].strip()): row for row in rows}
    unit, bare = "% of a step's CPU time", "the same step, bare"
    for mode in dict.fromkeys(row["mode"] for row in rows):
        # The backend is named in the table anyway.
        compiled = "" if mode == "JAX" else f", {mode}"
        for every in (1, 10):
            value = cost[mode, "ActivationStats"][f"every={every}, %"]
            what = f"ActivationStats(every={every}) on ten layers{compiled}"
            goal, detail = GOALS.get((mode, every)), mode == "XLA"
            found.append(claim(what, value, unit, bare, at_most=goal, detail=detail))
        value = cost[mode, "with gradients"]["every=10, %"]
        what = f"ActivationStats(every=10, gradients=True){compiled}"
        found.append(claim(what, value, unit, bare, at_most=GOAL_GRADIENTS, detail=True))
    for ours, other, peer in (
        ("ActivationStats", "a second forward pass", "a second forward pass"),
        ("with histograms", "and tf.summary.histogram", "a second forward pass with tf.summary.histogram"),
    ):
        if ("graph", other) in cost:
            ratio = cost["graph", other]["every=1, %"] / cost["graph", ours]["every=1, %"]
            arguments = "histograms=True" if "histograms" in ours else "every=1"
            what = f"ActivationStats({arguments}), what it adds to a step"
            found.append(claim(what, ratio, "times less", peer))
    return found


def by_depth(pairs: int) -> list[dict[str, Any]]:
    """Time and memory for each layer of an observed step."""
    rows = []
    for layers in (10, 100) if pairs > QUICK_PAIRS else (10,):
        bare, added, callback = cost(lambda n=layers: chain(n), stats(), pairs, jit=False)
        rows.append(
            {
                "layers": layers,
                "bare step, ms": 1000 * bare,
                "added a layer, ms": 1000 * added / layers,
                "bytes a layer": packed_bytes(callback) / layers,
                "goal": "flat, and under 1024 bytes",
            }
        )
    return rows


def packed_bytes(callback: Any) -> int:
    """How large the one tensor is that leaves an observed step, in float32."""
    rows, owners = callback._observer._tap._layouts[-1]
    return 4 * (sum(row.size for row in rows) + 3 * len(owners))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--pairs", type=int, default=12, help="observed steps of each timing")
    parser.add_argument("--only", choices=["shares", "depth"], default=None, help="this alone")
    args = parser.parse_args()
    pairs = QUICK_PAIRS if args.quick else args.pairs
    backend = keras.backend.backend()
    suffix = "" if backend == "tensorflow" else f"_{backend}"
    modes = ("graph", "XLA")[: 1 if args.quick else None] if backend == "tensorflow" else ("JAX",)
    facts = {"backend": backend, "pairs": pairs}
    if args.only in (None, "shares"):
        rows = shares(pairs, modes)
        publish(f"activation_stats{suffix}", rows, folder(args), claims(rows), **facts)
    if args.only in (None, "depth") and backend == "tensorflow":
        publish("activation_stats_by_depth", by_depth(pairs), folder(args), **facts)


if __name__ == "__main__":
    main()
