"""Files from anywhere: saved models with other things in them, datasets that boast, logs in odd places."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from bad_case import Case, refused

import kerasreg as kr

W = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="bad_files_"))


def marker() -> Path:
    """A file that is there once somebody's code was run."""
    return folder() / "somebody_was_here"


def cases() -> Iterator[Case]:
    yield from _configs()
    yield from _archives()
    yield from _datasets()
    yield from _pictures()


def _process() -> Any:
    """What no file may change."""
    return [
        keras.config.epsilon(),
        keras.config.floatx(),
        keras.config.image_data_format(),
        marker().exists(),
    ]


def _function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _object(module: str, name: str, config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _payloads() -> dict[str, Any]:
    touch = f"touch {marker()}"
    archive = folder() / "lambda.keras"
    if not archive.exists():
        layers = [keras.Input((2,)), keras.layers.Lambda(lambda x: __import__("os").system("true") * x)]
        keras.Sequential(layers).save(archive)
    held = json.loads(zipfile.ZipFile(archive).read("config.json"))["config"]["layers"][1]
    return {
        "a Lambda layer": held,
        "a Python lambda": held["config"]["function"],
        "os.system": _function("os", "system"),
        "an object of os": _object("os", "system", {"command": touch}),
        "subprocess.Popen": _object("subprocess", "Popen", {"args": ["touch", str(marker())]}),
        "exec": _function("builtins", "exec"),
        "a word": "os.system",
        "a word with a module": "os>system",
        "a downloader": _object("keras.utils", "get_file", {"fname": "x", "origin": "file:///etc/passwd"}),
        "a loader": _function("keras.saving", "load_model"),
        "a switch of Keras' safe mode": _function("keras.config", "enable_unsafe_deserialization"),
        "a setting of Keras'": _function("keras.config", "set_epsilon"),
        "another setting of Keras'": _function("keras.config", "set_floatx"),
        "a seed of Keras'": _function("keras.utils", "set_random_seed"),
        "a function of ours": _function("kerasreg.datasets.idx", "read"),
        "a class of ours that nobody registered": _object("kerasreg._core.arguments", "Came", {}),
        "a module of a user's": _function("tests.anything", "run"),
        "a config of nothing": {},
        "a list": ["os", "system", touch],
        "a number": 3.5,
    }


def _ours(cls: str, /, **config: Any) -> dict[str, Any]:
    return {"module": "kerasreg", "class_name": cls, "config": config, "registered_name": f"kerasreg>{cls}"}


# Where a configuration of ours holds something else, and what stands beside it there.
PLACES = {
    "initializers.Calibrated": ("activation", lambda p: _ours("Calibrated", activation=p)),
    "regularizers.Schedule": ("function", lambda p: _ours("Schedule", function=p)),
    "regularizers.L2": ("strength", lambda p: _ours("L2", strength=p)),
    "constraints.SoftThreshold": ("strength", lambda p: _ours("SoftThreshold", strength=p)),
    "layers.ConcreteDropout": ("layer", lambda p: _ours("ConcreteDropout", layer=p, num_examples=5)),
    "layers.DropPath": ("rate", lambda p: _ours("DropPath", rate=p)),
    "layers.TemperatureScaling": ("temperature", lambda p: _ours("TemperatureScaling", temperature=p)),
    "augment.Pipeline": ("transforms", lambda p: _ours("Pipeline", transforms=[p])),
    "augment.RandomChoice": ("transforms", lambda p: _ours("RandomChoice", transforms=[p])),
    "augment.Augmentation": ("pipeline", lambda p: _ours("Augmentation", pipeline=p)),
    "callbacks.ActivationStats": ("every", lambda p: _ours("ActivationStats", every=p)),
}
# What a number may be.
HARMLESS = {
    ("regularizers.L2", "a number"),
    ("constraints.SoftThreshold", "a number"),
    ("layers.TemperatureScaling", "a number"),
}


def _configs() -> Iterator[Case]:
    if keras.backend.backend() != "tensorflow":
        # The layer is refused on another backend, whatever it holds.
        places = {entry: place for entry, place in PLACES.items() if entry != "augment.Augmentation"}
    else:
        places = PLACES
    for entry, (argument, held) in places.items():
        for what, payload in _payloads().items():
            if (entry, what) not in HARMLESS:
                yield Case(
                    entry,
                    f"a saved config with {what} as {argument}",
                    partial(_refusal_of, held(payload)),
                    _kept_out,
                    _process,
                )
    seed = _ours("DeltaOrthogonal", seed=_function("os", "system"))
    yield Case(
        "initializers.DeltaOrthogonal",
        "a saved config with os.system as seed",
        partial(_refusal_of, seed),
        _kept_out,
        _process,
    )
    for what, payload in _payloads().items():
        carried = {"class": payload, "weights": [], "regularizers": {}}
        config = {
            **_ours("Regularized", name="x", regularized=carried),
            "registered_name": "kerasreg>Regularized",
        }
        yield Case(
            "regularize",
            f"a saved config with {what} for the layer's class",
            partial(_refusal_of, config),
            _kept_out,
            _process,
        )
        excluded = {"class": payload, "weights": [], "excluded": []}
        config = {**_ours("DecayExclusions", name="x", decay_exclusions=excluded)}
        yield Case(
            "decay_exclusions",
            f"a saved config with {what} for the optimizer's class",
            partial(_refusal_of, config),
            _kept_out,
            _process,
        )


def _refusal_of(config: Any) -> Any:
    """The process before and after, and what came: an error of Keras' or ours, or an object."""
    before = _process()
    try:
        came = keras.saving.deserialize_keras_object(config)
    except Exception as error:
        came = error
    after = _process()
    keras.config.set_epsilon(before[0])
    keras.config.set_floatx(before[1])
    return before, after, came


def _kept_out(found: Any) -> None:
    before, after, came = found
    assert before == after, "a file has changed the process"
    assert not marker().exists(), "a file has run code"
    # Of whatever kind: it is Keras' own for most of them.
    assert isinstance(came, Exception), f"{came!r}"


def _archives() -> Iterator[Case]:
    held = keras.Sequential(
        [
            keras.Input((3,)),
            kr.layers.DropPath(0.1, name="path"),
            keras.layers.Dense(
                2,
                kernel_initializer=kr.initializers.Calibrated("relu"),
                kernel_regularizer=kr.regularizers.L2(kr.regularizers.Schedule.warmup(0.1, 5)),
                name="out",
            ),
        ]
    )
    good = folder() / "good.keras"
    held.save(good)
    payloads = _payloads()
    for entry, where in (
        (
            "initializers.Calibrated",
            ("config", "layers", 2, "config", "kernel_initializer", "config", "activation"),
        ),
        (
            "regularizers.Schedule",
            (
                "config",
                "layers",
                2,
                "config",
                "kernel_regularizer",
                "config",
                "strength",
                "config",
                "function",
            ),
        ),
        ("layers.DropPath", ("config", "layers", 1)),
    ):
        for what in (
            "a Python lambda",
            "a Lambda layer",
            "os.system",
            "subprocess.Popen",
            "a setting of Keras'",
        ):
            path = _rewritten(
                good, f"{entry}_{what}.keras".replace(" ", "_").replace("'", ""), where, payloads[what]
            )
            yield Case(entry, f"a saved model with {what} in it", partial(_load, path), _kept_out, _process)


def _rewritten(good: Path, name: str, where: tuple[Any, ...], payload: Any) -> Path:
    """The archive with something else at a place of its config."""
    path = folder() / name
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as copy:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json":
                config = json.loads(content)
                part = config
                for step in where[:-1]:
                    part = part[step]
                assert where[-1] in part or isinstance(part, list)
                part[where[-1]] = payload
                content = json.dumps(config)
            copy.writestr(member, content)
    return path


def _load(path: Path) -> Any:
    before = _process()
    try:
        came = keras.saving.load_model(path)
    except Exception as error:
        came = error
    return before, _process(), came


def _idx(shape: tuple[int, ...], values: int, code: int = 0x08) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + bytes(values)


def _datasets() -> Iterator[Case]:
    good = {
        "train-images-idx3-ubyte": _idx((2, 28, 28), 1568),
        "train-labels-idx1-ubyte": _idx((2,), 2),
        "t10k-images-idx3-ubyte": _idx((1, 28, 28), 784),
        "t10k-labels-idx1-ubyte": _idx((1,), 1),
    }
    images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as bomb:
        bomb.write(_idx((2, 28, 28), 1568))
        for _ in range(64):
            bomb.write(bytes(1 << 20))
    kept = gzip.compress(_idx((200_000, 28, 28), 0) + bytes(200_000 * 784), 1)
    for what, changed, words in (
        ("an empty file", {images: b""}, ("nothing",)),
        ("a file cut short", {images: _idx((2, 28, 28), 1000)}, ("1000",)),
        ("a file that goes on", {images: _idx((2, 28, 28), 1569)}, ("more than 1568",)),
        ("a header cut short", {images: b"\0\0\x08\x03\0\0"}, ("6",)),
        ("another format", {images: b"\x89PNG\r\n\x1a\n" + bytes(99)}, ("89 50 4e 47",)),
        ("a rank of 255", {images: b"\0\0\x08\xff" + bytes(2000)}, ("00 00 08 ff",)),
        ("images of another size", {images: _idx((2, 29, 28), 1624)}, ("29 x 28",)),
        ("fractions", {images: _idx((2, 28, 28), 1568 * 4, 0x0D)}, ("float32",)),
        ("other numbers of labels", {labels: _idx((3,), 3)}, ("3 labels",)),
        ("a label past the classes", {labels: _idx((2,), 0) + b"\x00\x0a"}, ("10",)),
        (
            "a claim of 2^32 images",
            {images: _idx((2**32 - 1, 28, 28), 99), labels: _idx((2**32 - 1,), 9)},
            ("4294967295",),
        ),
        (
            "a claim of more than there can be",
            {images: _idx((2**32 - 1, 2**32 - 1, 2**32 - 1), 99)},
            ("4294967295",),
        ),
        ("a packed file that never ends", {images: packed.getvalue()}, ("more than 1568",)),
        (
            "a packed file that keeps its claim",
            {images: kept, labels: _idx((200_000,), 200_000)},
            ("200000",),
        ),
        ("a packed file cut short", {images: gzip.compress(good[images])[:40]}, ("gzip",)),
        ("a packed file of noise", {images: b"\x1f\x8b" + os.urandom(99)}, ("gzip",)),
    ):
        place = folder() / f"fashion_{what.replace(' ', '_')}"
        place.mkdir(exist_ok=True)
        for name, content in {**good, **changed}.items():
            (place / name).write_bytes(content)
        yield Case(
            "datasets.load", what, partial(_within, 24 << 20, partial(_read, place)), refused("`", *words)
        )
    lacking = folder() / "fashion_lacking"
    lacking.mkdir(exist_ok=True)
    (lacking / images).write_bytes(good[images])
    for entry, call in (
        ("datasets.load", partial(kr.datasets.load, split="train")),
        ("datasets.info", kr.datasets.info),
    ):
        yield Case(
            entry,
            "a folder that lacks files",
            partial(call, "fashion_mnist", data_dir=lacking),
            refused("`data_dir`", labels),
        )
        yield Case(entry, "an unknown name", partial(call, "no_such_data"), refused("`name`", "no_such_data"))
        yield Case(entry, "no name", partial(call, 3), refused("`name`", "3"))
        yield Case(
            entry, "a path for a name", partial(call, "../../etc/passwd"), refused("passwd", by="TFDS")
        )
        yield Case(entry, "an empty name", partial(call, ""), refused("name", by="TFDS"))
    whole = folder() / "fashion_whole"
    whole.mkdir(exist_ok=True)
    for name, content in good.items():
        (whole / name).write_bytes(content)
    yield Case(
        "datasets.load",
        "an unknown split",
        partial(kr.datasets.load, "fashion_mnist", "validation", whole),
        refused("validation", by="TFDS"),
    )
    yield Case(
        "datasets.load",
        "an argument of no meaning",
        partial(kr.datasets.load, "fashion_mnist", "train", whole, decoders={}),
        refused("`decoders`"),
    )


def _read(place: Path) -> Any:
    return list(kr.datasets.load("fashion_mnist", "train", data_dir=place))


def _within(limit: int, do: Any) -> Any:
    """Do it, and fail if memory went past the limit on the way."""
    tracemalloc.start()
    try:
        return do()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > limit:
            raise MemoryError(f"{peak >> 20} MB for a file that is refused")


def _pictures() -> Iterator[Case]:
    """Where no picture can be: an error of the system's that names the path, and nothing left behind."""
    y, p = [0, 1, 1], [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]
    curve = kr.uncertainty.retention_curve(y, p)
    points = kr.diagnostics.LossSensitivity(0.1, 1.0, (0.1, 0.2))
    draws = {
        "uncertainty.reliability_diagram": lambda path: kr.uncertainty.reliability_diagram(y, p, path=path),
        "uncertainty.plot_retention_curve": lambda path: kr.uncertainty.plot_retention_curve(
            curve, path=path
        ),
        "diagnostics.plot_loss_sensitivity": lambda path: kr.diagnostics.plot_loss_sensitivity(
            {"a": points}, path
        ),
    }
    notes, taken = folder() / "notes.keras", folder() / "taken.png"
    notes.write_text("mine")
    taken.mkdir(exist_ok=True)

    def state() -> Any:
        return [notes.read_text(), sorted(os.listdir(folder()))]

    for entry, draw in draws.items():
        yield Case(
            entry, "a file that is no picture", partial(draw, notes), refused("keras", by="matplotlib"), state
        )
        for what, path in (("a folder", taken), ("a folder that is not there", folder() / "none" / "x.png")):
            yield Case(entry, what, partial(_os_error, draw, path, state), partial(_unwritten, path))


def _os_error(draw: Any, path: Path, state: Any) -> Any:
    before, text = state(), "nothing"
    try:
        draw(path)
    except OSError as error:
        text = str(error)
    return before, state(), text


def _unwritten(path: Path, found: Any) -> None:
    before, after, text = found
    assert path.name.partition(".")[0] in text, text
    assert before == after, "something was left behind"
