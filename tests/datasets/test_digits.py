import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

import kerasreg as kr
from kerasreg.datasets.digits import Digits


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    kr.datasets.load("digits", "train", folder)
    return folder


@pytest.fixture(scope="module")
def source():
    """Scikit-learn's images in 0..255, by a loop, and its labels."""
    bunch = load_digits()
    images = [[[round(int(v) * 255 / 16) for v in row] for row in image] for image in bunch.images]
    return np.array(images, np.uint8), bunch.target


def arrays(dataset):
    pairs = list(dataset.as_numpy_iterator())
    return np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs])


def lines(images, labels):
    return sorted(image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True))


def test_both_splits_together_are_the_source(cache, source):
    assert lines(*arrays(kr.datasets.load("digits", "train+test", cache))) == lines(*source)


def test_test_is_every_fifth_of_the_images_sorted_by_class(cache, source):
    images, labels = source
    by_class = [i for c in range(10) for i in range(len(labels)) if labels[i] == c]
    chosen = by_class[::5]
    assert len(chosen) == 360
    assert lines(*arrays(kr.datasets.load("digits", "test", cache))) == lines(images[chosen], labels[chosen])


def test_elements_are_what_tfds_says_of_images(cache):
    train = kr.datasets.load("digits", "train", cache)
    assert isinstance(train, tf.data.Dataset)
    assert train.element_spec == (tf.TensorSpec((8, 8, 1), tf.uint8), tf.TensorSpec((), tf.int64))
    as_dicts = kr.datasets.load("digits", "train", cache, as_supervised=False)
    assert set(as_dicts.element_spec) == {"image", "label"}


def test_slices(cache):
    whole, _ = arrays(kr.datasets.load("digits", "train", cache))
    first, _ = arrays(kr.datasets.load("digits", "train[:80%]", cache))
    rest, _ = arrays(kr.datasets.load("digits", "train[80%:]", cache))
    assert len(first) == round(0.8 * 1437)
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)
    splits = kr.datasets.load("digits", None, cache)
    assert {name: len(split) for name, split in splits.items()} == {"train": 1437, "test": 360}


def test_tfds_itself_knows_the_name(cache):
    dataset, info = tfds.load("digits", split="test", data_dir=cache, with_info=True)
    assert len(dataset) == info.splits["test"].num_examples == 360
    builder = tfds.builder("digits", data_dir=cache)
    assert isinstance(builder, Digits)
    assert builder.info.supervised_keys == ("image", "label")
    assert "Kaynak" in builder.info.citation


def test_two_preparations_are_equal(cache, tmp_path):
    here, there = (arrays(kr.datasets.load("digits", "train", folder)) for folder in (cache, tmp_path))
    np.testing.assert_array_equal(here[0], there[0])
    np.testing.assert_array_equal(here[1], there[1])


def test_default_folder_is_that_of_tfds(tmp_path, monkeypatch):
    from tensorflow_datasets.core import constants

    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path))
    kr.datasets.load("digits", "test")
    assert (tmp_path / "digits" / "1.0.0" / "dataset_info.json").exists()


def test_preparing_is_silent(tmp_path, capfd):
    kr.datasets.load("digits", "test", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_reading_needs_no_scikit_learn(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(list(kr.datasets.load("digits", "test", cache))) == 360


def test_preparing_without_scikit_learn_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"scikit-learn could not be imported.*pip install scikit-learn"):
        kr.datasets.load("digits", "train", tmp_path)
    monkeypatch.undo()
    assert len(kr.datasets.load("digits", "train", tmp_path)) == 1437


def test_who_comes_second_takes_what_the_first_has_written(tmp_path, monkeypatch):
    first, second = Digits(data_dir=tmp_path), Digits(data_dir=tmp_path)
    generate = second._split_generators

    def overtaken(manager):
        first.download_and_prepare()
        return generate(manager)

    monkeypatch.setattr(second, "_split_generators", overtaken)
    second.download_and_prepare()
    assert lines(*arrays(second.as_dataset("train", as_supervised=True))) == lines(
        *arrays(first.as_dataset("train", as_supervised=True))
    )
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def test_a_real_failure_to_write_is_not_hidden(tmp_path, monkeypatch):
    builder = Digits(data_dir=tmp_path)
    monkeypatch.setattr(builder, "_split_generators", lambda manager: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        builder.download_and_prepare()
    (tmp_path / "digits").rmdir()
    (tmp_path / "digits").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="digits"):
        Digits(data_dir=tmp_path).download_and_prepare()


def test_unknown_split_lists_the_splits(cache):
    with pytest.raises(ValueError, match=r"'validation'.*\['train', 'test'\]"):
        kr.datasets.load("digits", "validation", cache)
