"""Fashion-MNIST out of a local folder with its four IDX files, behind TFDS' own builder interface."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from kerasreg._core import arguments
from kerasreg.datasets import idx

CLASS_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_IMAGE_SIZE = (28, 28)
# As many as the whole dataset has.
_MOST = 70_000
_PREFIXES = {"train": "train", "test": "t10k"}
_OWNER = "kerasreg.datasets.load"

_DESCRIPTION = """\
70 000 grey images, 28 x 28 pixels, of articles out of Zalando's shop, in 10 classes: 60 000 to train and
10 000 to test. Read from a folder of IDX files, in the files' order.
"""

_CITATION = """\
@article{xiao2017fashion,
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  title = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  journal = {arXiv preprint arXiv:1708.07747},
  year = {2017}
}
"""


def find(folder: str | os.PathLike) -> dict[str, tuple[Path, Path]] | None:
    """The files of each split, `(images, labels)`, or None where the folder holds none of the four.

    Args:
        folder: where to look; each file may be plain or end in `.gz`, and the plain one is preferred.

    Raises:
        ValueError: some of the four files are there and some are not; the sentence names the missing ones.
    """
    names = {
        split: (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
        for split, prefix in _PREFIXES.items()
    }
    present = {name: _file(folder, name) for pair in names.values() for name in pair}
    missing = [name for name, path in present.items() if path is None]
    if len(missing) == len(present):
        return None
    if missing:
        raise arguments.refusal(
            _OWNER,
            "data_dir",
            'for "fashion_mnist" a folder with all four IDX files or none',
            arguments.Came(f"{os.fspath(folder)!r} without {', '.join(missing)}"),
            "add them, plain or with `.gz`",
        )
    return {split: (present[images], present[labels]) for split, (images, labels) in names.items()}


def read(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """One split's images, uint8 (count, 28, 28, 1), and labels, int64 (count,).

    Args:
        images: the IDX file of rank 3.
        labels: the IDX file of rank 1.

    Raises:
        ValueError: a file is damaged, the sizes do not fit, or a label is outside 0 to 9.
    """
    _check_sizes(images, labels)
    pixels, classes = idx.read(images, rank=3), idx.read(labels, rank=1)
    for path, array in ((images, pixels), (labels, classes)):
        if array.dtype != np.uint8:
            raise _refusal("IDX files of dtype uint8", f"{str(path)!r} of dtype {array.dtype}")
    if classes.size and classes.max() >= len(CLASS_NAMES):
        raise _refusal(
            f"labels in 0 to {len(CLASS_NAMES) - 1}",
            f"{int(classes.max())} as the largest in {str(labels)!r}",
        )
    return pixels[..., np.newaxis], classes.astype(np.int64)


class FashionMnistFolder(tfds.core.DatasetBuilder, skip_registration=True):
    """TFDS' interface to the four files: nothing is written and nothing is read before a split is asked for.

    Args:
        data_dir: the folder that holds them.
        **arguments: the rest of `tfds.core.DatasetBuilder`'s.
    """

    name = "fashion_mnist"
    VERSION = tfds.core.Version("3.0.1")

    def __init__(self, *, data_dir: str | os.PathLike, **arguments: Any):
        self._folder = Path(data_dir).expanduser()
        self._files = find(self._folder)
        super().__init__(data_dir=self._folder, **arguments)
        counts = {split: _check_sizes(*files) for split, files in self._files.items()}
        self.info.set_splits(
            # A size in bytes would make TFDS cache what lies in memory already.
            tfds.core.SplitDict(
                [tfds.core.SplitInfo(name=s, shard_lengths=[n], num_bytes=0) for s, n in counts.items()]
            )
        )

    @property
    def data_path(self) -> tfds.core.Path:
        """The folder itself, in place of TFDS' `name/version` below it."""
        return tfds.core.Path(self._folder)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(*_IMAGE_SIZE, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=list(CLASS_NAMES)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            citation=_CITATION,
        )

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: TFDS asks only where `data_path` does not exist."""

    def _as_dataset(self, split: Any, **_: Any) -> tf.data.Dataset:
        """TFDS' hook: the examples of one split expression, as dicts."""
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(self.info.splits)
        arrays = {part.splitname: read(*self._files[part.splitname]) for part in parts}
        slices = []
        for part in parts:
            images, labels = (array[part.from_ : part.to] for array in arrays[part.splitname])
            slices.append(tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}))
        return functools.reduce(tf.data.Dataset.concatenate, slices)


def _file(folder: str | os.PathLike, name: str) -> Path | None:
    candidates = (Path(folder, name), Path(folder, f"{name}.gz"))
    return next((path for path in candidates if path.is_file()), None)


def _check_sizes(images: Path, labels: Path) -> int:
    count, *size = idx.shape(images, rank=3)
    (label_count,) = idx.shape(labels, rank=1)
    if tuple(size) != _IMAGE_SIZE:
        raise _refusal("images of 28 x 28 pixels", f"{size[0]} x {size[1]} in {str(images)!r}")
    if count > _MOST:
        # A packed file of some megabytes may hold what no memory does, and keep every word of its header.
        raise _refusal(f"at most {_MOST} images in a file", f"{count} in {str(images)!r}")
    if count != label_count:
        raise _refusal(
            "as many labels as images",
            f"{count} images in {str(images)!r} and {label_count} labels in {str(labels)!r}",
        )
    return count


def _refusal(allowed: str, came: str) -> ValueError:
    return arguments.refusal(
        _OWNER,
        "data_dir",
        f'for "fashion_mnist" a folder with {allowed}',
        arguments.Came(came),
        "fetch the files again",
    )
