"""The handwritten digits that scikit-learn ships, as a dataset that TFDS knows by the name "digits"."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

SPLITS = ("train", "test")

_DESCRIPTION = """\
1797 images of handwritten digits, 8 x 8 pixels, from 13 writers: the test part of UCI's Optical Recognition
of Handwritten Digits, as scikit-learn ships it. Each pixel counts the inked dots, 0 to 16, in a 4 x 4 block
of a scanned bitmap; here it is round(255 / 16 * count), an ordinary 8-bit grey value with ink as white.

The source names no split. Here the images are sorted by class, those of one class staying in their order,
and every fifth one, from the first on, is a test image: 1437 to train and 360 to test, with equal shares of
each class in both (every fifth image of the file as it lies would be 26 twos and 48 threes). The writers
appear in both splits, so test accuracy is that on new images by known hands.
"""

_CITATION = """\
@misc{alpaydin1998optdigits,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}
"""


def grey(counts: np.ndarray) -> np.ndarray:
    """Dot counts, 0 to 16, as 8-bit grey values: `round(255 / 16 * count)`.

    Example:
        >>> grey(np.array([0.0, 1.0, 8.0, 16.0]))
        array([  0,  16, 128, 255], dtype=uint8)
    """
    return np.rint(np.asarray(counts) * (255 / 16)).astype(np.uint8)


def split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
    """The image numbers of each split: every fifth of the images sorted by class goes to `"test"`.

    Args:
        labels: the class of each image, in the source's order.

    Example:
        >>> indices = split_indices(np.array([0, 1] * 5))
        >>> indices["test"].tolist(), indices["train"].tolist()
        ([0, 1], [2, 3, 4, 5, 6, 7, 8, 9])
    """
    by_class = np.argsort(labels, kind="stable")
    is_test = np.zeros(len(labels), bool)
    is_test[by_class[::5]] = True
    return {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}


class Digits(tfds.core.GeneratorBasedBuilder):
    """TFDS' builder of `"digits"`; it asks no network and reads scikit-learn's copy once, to prepare."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1437 images to train, 360 to test."}  # noqa: RUF012  (TFDS' own class variable)
    # TFDS finds this path through importlib_resources, a package that it forgets to ask for.
    code_path = tfds.core.Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=_CITATION,
        )

    def is_prepared(self) -> bool:
        """Whether the records lie in the cache; unlike TFDS' own look, without a warning when they do not."""
        return Path(self.data_dir, "dataset_info.json").exists()

    def download_and_prepare(self, **arguments: Any) -> None:
        """As in TFDS, but silent, and at peace with another process that prepares the same folder.

        Args:
            **arguments: those of `tfds.core.DatasetBuilder.download_and_prepare`.
        """
        noise = io.StringIO()
        try:
            # A bar for half a second of work is noise, and TFDS has no switch for its banner.
            with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                super().download_and_prepare(**arguments)
        except OSError:
            # TFDS writes to a folder of its own and renames it at the end, which fails for whoever is second.
            if not self.is_prepared():
                raise
            self.info.read_from_directory(self.data_dir)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager
        counts, labels = _source()
        images = grey(counts)[..., np.newaxis]
        indices = split_indices(labels)
        return {split: self._generate_examples(images, labels, indices[split]) for split in SPLITS}

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for index in indices.tolist():
            yield index, {"image": images[index], "label": int(labels[index])}


def _source() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'The dataset "digits" is built from the copy that scikit-learn ships, and scikit-learn could not '
            f"be imported ({error}); install it with `pip install scikit-learn`."
        ) from error
    bunch = load_digits()
    return bunch.images, bunch.target
