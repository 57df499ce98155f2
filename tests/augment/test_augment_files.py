"""Files as images: what is decoded, what is left undecoded, and the names of those that are damaged."""

import numpy as np
import pytest
import tensorflow as tf

from kerasreg import augment
from kerasreg.augment import Pipeline, files, stream

SIZES = [(60, 80), (97, 51), (40, 40), (75, 120)]


def picture(height, width):
    """Smooth colours, as a photograph has: JPEG keeps them."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + k) + np.cos(y / (7 + k)) for k in range(3)]
    return np.uint8(np.stack(waves, -1) * 60 + 128)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    found = []
    for number, size in enumerate(SIZES):
        found.append(str(folder / f"{number}.jpg"))
        tf.io.write_file(found[-1], tf.io.encode_jpeg(picture(*size), quality=95))
    return found


def decoded(path):
    return tf.ensure_shape(
        tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False), [None, None, 3]
    )


def of_files(paths):
    return tf.data.Dataset.from_tensor_slices(paths)


CROPS = {
    "resized": [augment.RandomResizedCrop(24, area=(0.1, 0.3)), augment.RandomBrightness(0.2)],
    "cut": [augment.RandomCrop((20, 30)), augment.RandomFlip()],
    "turned": [augment.RandomResizedCrop(16, area=0.2), augment.RandomRotation(30), augment.RandomInvert()],
    "mean": [augment.RandomResizedCrop(24, area=0.2), augment.RandomContrast(0.5)],
}


@pytest.mark.parametrize("kind", CROPS)
def test_a_part_of_a_file_gives_what_the_whole_gives(kind, paths):
    pipeline = Pipeline(CROPS[kind], seed=3)
    expected = list(of_files(paths).map(decoded).apply(pipeline))
    for image, other in zip(of_files(paths).apply(pipeline), expected, strict=True):
        np.testing.assert_allclose(image, other, atol=0 if kind == "cut" else 0.05)


@pytest.mark.parametrize("kind", CROPS)
def test_what_is_not_seen_is_not_decoded(kind, paths):
    opener = files.opener(Pipeline(CROPS[kind], seed=3).explain(), 3, crops=True)

    def look(place, opened):
        return tf.shape(opened.element)[:2], opened.frame

    data = stream.map_numbered(of_files(paths), False, look, stream.Keys(), 1, True, opener)
    sizes, frames = (np.array(part) for part in zip(*data.as_numpy_iterator(), strict=True))
    assert [tuple(frame) for frame in frames[:, 2:]] == SIZES
    assert np.all(frames[:, :2] >= 0)
    assert np.all(frames[:, :2] + sizes <= frames[:, 2:])
    seen = np.prod(sizes, axis=1).sum() / np.prod(frames[:, 2:], axis=1).sum()
    assert seen == 1 if kind == "mean" else seen < 0.8


def test_the_result_can_be_batched_and_keeps_what_came_with_the_paths(paths):
    pipeline = Pipeline(CROPS["resized"], dtype="uint8")
    data = tf.data.Dataset.from_tensor_slices((paths, np.arange(4))).apply(pipeline)
    assert [spec.shape.as_list() for spec in data.element_spec] == [[24, 24, 3], []]
    images, labels = next(iter(data.batch(4)))
    assert images.shape == (4, 24, 24, 3)
    assert images.dtype == tf.uint8
    assert labels.numpy().tolist() == [0, 1, 2, 3]
    keyed = Pipeline(CROPS["resized"], dtype="uint8", index_key="id")
    elements = tf.data.Dataset.from_tensor_slices({"images": paths, "id": np.array(["a", "b", "c", "d"])})
    out = list(elements.apply(keyed))
    assert [x["id"].numpy() for x in out] == [b"a", b"b", b"c", b"d"]
    assert out[0]["images"].shape == (24, 24, 3)
    assert int(data.cardinality()) in (4, tf.data.UNKNOWN_CARDINALITY)


def test_images_of_different_sizes_take_one_kernel(paths):
    pipeline = Pipeline(CROPS["resized"])
    data = of_files(paths).map(decoded).apply(pipeline)
    assert data.element_spec.shape.as_list() == [24, 24, 3]
    assert np.stack(list(data)).shape == (4, 24, 24, 3)
    functions = pipeline.augmented.functions.values()
    assert [function.experimental_get_tracing_count() for function in functions] == [1]


def test_parallel_calls_and_epochs(paths):
    pipeline = Pipeline(CROPS["resized"], seed=3)
    data = pipeline(of_files(paths), num_parallel_calls=3)
    first, second = np.stack(list(data)), np.stack(list(data))
    np.testing.assert_array_equal(
        first, np.stack(list(of_files(paths).apply(Pipeline(CROPS["resized"], seed=3))))
    )
    assert np.all(np.abs(first - second).max((1, 2, 3)) > 1)


def test_an_iterator_over_files_goes_on_where_it_was_saved(paths, tmp_path):
    data = of_files(paths).apply(Pipeline(CROPS["resized"], seed=3)).repeat(2)
    iterator = iter(data)
    next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "at"))
    expected = np.stack(list(iterator))
    restored = iter(data)
    tf.train.Checkpoint(iterator=restored).read(path).assert_consumed()
    np.testing.assert_array_equal(np.stack(list(restored)), expected)


def test_other_formats_are_decoded_whole(tmp_path):
    path = str(tmp_path / "image.png")
    tf.io.write_file(path, tf.io.encode_png(picture(30, 40)))
    pipeline = Pipeline(CROPS["cut"], seed=3)
    out = next(iter(of_files([path]).apply(pipeline)))
    np.testing.assert_array_equal(out, next(iter(of_files([path]).map(decoded).apply(pipeline))))


DAMAGE = {
    "empty": lambda good: b"",
    "text": lambda good: b"no picture at all",
    "cut_off": lambda good: good[: len(good) // 2],
    "without_its_end": lambda good: good[:-2],
    "header_alone": lambda good: good[:30],
    "noise_behind_its_header": lambda good: good[:3] + bytes(range(7, 200)) + b"\xff\xd9",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(damage, paths, tmp_path):
    with open(paths[0], "rb") as file:
        content = DAMAGE[damage](file.read())
    path = tmp_path / f"{damage}.jpg"
    path.write_bytes(content)
    data = of_files([paths[1], str(path)]).apply(Pipeline(CROPS["resized"]))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=rf"`images` of Pipeline.*{damage}\.jpg"
    ) as error:
        list(data)
    assert "no decoder could read it" in str(error.value)


def test_a_missing_file_is_named(paths, tmp_path):
    data = of_files([paths[0], str(tmp_path / "gone.jpg")]).apply(Pipeline(CROPS["cut"]))
    with pytest.raises(tf.errors.NotFoundError, match=r"gone\.jpg"):
        list(data)


def test_batches_of_paths_are_refused(paths):
    with pytest.raises(ValueError, match=r"`images` of Pipeline.*shape \(None,\); batch behind the pipeline"):
        of_files(paths).batch(2).apply(Pipeline(CROPS["cut"]))
