import gzip
import os
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import kerasreg as kr

NAMES = [f"{p}-{kind}-ubyte" for p in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def write(path, array, packed=False):
    array = np.asarray(array, np.uint8)
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


@pytest.fixture
def files(tmp_path):
    """A folder with 40 and 10 random images, half of the files packed, and what they hold."""
    generator = np.random.default_rng(0)
    held = SimpleNamespace(folder=tmp_path)
    for split, prefix, count in (("train", "train", 40), ("test", "t10k", 10)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        labels = generator.integers(0, 10, count, np.uint8)
        write(tmp_path / f"{prefix}-images-idx3-ubyte", images, packed=split == "train")
        write(tmp_path / f"{prefix}-labels-idx1-ubyte", labels, packed=split == "test")
        setattr(held, split, (images, labels))
    return held


def load(folder, split, **arguments):
    return kr.datasets.load("fashion_mnist", split, folder, **arguments)


def assert_holds(dataset, images, labels):
    pairs = list(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(np.stack([image for image, _ in pairs])[..., 0], images)
    np.testing.assert_array_equal([label for _, label in pairs], labels)


def test_splits_hold_the_files(files):
    for split in ("train", "test"):
        dataset = load(files.folder, split)
        assert isinstance(dataset, tf.data.Dataset)
        assert dataset.element_spec == (tf.TensorSpec((28, 28, 1), tf.uint8), tf.TensorSpec((), tf.int64))
        assert_holds(dataset, *getattr(files, split))


@pytest.mark.parametrize(
    ("split", "train", "test"),
    [
        ("train[:7]", slice(7), slice(0)),
        ("train[25%:50%]", slice(10, 20), slice(0)),
        ("test[-3:]", slice(0), slice(-3, None)),
        ("train+test", slice(None), slice(None)),
        ("train[30:]+test[:50%]", slice(30, None), slice(5)),
        ("all", slice(None), slice(None)),
    ],
)
def test_split_expressions(files, split, train, test):
    wanted = [np.concatenate([a[train], b[test]]) for a, b in zip(files.train, files.test, strict=True)]
    assert len(load(files.folder, split)) == len(wanted[1])
    assert_holds(load(files.folder, split), *wanted)


def test_lists_dicts_and_read_instructions(files):
    first, second = load(files.folder, ["train[:5]", "test"])
    assert (len(first), len(second)) == (5, 10)
    assert {name: len(split) for name, split in load(files.folder, None).items()} == {"train": 40, "test": 10}
    assert len(load(files.folder, tfds.core.ReadInstruction("train", to=10, unit="%"))) == 4


def test_dicts_batches_and_info(files):
    dataset, facts = load(files.folder, "train", as_supervised=False, batch_size=16, with_info=True)
    assert [len(batch["label"]) for batch in dataset] == [16, 16, 8]
    assert facts.splits["train"].num_examples == 40
    assert facts.splits["train[:25%]"].num_examples == 10


def test_features_are_those_of_the_catalogue(files):
    _, facts = load(files.folder, "test", with_info=True)
    catalogue = tfds.builder("fashion_mnist", data_dir=files.folder / "nothing").info
    assert facts.features["label"].names == catalogue.features["label"].names
    assert facts.features.get_tensor_info() == catalogue.features.get_tensor_info()
    assert facts.supervised_keys == catalogue.supervised_keys
    assert facts.version == catalogue.version


def test_folder_stays_as_it_is(files):
    before = {path.name: path.stat().st_mtime_ns for path in files.folder.iterdir()}
    os.chmod(files.folder, 0o555)
    try:
        load(files.folder, "train+test", with_info=True)
        kr.datasets.info("fashion_mnist", files.folder)
    finally:
        os.chmod(files.folder, 0o755)
    assert {path.name: path.stat().st_mtime_ns for path in files.folder.iterdir()} == before


def test_home_directory_is_expanded(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files.folder.parent))
    monkeypatch.setenv("USERPROFILE", str(files.folder.parent))
    assert len(load(f"~/{files.folder.name}", "test")) == 10


def test_a_split_reads_its_own_files_only(files):
    path = files.folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert len(load(files.folder, "test")) == 10
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        load(files.folder, "train")


def test_missing_files_are_named(files):
    (files.folder / "t10k-images-idx3-ubyte").unlink()
    (files.folder / "train-labels-idx1-ubyte").unlink()
    for call in (
        lambda: load(files.folder, "train"),
        lambda: kr.datasets.info("fashion_mnist", files.folder),
    ):
        with pytest.raises(ValueError, match="without train-labels-idx1-ubyte, t10k-images-idx3-ubyte;"):
            call()


def test_as_many_labels_as_images(files):
    write(files.folder / "train-labels-idx1-ubyte", np.zeros(39))
    with pytest.raises(ValueError, match=r"40 images in .*train-images.* and 39 labels in .*train-labels"):
        load(files.folder, "train")


def test_labels_are_digits(files):
    write(files.folder / "train-labels-idx1-ubyte", [0] * 39 + [10])
    with pytest.raises(ValueError, match=r"labels in 0 to 9, got 10 as the largest in .*train-labels"):
        load(files.folder, "train")


def test_images_are_28_by_28(files):
    write(files.folder / "t10k-images-idx3-ubyte", np.zeros((10, 14, 56)))
    with pytest.raises(ValueError, match=r"28 x 28 pixels, got 14 x 56 in .*t10k-images"):
        load(files.folder, "test")


def test_values_are_bytes(files):
    path = files.folder / "t10k-images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBB3I", 0, 0, 0x09, 3, 10, 28, 28) + bytes(7840))
    with pytest.raises(ValueError, match=r"dtype uint8, got .*t10k-images.* of dtype int8"):
        load(files.folder, "test")


def test_unknown_split_lists_the_splits(files):
    with pytest.raises(ValueError, match=r"'validation'.*\['train', 'test'\]"):
        load(files.folder, "validation")


def test_arguments_without_meaning_are_refused(files):
    with pytest.raises(
        ValueError, match=r"`decoders`.*batch_size, download, shuffle_files, with_info, got 5"
    ):
        load(files.folder, "train", decoders=5)


@pytest.mark.parametrize("name", NAMES)
def test_plain_file_is_preferred(files, name):
    path = files.folder / f"{name}.gz"
    if not path.exists():
        path.write_bytes(b"damaged")
    else:
        (files.folder / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.write_bytes(b"damaged")
    assert_holds(load(files.folder, "train"), *files.train)
    assert_holds(load(files.folder, "test"), *files.test)
