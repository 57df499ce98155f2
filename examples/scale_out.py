"""One training on several devices and processes, compared with one device by numbers: all on this machine.

python examples/scale_out.py mirrored         two processors of TensorFlow in one process
python examples/scale_out.py data-parallel    two processes of JAX
python examples/scale_out.py service          two processes augment, a third hands out the work
python examples/scale_out.py service-killed   one of the two is killed in mid-epoch
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What must be known before Keras is imported, by this process and by those that it starts.
BACKENDS = {"data-parallel": "jax"}
BATCH, SIDE = 64, 8
# Rows of the digits that fill whole batches: Keras weighs two shares of a batch alike, of whatever size.
ROWS = 22 * BATCH
# Seconds without a batch after which a training is given up; a service itself would wait an hour.
PATIENCE = 120


# Processes


@contextlib.contextmanager
def processes() -> Iterator[list[subprocess.Popen]]:
    """A list for what was started: none of it outlives the block, nor this process."""
    started: list[subprocess.Popen] = []
    try:
        yield started
    finally:
        for process in started:
            process.kill()
        for process in started:
            with process:  # waits for it, and closes its pipes
                pass


def start(*arguments: object, **options: Any) -> subprocess.Popen:
    """This file again, as a part of the whole; it ends when its input does, so with this process."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def end_with_the_parent() -> None:
    """Have this process end when the one that started it does."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("localhost", 0))
        return [probe.getsockname()[1] for probe in probes]


# What is trained


def digits() -> tuple[Any, Any]:
    """Whole batches of images and labels, in one order."""
    import kerasreg as kr

    images, labels = next(iter(kr.datasets.load("digits", "train").batch(2000)))
    return images.numpy()[:ROWS], labels.numpy()[:ROWS]


def net() -> Any:
    """A small net with a batch norm, two penalties and nothing that draws."""
    import keras

    import kerasreg as kr

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Rescaling(1 / 255, name="rescaled"),
            layers.Conv2D(16, 3, kernel_regularizer=kr.regularizers.L2(1e-2), name="conv"),
            kr.layers.BatchNormalization(synchronized=True, name="batch_norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(10, kernel_regularizer=kr.regularizers.ElasticNet(1e-3, beta=0.5), name="out"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    return model


def train(model: Any, data: Any, epochs: int, log_dir: Path, each_epoch: Any) -> dict[str, Any]:
    """Figures of a training, as flat arrays by what they are."""
    import keras
    import numpy as np

    import kerasreg as kr

    stats = kr.callbacks.ActivationStats(log_dir, every=5, gradients=True, diagnose=False)
    report = kr.callbacks.PenaltyReport()
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: each_epoch())
    x, y = data if isinstance(data, tuple) else (data, None)
    history = model.fit(
        x,
        y,
        batch_size=None if y is None else BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[stats, report, told],
    ).history
    kept = ("mean", "std", "zeros", "gradient_norm", "batch_norm_drift")
    return {
        "loss": np.array(history["loss"]),
        "data loss": np.array(history["data_loss"]),
        "penalties": np.array([row["penalty"] for row in report.history]),
        "figures of layers": np.array([row[name] for row in stats.history for name in kept if name in row]),
        "weights": np.concatenate([keras.ops.convert_to_numpy(weight).ravel() for weight in model.weights]),
        "accuracy": np.array(history["accuracy"]),
    }


def compared(found: dict[str, Any], expected: dict[str, Any], limit: float) -> tuple[str, bool]:
    """The largest difference of each sort of figure, and whether all are within the limit."""
    import numpy as np

    lines, good = ["largest difference from one device, beside the largest figure:"], True
    for name, values in expected.items():
        same_form = found[name].shape == values.shape
        difference = float(np.abs(found[name] - values).max()) if same_form else float("inf")
        good &= difference <= limit * max(1.0, float(np.abs(values).max()))
        lines.append(f"  {name:18} {difference:8.1e}  {np.abs(values).max():8.3g}  ({values.size} figures)")
    return "\n".join(lines), good


def told(claim: str, good: bool) -> int:
    """Print whether it held; the exit status."""
    print(f"{'held' if good else 'DID NOT HOLD'}: {claim}")
    return 0 if good else 1


# Two processors of TensorFlow


def mirrored(args: argparse.Namespace) -> int:
    """One process with two logical processors, under MirroredStrategy and without."""
    import keras
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    strategies = {"one": tf.distribute.get_strategy(), "two": two}
    bar = keras.utils.Progbar(2 * args.epochs, unit_name="epoch")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, strategy in strategies.items():
            with strategy.scope():
                model = net()
            logs = Path(folder) / name
            found[name] = train(model, digits(), args.epochs, logs, lambda: bar.add(1))
    text, good = compared(found["two"], found["one"], args.limit)
    print(text)
    return told(
        "two replicas, each with half of every batch, trained the net that one trains: the batch norm saw "
        f"the whole batch, each penalty counted once, ActivationStats pooled both (within {args.limit:g}).",
        good,
    )


# Two processes of JAX


def data_parallel(args: argparse.Namespace) -> int:
    """Three processes: two that train together, and one alone."""
    import keras
    import numpy as np

    bar, lock = keras.utils.Progbar(3 * args.epochs, unit_name="epoch"), threading.Lock()

    def follow(process: subprocess.Popen) -> None:
        for line in process.stdout:
            if line == "epoch\n":
                with lock:
                    bar.add(1)

    with tempfile.TemporaryDirectory() as folder, processes() as started:
        address = f"localhost:{free_ports(1)[0]}"
        for role in ("0", "1", "single"):
            with (Path(folder) / f"{role}.log").open("w") as log:
                started.append(start("_jax", role, address, folder, args.epochs, stderr=log))
        followers = [threading.Thread(target=follow, args=(process,), daemon=True) for process in started]
        for follower in followers:
            follower.start()
        deadline = time.monotonic() + 5 * PATIENCE
        while any(process.poll() is None for process in started):
            if any(process.poll() for process in started) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        for role, process in zip(("0", "1", "single"), started, strict=True):
            if process.poll() != 0:
                print((Path(folder) / f"{role}.log").read_text()[-2000:])
                return told(f"process {role} trained to the end.", False)
        for follower in followers:
            follower.join()
        found = {role: dict(np.load(Path(folder) / f"{role}.npz")) for role in ("0", "1", "single")}
        writers = len(list((Path(folder) / "logs_together").glob("events.out.tfevents.*")))
    text, good = compared(found["0"], found["single"], args.limit)
    print(f"\n{text}")
    same = all(np.array_equal(found["0"][name], found["1"][name]) for name in found["0"])
    return told(
        "two processes, each with half of every batch, trained the net that one trains "
        f"(within {args.limit:g}), know the same of it to the last bit, and {writers} of them wrote the log.",
        good and same and writers == 1,
    )


def jax_process(role: str, address: str, folder: str, epochs: str) -> None:
    """One of the processes that train together, or the one alone."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import keras
    import numpy as np

    shares = 1 if role == "single" else 2
    if shares > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize(address, shares, int(role))
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    images, labels = digits()

    class Shares(keras.utils.PyDataset):
        """Of each batch the part that is this process's."""

        def __len__(self) -> int:
            return ROWS // BATCH

        def __getitem__(self, number: int) -> tuple[Any, Any]:
            size = BATCH // shares
            first = number * BATCH + (0 if shares == 1 else int(role) * size)
            return images[first : first + size], labels[first : first + size]

    logs = Path(folder) / ("logs_alone" if shares == 1 else "logs_together")
    found = train(net(), Shares(), int(epochs), logs, lambda: print("epoch", flush=True))
    np.savez(Path(folder) / f"{role}.npz", **found)


# A tf.data service


class Service:
    """A dispatcher and two workers, each a process, and who starts a worker again that died.

    A client waits for a lost worker until it is back at its own address, for an hour if need be: so whoever
    runs a service has something that starts it again, as a cluster's manager does. The dispatcher keeps a
    journal, from which another one in its place goes on.
    """

    def __init__(self, folder: str, restart: bool = True):
        self.folder, self.restart, self.restarts = folder, restart, 0
        self.port, *self.worker_ports = free_ports(3)
        self.target = f"grpc://localhost:{self.port}"
        self._stop = threading.Event()

    def __enter__(self) -> Service:
        self._stack = contextlib.ExitStack()
        self._started = self._stack.enter_context(processes())
        try:
            self.start_dispatcher()
            workers = [self._start("_worker", self.port, port, ready=False) for port in self.worker_ports]
            self.workers = [_ready(worker) for worker in workers]
        except BaseException:
            self._stack.close()
            raise
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._keeper.join()
        self._stack.close()

    def kill_worker(self) -> None:
        """SIGKILL for one of the two."""
        self.workers[0].kill()

    def kill_dispatcher(self) -> None:
        """SIGKILL for the one that hands out the work."""
        self.dispatcher.kill()
        self.dispatcher.wait()

    def start_dispatcher(self) -> None:
        """A dispatcher that goes on where the journal ends."""
        self.dispatcher = self._start("_dispatcher", self.port, self.folder)

    def _start(self, *arguments: object, ready: bool = True) -> subprocess.Popen:
        self._started.append(start(*arguments, stderr=subprocess.DEVNULL))
        return _ready(self._started[-1]) if ready else self._started[-1]

    def _keep(self) -> None:
        while not self._stop.wait(0.1):
            for number, port in enumerate(self.worker_ports):
                if self.restart and self.workers[number].poll() is not None:
                    self.workers[number] = self._start("_worker", self.port, port)
                    self.restarts += 1


def _ready(process: subprocess.Popen) -> subprocess.Popen:
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("A process of the service ended before it was ready.")
    return process


def dispatcher_process(port: str, folder: str) -> None:
    """Hands out the numbers of the images."""
    import tensorflow as tf

    service = tf.data.experimental.service
    config = service.DispatcherConfig(port=int(port), work_dir=folder, fault_tolerant_mode=True)
    server = service.DispatchServer(config)
    print("ready", flush=True)
    server.join()


def worker_process(dispatcher: str, port: str) -> None:
    """Loads and augments."""
    import tensorflow as tf

    service = tf.data.experimental.service
    addresses = (f"localhost:{dispatcher}", f"localhost:{port}")
    config = service.WorkerConfig(*addresses, port=int(port), heartbeat_interval_ms=200)
    server = service.WorkerServer(config)
    print("ready", flush=True)
    server.join()


def augmented(epochs: int) -> Any:
    """Batches of augmented digits; what is drawn for an image follows from its number and its epoch alone."""
    import tensorflow as tf

    import kerasreg as kr

    images, labels = (tf.constant(array) for array in digits())
    pipeline = kr.augment.Pipeline(
        [kr.augment.RandomTranslation(0.1), kr.augment.RandomRotation(10), kr.augment.RandomContrast(0.2)],
        seed=0,
        value_range=(0, 255),
        index_key="index",
        epoch_key="epoch",
    )
    numbers = kr.augment.indices(ROWS, epochs, shuffle=True)
    elements = numbers.map(
        lambda x: {"images": tf.gather(images, x["index"]), "labels": tf.gather(labels, x["index"]), **x}
    )
    return elements.batch(BATCH // 2).apply(pipeline)


class Arrivals:
    """What came out of a dataset: how often each image of each epoch, and how it looked."""

    def __init__(self) -> None:
        self.times: Counter[tuple[int, int]] = Counter()
        self.images: dict[tuple[int, int], Any] = {}

    def note(self, images: Any, epochs: Any, indices: Any) -> Any:
        """Note a batch down."""
        for image, place in zip(images, zip(epochs.tolist(), indices.tolist(), strict=True), strict=True):
            self.times[place] += 1
            self.images[place] = image
        return indices

    def noted(self, data: Any) -> Any:
        """The dataset as `fit` wants it, noted on its way."""
        import tensorflow as tf

        def note(x: dict[str, Any]) -> tuple[Any, Any]:
            done = tf.numpy_function(self.note, [x["images"], x["epoch"], x["index"]], tf.int64)
            with tf.control_dependencies([done]):
                return tf.reshape(x["images"], (-1, SIDE, SIDE, 1)), tf.reshape(x["labels"], (-1,))

        # Behind a filter nobody counts on a number of batches, which is not known where something may die.
        return data.map(note).filter(lambda *_: True)


def served(
    args: argparse.Namespace, strike: Callable[[Service], None] | None = None, restart: bool = True
) -> dict[str, Any]:
    """Train on what a service augments, and say what came.

    Args:
        args: `epochs`, and the `patience` after which the process ends with a traceback.
        strike: What is done to the service after a third of the batches.
        restart: Whether a worker that died is started again.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    service = tf.data.experimental.service
    whole = Arrivals()
    for batch in augmented(args.epochs):
        whole.note(*(batch[name].numpy() for name in ("images", "epoch", "index")))
    model, came = net(), Arrivals()
    steps = args.epochs * ROWS // (BATCH // 2)
    bar, gaps, last = None, [], time.monotonic()

    def after(batch: int, logs: Any) -> None:
        nonlocal bar, last
        bar = bar or keras.utils.Progbar(steps, unit_name="batch")
        gaps.append(time.monotonic() - last)
        bar.update(batch + 1, finalize=False)
        if strike is not None and batch == steps // 3:
            strike(cluster)
        last = time.monotonic()
        faulthandler.dump_traceback_later(args.patience, exit=True)

    with tempfile.TemporaryDirectory() as folder, Service(folder, restart) as cluster:
        shared_out = service.distribute(service.ShardingPolicy.DYNAMIC, cluster.target)
        data = augmented(args.epochs).apply(shared_out)
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=after)
        faulthandler.dump_traceback_later(args.patience, exit=True)
        try:
            history = model.fit(came.noted(data), callbacks=[callback], shuffle=False, verbose=0).history
            gaps.append(time.monotonic() - last)
        finally:
            faulthandler.cancel_dump_traceback_later()
        restarts = cluster.restarts
    print()
    differences = [np.abs(image - whole.images[place]).max() for place, image in came.images.items()]
    return {
        "images": len(whole.images),
        "came": len(came.images),
        "lost": len(whole.images.keys() - came.images.keys()),
        "strange": len(came.images.keys() - whole.images.keys()),
        "twice": sum(count > 1 for count in came.times.values()),
        "difference": float(max(differences)),
        "restarts": restarts,
        "longest wait": max(gaps[1:]),
        "accuracy": history["accuracy"][-1],
        "loss": history["loss"][-1],
    }


def summary(found: dict[str, Any]) -> str:
    """What came, in two lines."""
    return (
        f"{found['came']} of {found['images']} augmented images came, {found['twice']} twice, "
        f"{found['lost']} never; largest difference from the local run's pixels: {found['difference']:.1e}\n"
        f"trained to the end: loss {found['loss']:.3f}, accuracy {found['accuracy']:.1%}; longest wait for a "
        f"batch {found['longest wait']:.1f} s, workers started again: {found['restarts']}"
    )


def whole_service(args: argparse.Namespace) -> int:
    """Both workers live."""
    found = served(args)
    print(summary(found))
    good = not (found["lost"] or found["twice"] or found["strange"]) and found["difference"] <= args.limit
    return told("all that two workers gave together is the local run, each image of each epoch once.", good)


def killed_service(args: argparse.Namespace) -> int:
    """One worker dies of SIGKILL after a third of the batches, and is started again."""
    found = served(args, Service.kill_worker)
    print(summary(found))
    good = not (found["twice"] or found["strange"]) and found["difference"] <= args.limit
    good &= found["restarts"] == 1 and found["lost"] < found["images"] / 3
    return told(
        "a worker killed in mid-epoch costs the images that it had in hand and no others, as dynamic "
        "sharding promises (each at most once); what came is the local run's, and the training ended.",
        good,
    )


COMMANDS = {
    "mirrored": mirrored,
    "data-parallel": data_parallel,
    "service": whole_service,
    "service-killed": killed_service,
}
PARTS = {"_jax": jax_process, "_dispatcher": dispatcher_process, "_worker": worker_process}


def main() -> int:
    if len(sys.argv) > 1 and sys.argv[1] in PARTS:
        os.environ["KERAS_BACKEND"] = "jax" if sys.argv[1] == "_jax" else "tensorflow"
        end_with_the_parent()
        PARTS[sys.argv[1]](*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", choices=COMMANDS)
    parser.add_argument("--quick", action="store_true", help="one epoch instead of five")
    parser.add_argument("--limit", type=float, default=1e-3, help="largest difference allowed (%(default)s)")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds to wait for a batch")
    args = parser.parse_args()
    args.epochs = 1 if args.quick else 5
    os.environ["KERAS_BACKEND"] = BACKENDS.get(args.engine, "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return COMMANDS[args.engine](args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
