import importlib
import sys
import types

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

import kerasreg as kr


class Greetings(tfds.core.GeneratorBasedBuilder):
    """Sentences with a number each: no images and no classes."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        features = {"text": tfds.features.Text(), "count": np.int64}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("text", "count")
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield from ((i, {"text": "hello", "count": i}) for i in range(3))


def test_digits_before_any_load(tmp_path):
    facts = kr.datasets.info("digits", tmp_path)
    assert (facts.name, facts.num_classes, facts.image_shape) == ("digits", 10, (8, 8, 1))
    assert facts.splits == {"train": 1437, "test": 360}
    assert facts.class_names == tuple("0123456789")
    assert "every fifth" in facts.description
    assert facts.homepage.startswith("https://archive.ics.uci.edu")
    assert "Alpaydin" in facts.citation


def test_names_shapes_and_counts_agree_with_what_load_gives(tmp_path):
    facts = kr.datasets.info("digits", tmp_path)
    for split, count in facts.splits.items():
        dataset = kr.datasets.load("digits", split, tmp_path)
        assert len(dataset) == count
        assert tuple(dataset.element_spec[0].shape) == facts.image_shape
        assert {int(label) for _, label in dataset} == set(range(facts.num_classes))


def test_a_dataset_that_is_not_here_yet(tmp_path):
    facts = kr.datasets.info("cifar10", tmp_path)
    assert (facts.num_classes, facts.image_shape, facts.splits) == (10, (32, 32, 3), {})
    assert len(facts.class_names) == 10
    assert list(tmp_path.iterdir()) == []


def test_neither_images_nor_classes(tmp_path):
    texts = kr.datasets.load("greetings", "train", tmp_path)
    assert sorted(int(count) for _, count in texts) == [0, 1, 2]
    facts = kr.datasets.info("greetings", tmp_path)
    assert (facts.num_classes, facts.image_shape, facts.class_names) == (None, None, ())
    assert facts.splits == {"train": 3}


@pytest.mark.parametrize("verb", ["load", "info"])
def test_unknown_name(tmp_path, verb):
    call = {"load": lambda name: kr.datasets.load(name, "train", tmp_path), "info": kr.datasets.info}[verb]
    with pytest.raises(
        ValueError, match=rf"`name` of kerasreg\.datasets\.{verb} .*'minst'; .*'mnist'"
    ) as caught:
        call("minst")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"`name` of kerasreg\.datasets\..*got 5\."):
        call(5)


def test_a_misspelt_argument_is_not_swallowed(tmp_path):
    with pytest.raises(TypeError, match="shuffle_fils"):
        kr.datasets.load("digits", "train", tmp_path, shuffle_fils=True)


def test_table_of_contents():
    assert kr.datasets.__all__ == ["info", "load"]
    assert callable(kr.datasets.load)


def test_a_tfds_that_failed_to_import_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.ModuleType("tensorflow_datasets"))
    with pytest.raises(ImportError, match=r"failed to import.*tensorflow-metadata<1\.18"):
        importlib.reload(kr.datasets)


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise requests.exceptions.ConnectionError("name or service not known")

    monkeypatch.setattr(tfds, "load", unreachable)
    with pytest.raises(
        ConnectionError, match=r"'mnist'.* could not be fetched \(ConnectionError\)"
    ) as caught:
        kr.datasets.load("mnist", "train", data_dir=tmp_path)
    assert "IDX" not in str(caught.value)
    with pytest.raises(ConnectionError, match="give the folder with its four IDX files as `data_dir`"):
        kr.datasets.load("fashion_mnist", "train")
