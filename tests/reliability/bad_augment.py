"""What is given to pipelines: images, labels, masks, boxes, points, files and datasets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from bad_case import Case, inf, nan, refused

import kerasreg as kr

augment = kr.augment
SIZE = (4, 6, 6, 3)
IMAGES = np.random.default_rng(2).integers(0, 256, SIZE).astype("uint8")
FLOATS = IMAGES.astype("float32")
LABELS = np.arange(4) % 3

# One of each transform, as a user writes it.
TRANSFORMS = {
    "RandomFlip": lambda: augment.RandomFlip(),
    "RandomRotation": lambda: augment.RandomRotation(10),
    "RandomZoom": lambda: augment.RandomZoom(0.1),
    "RandomShear": lambda: augment.RandomShear(0.1),
    "RandomTranslation": lambda: augment.RandomTranslation(0.1),
    "RandomPerspective": lambda: augment.RandomPerspective(0.2),
    "RandomCrop": lambda: augment.RandomCrop(4),
    "RandomResizedCrop": lambda: augment.RandomResizedCrop(4),
    "RandomBrightness": lambda: augment.RandomBrightness(0.1),
    "RandomContrast": lambda: augment.RandomContrast(0.1),
    "RandomSaturation": lambda: augment.RandomSaturation(0.1),
    "RandomHue": lambda: augment.RandomHue(10),
    "ColorJitter": lambda: augment.ColorJitter(0.1, 0.1, 0.1, 10),
    "RandomGrayscale": lambda: augment.RandomGrayscale(),
    "RandomInvert": lambda: augment.RandomInvert(),
    "RandomPosterize": lambda: augment.RandomPosterize((2, 5)),
    "RandomSolarize": lambda: augment.RandomSolarize(0.5),
    "RandomEqualize": lambda: augment.RandomEqualize(),
    "RandomAutoContrast": lambda: augment.RandomAutoContrast(),
    "RandomSharpness": lambda: augment.RandomSharpness(0.5),
    "RandomGaussianBlur": lambda: augment.RandomGaussianBlur(1.0),
    "RandomGaussianNoise": lambda: augment.RandomGaussianNoise(0.1),
    "RandomErasing": lambda: augment.RandomErasing(),
    "Rescale": lambda: augment.Rescale(1 / 255),
    "MixUp": lambda: augment.MixUp(0.2, num_classes=3),
    "CutMix": lambda: augment.CutMix(1.0, num_classes=3),
    "RandAugment": lambda: augment.RandAugment(),
    "TrivialAugment": lambda: augment.TrivialAugment(),
    "AugMix": lambda: augment.AugMix(),
    "RandomChoice": lambda: augment.RandomChoice([augment.RandomFlip(), augment.RandomInvert()]),
}
COLORS = ("RandomSaturation", "RandomHue", "ColorJitter", "RandomGrayscale")
MIXES = ("MixUp", "CutMix")


def cases() -> Iterator[Case]:
    for name in TRANSFORMS:
        yield from _images(name)
    yield from _mixes()
    yield from _sizes()
    yield from _targets()
    yield from _datasets()
    yield from _through()
    yield from _preview()
    yield from _layer()


@cache
def pipeline(name: str, **arguments: Any) -> Any:
    return augment.Pipeline([TRANSFORMS[name]()], seed=1, **arguments)


def _with(value: float) -> np.ndarray:
    images = FLOATS.copy()
    images[1, 2, 3] = value
    return images


def _images(name: str) -> Iterator[Case]:
    """Images are looked at before a draw is counted or anything is compiled."""
    whole = pipeline(name)

    def element(images: Any) -> Any:
        return (images, LABELS) if name in MIXES else images

    case = partial(Case, f"augment.{name}", state=lambda: whole._calls.numpy())
    for what, images, words in (
        ("NaN in an image", _with(nan), ("`value_range`", "NaN")),
        ("infinity in an image", _with(inf), ("`value_range`", "inf")),
        ("values past the range", FLOATS * 2, ("`value_range`",)),
        ("values of (0, 1) for a range of (0, 255)", FLOATS / 255, ("`value_range`", "multiply")),
        ("words", np.full(SIZE, "x"), ("`images`",)),
        ("truth values", IMAGES > 9, ("`images`", "bool")),
        ("complex numbers", FLOATS.astype("complex64"), ("`images`", "complex64")),
        ("rows of features", FLOATS[:, 0, 0], ("`images`", "(4, 3)")),
        ("videos", IMAGES[None], ("`images`", "(1, 4, 6, 6, 3)")),
        ("a number", 3.0, ("`images`", "()")),
    ):
        yield case(what, partial(lambda images: whole(element(images), draw=None), images), refused(*words))
    yield case("None", lambda: whole(None), refused("`images`", "None"))
    unit = pipeline(name, value_range=(0, 1))
    yield case(
        "uint8 images for a range of (0, 1)", lambda: unit(element(IMAGES)), refused("`value_range`", "uint8")
    )
    if name in COLORS:
        grey = IMAGES[..., :1]
        yield case("grey images", lambda: whole(element(grey)), refused("`images`", "3 channels"))
        first = np.moveaxis(IMAGES, 3, 1)
        yield case("channels first", lambda: whole(element(first)), refused("`images`", "(4, 3, 6, 6)"))
    for draw in (-1, 1.5, "x"):
        yield case(
            f"draw={draw!r}",
            lambda draw=draw: whole(element(IMAGES), draw=draw),
            refused("`draw`", repr(draw)),
        )


def _mixes() -> Iterator[Case]:
    for name in MIXES:
        mix, plain = pipeline(name), augment.Pipeline([getattr(augment, name)()])
        case = partial(Case, f"augment.{name}", state=lambda mix=mix: mix._calls.numpy())
        for what, labels, words in (
            ("a label past the classes", [0, 1, 2, 3], ("`labels`", "3")),
            ("a negative label", [0, 1, 2, -1], ("`labels`", "-1")),
            ("labels of other rows", [0, 1], ("`labels`", "4 images")),
            ("fractions as labels", [0.5, 1.0, 2.0, 0.0], ("`labels`", "float")),
            ("words as labels", ["a", "b", "c", "d"], ("`labels`", "string")),
            ("one-hot rows of other classes", np.eye(4, dtype="float32"), ("`labels`", "3 classes")),
            ("one-hot rows of whole numbers", np.eye(4, 3, dtype="int32"), ("`labels`", "float32")),
            ("labels in a dict", {"a": LABELS}, ("`labels`", "dict")),
        ):
            labels = labels if isinstance(labels, dict) else np.asarray(labels)
            yield case(what, lambda mix=mix, labels=labels: mix((IMAGES, labels)), refused(*words))
        yield case("no labels", lambda mix=mix: mix(IMAGES), refused("no labels"))
        yield case("one image", lambda mix=mix: mix((IMAGES[0], LABELS[0])), refused("`images`", "batch"))
        yield case(
            "class numbers without how many there are",
            lambda plain=plain: plain((IMAGES, LABELS)),
            refused("`num_classes`"),
        )
        boxes = {"images": IMAGES, "labels": LABELS, "bounding_boxes": _boxes([[0, 0, 2, 2]])}
        yield case(
            "bounding boxes", lambda mix=mix, boxes=boxes: mix(boxes), refused("`element`", "bounding_boxes")
        )


def _sizes() -> Iterator[Case]:
    large = augment.Pipeline([augment.RandomCrop(9)])
    yield Case(
        "augment.RandomCrop",
        "a window larger than the image",
        lambda: large(IMAGES),
        refused("`size`", "6x6"),
    )
    padded = augment.Pipeline([augment.RandomCrop(9, padding=1)])
    yield Case(
        "augment.RandomCrop",
        "a window larger than the padded image",
        lambda: padded(IMAGES),
        refused("`size`", "6x6"),
    )
    yield Case(
        "augment.RandomCrop",
        "a dataset of images smaller than the window",
        lambda: _slices(IMAGES).batch(2).apply(large),
        refused("`size`", "6x6"),
    )
    for what, do, words in (
        ("explain: a size of 0", lambda: large.explain((0, 3)), ("`image_size`", "0")),
        ("explain: words", lambda: large.explain("x"), ("`image_size`", "'x'")),
        ("explain: images smaller than the window", lambda: large.explain((3, 3)), ("`size`", "3x3")),
    ):
        yield Case("augment.Pipeline", what, do, refused(*words))
    for arguments in (
        {"count": 0},
        {"count": 1.5},
        {"epochs": 0},
        {"shuffle": 1},
        {"seed": "x"},
        {"seed": None},
    ):
        (argument,) = arguments
        given = {"count": 3, **arguments}
        yield Case(
            "augment.indices",
            f"{arguments}",
            lambda given=given: augment.indices(**given),
            refused(f"`{argument}`"),
        )


def _boxes(boxes: Any, labels: Any = None) -> dict[str, Any]:
    found = np.broadcast_to(np.asarray(boxes, "float32"), (4, *np.shape(boxes)))
    labels = np.zeros(found.shape[:2], "int32") if labels is None else labels
    return {"boxes": found, "labels": labels}


def _targets() -> Iterator[Case]:
    turn = augment.Pipeline([augment.RandomRotation(10)], bounding_box_format="xyxy")
    untold = augment.Pipeline([augment.RandomRotation(10)])
    relative = augment.Pipeline([augment.RandomRotation(10)], bounding_box_format="rel_xyxy")
    case = partial(Case, "augment.Pipeline", state=lambda: turn._calls.numpy())

    def give(pipeline: Any = turn, **parts: Any) -> Any:
        return pipeline({"images": IMAGES, **parts})

    good = _boxes([[0, 0, 3, 3]])
    for what, boxes, words in (
        ("boxes with NaN", _boxes([[0, 0, nan, 3]]), ("nan",)),
        ("infinite boxes", _boxes([[0, 0, inf, 3]]), ("inf",)),
        ("boxes with their corners reversed", _boxes([[3, 3, 0, 0]]), ("[3.0, 3.0, 0.0, 0.0]",)),
        ("boxes out of their images", _boxes([[0, 0, 30, 3]]), ("[0.0, 0.0, 30.0, 3.0]",)),
        ("boxes in shares", _boxes([[0, 0, 0.5, 0.5]]), ("rel_xyxy",)),
        ("boxes of three numbers", _boxes([[0, 0, 3]]), ("(4, 1, 3)",)),
        ("boxes without labels", {"boxes": good["boxes"]}, ("'labels'",)),
        ("boxes with other labels", {**good, "labels": np.zeros((4, 2), "int32")}, ("(4, 2)",)),
        ("boxes with unsigned labels", {**good, "labels": np.zeros((4, 1), "uint8")}, ("uint8",)),
        ("boxes as words", {**good, "boxes": np.full((4, 1, 4), "x")}, ("string",)),
        ("boxes as an array", good["boxes"], ("'boxes'",)),
        ("ragged boxes", {**good, "boxes": tf.ragged.constant([[[0.0] * 4]] * 4)}, ("Ragged",)),
        ("boxes of other rows", {"boxes": good["boxes"][:2], "labels": good["labels"][:2]}, ("4 images",)),
        ("None for boxes", None, ("None",)),
    ):
        yield case(what, partial(give, bounding_boxes=boxes), refused("`bounding_boxes`", *words))
    yield case(
        "boxes whose format nobody told",
        partial(give, untold, bounding_boxes=good),
        refused("`bounding_box_format`"),
    )
    yield case(
        "boxes in pixels for shares",
        partial(give, relative, bounding_boxes=good),
        refused("`bounding_boxes`"),
    )
    for what, masks, words in (
        ("masks of another size", np.zeros((4, 3, 3), "uint8"), ("(4, 3, 3)",)),
        ("masks of other rows", np.zeros((2, 6, 6), "uint8"), ("(2, 6, 6)",)),
        ("masks as words", np.full((4, 6, 6), "x"), ("string",)),
        ("ragged masks", tf.ragged.constant([[[0]]] * 4), ("Ragged",)),
        ("None for masks", None, ("`segmentation_masks`",)),
    ):
        yield case(what, partial(give, segmentation_masks=masks), refused("`segmentation_masks`", *words))
    for what, points, words in (
        ("points of four numbers", np.zeros((4, 2, 4), "float32"), ("(4, 2, 4)",)),
        ("points without a place in the batch", np.zeros((2,), "float32"), ("(2,)",)),
        ("points of other rows", np.zeros((3, 2, 2), "float32"), ("(3, 2, 2)",)),
        ("points as words", np.full((4, 2, 2), "x"), ("string",)),
        ("None for points", None, ("`keypoints`",)),
    ):
        yield case(what, partial(give, keypoints=points), refused("`keypoints`", *words))
    yield case("masks that nobody moves", lambda: turn((IMAGES, IMAGES[..., 0])), refused("`element`"))
    yield case("a dict without images", lambda: turn({"image": IMAGES}), refused("`element`", "'image'"))
    yield case("an empty tuple", lambda: turn(()), refused("`"))
    yield case("a list", lambda: turn([IMAGES, LABELS]), refused("`images`"))


def _slices(data: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(data)


def _datasets() -> Iterator[Case]:
    turn = pipeline("RandomRotation")
    case = partial(Case, "augment.Pipeline", state=lambda: turn._calls.numpy())
    for what, dataset, words in (
        ("a dataset of rows", _slices(FLOATS[:, 0, 0]), ("`images`", "(3,)")),
        ("a dataset of words in batches", _slices(["a", "b"]).batch(2), ("`images`", "batch behind")),
        ("a ragged dataset", _slices(tf.ragged.constant([[1], [2, 3]])), ("`images`", "Ragged")),
        ("a dataset of truth values", _slices(IMAGES > 9), ("`images`", "bool")),
        ("a dataset of dicts without images", _slices({"image": IMAGES}), ("`element`", "'image'")),
        (
            "a dataset of unknown rank",
            tf.data.Dataset.from_generator(
                lambda: iter(IMAGES), output_signature=tf.TensorSpec(None, tf.uint8)
            ),
            ("`images`", "unknown"),
        ),
    ):
        yield case(what, partial(turn, dataset), refused(*words))
    for arguments in (
        {"num_parallel_calls": 0},
        {"num_parallel_calls": 1.5},
        {"deterministic": 1},
        {"draw": 3},
    ):
        (argument,) = arguments
        yield case(
            f"a dataset with {arguments}",
            lambda arguments=arguments: turn(_slices(IMAGES), **arguments),
            refused(f"`{argument}`"),
        )
    keyed = augment.Pipeline([augment.RandomFlip()], index_key="number", epoch_key="pass")
    numbers = np.arange(4)
    for what, element, words in (
        ("no key", {"images": IMAGES}, ("`index_key`", "'number'")),
        (
            "a key of fractions",
            {"images": IMAGES, "number": FLOATS[:, 0, 0, 0], "pass": numbers},
            ("`index_key`", "float32"),
        ),
        (
            "words as epoch",
            {"images": IMAGES, "number": numbers, "pass": ["a"] * 4},
            ("`epoch_key`", "string"),
        ),
        (
            "several numbers an image",
            {"images": IMAGES, "number": np.zeros((4, 2), "int64"), "pass": numbers},
            ("`index_key`", "(2,)"),
        ),
        ("images alone", IMAGES, ("`index_key`",)),
    ):
        yield case(f"keys: {what}", lambda element=element: keyed(_slices(element)), refused(*words))
    folder = Path(tempfile.mkdtemp(prefix="bad_images_"))
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 40)
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.jpg").write_bytes(b"no image at all")
    for name in ("torn.jpg", "empty.png", "words.jpg"):
        paths = _slices([str(folder / name)])
        yield case(
            f"a file of {name.partition('.')[0]}",
            lambda paths=paths: list(paths.apply(turn)),
            refused("`images`", name),
        )
    missing = _slices([str(folder / "none.jpg")])
    yield case(
        "a file that is not there", lambda: _named(lambda: list(missing.apply(turn))), _holds("none.jpg")
    )


def _named(do: Any) -> str:
    try:
        do()
    except tf.errors.NotFoundError as error:
        return str(error)
    return "nothing"


def _holds(word: str) -> Any:
    def check(text: str) -> None:
        assert word in text, text

    return check


def _through() -> Iterator[Case]:
    """What is let through, in one pipeline of every kind of step."""
    kinds = [augment.RandomFlip(), augment.RandomBrightness(0.1)]
    whole = augment.Pipeline([*kinds, augment.MixUp(0.2, num_classes=3)], seed=1)

    def empty() -> Any:
        return whole((FLOATS[:0], LABELS[:0]))

    def sizes(found: Any) -> None:
        images, labels = found
        assert (images.shape, labels.shape) == ((0, 6, 6, 3), (0, 3))

    yield Case("augment.Pipeline", "an empty batch", empty, sizes)

    def one() -> Any:
        return whole((FLOATS[:1], LABELS[:1]), draw=0)

    def itself(found: Any) -> None:
        images, labels = found
        assert np.isfinite(images).all()
        np.testing.assert_array_equal(labels, [[1.0, 0.0, 0.0]])

    yield Case("augment.MixUp", "a batch of one", one, itself)
    flip = augment.Pipeline([augment.RandomFlip("vertical", probability=0.5)], seed=1)
    clean = np.asarray(flip(FLOATS, draw=0))

    def poisoned() -> Any:
        message = ""
        try:
            list(_slices(_with(nan)).batch(2).apply(flip))
        except tf.errors.InvalidArgumentError as error:
            message = str(error)
        for bad in (_with(nan), FLOATS * 2):
            try:
                flip(bad)
            except ValueError as error:
                message += str(error)
        return message, np.asarray(flip(FLOATS))

    def as_before(found: Any) -> None:
        message, images = found
        assert message.count("value_range") >= 3, message
        # The first draw is still to come: what was refused has taken none.
        np.testing.assert_array_equal(images, clean)

    yield Case("augment.Pipeline", "good images after bad ones", poisoned, as_before)

    def points() -> Any:
        return flip({"images": FLOATS, "keypoints": np.full((4, 2, 2), nan, "float32")}, draw=0)["keypoints"]

    yield Case("augment.Pipeline", "points of NaN", points, _all_nan)


def _all_nan(points: Any) -> None:
    assert np.isnan(points[..., 1]).all(), "a point out of NaN"


def _preview() -> Iterator[Case]:
    turn = pipeline("RandomRotation")
    case = partial(Case, "augment.Pipeline", state=lambda: turn._calls.numpy())
    for what, arguments, words in (
        ("rows", (FLOATS[:, 0, 0],), ("`images`", "(4, 3)")),
        ("images of several sizes in a list", ([IMAGES[0], IMAGES[0, :3]],), ("`images`",)),
        ("an empty batch", (IMAGES[:0],), ("`images`", "(0, 6, 6, 3)")),
        ("labels of other rows", (IMAGES, [1, 2]), ("`labels`", "(2,)")),
        ("labels twice", ((IMAGES, LABELS), LABELS), ("`labels`",)),
        ("an empty dataset", (_slices(IMAGES).take(0),), ("`images`", "empty")),
        ("no images to show", (IMAGES, None, 0), ("`count`", "0")),
        ("no draws", (IMAGES, None, 1, 0), ("`draws`", "0")),
        ("NaN", (_with(nan),), ("`value_range`", "NaN")),
        ("None", (None,), ("`images`",)),
        ("words", ("x",), ("`images`",)),
    ):
        yield case(f"preview: {what}", lambda arguments=arguments: turn.preview(*arguments), refused(*words))
    yield case(
        "preview: a number for class names",
        lambda: turn.preview(IMAGES, LABELS, 1, 1, 3),
        refused("`class_names`", "3"),
    )


def _layer() -> Iterator[Case]:
    case = partial(Case, "augment.Augmentation", only="tensorflow")
    flip = pipeline("RandomFlip")
    yield Case(
        "augment.Augmentation", "another backend", flip.as_layer, refused("`backend`", "jax"), only="jax"
    )
    if keras.backend.backend() != "tensorflow":
        return
    layer = flip.as_layer()
    layer(IMAGES)
    for what, images, words in (
        ("one image", IMAGES[0], ("`inputs`", "(6, 6, 3)")),
        ("rows", FLOATS[:, 0, 0], ("`inputs`", "(4, 3)")),
        ("words", np.full(SIZE, "x"), ("`images`", "string")),
        ("truth values", IMAGES > 9, ("`images`", "bool")),
    ):
        yield case(
            what,
            lambda images=images: layer(images, training=True),
            refused(*words),
            lambda: layer.draws.numpy(),
        )
    for name in ("MixUp", "RandomCrop"):
        yield case(
            f"a pipeline with {name}",
            lambda name=name: pipeline(name).as_layer(),
            refused("`pipeline`", name),
        )
    yield case("an empty batch", lambda: layer(IMAGES[:0], training=True), lambda found: _no_rows(found))


def _no_rows(found: Any) -> None:
    assert found.shape == (0, 6, 6, 3), found.shape
