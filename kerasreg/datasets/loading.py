"""`load`: a dataset by its name, as `tf.data`."""

from __future__ import annotations

import difflib
import os
from typing import Any

import requests
import tensorflow_datasets as tfds

from kerasreg._core import arguments
from kerasreg.datasets import fashion_mnist

# Those of `tfds.load`'s arguments that mean something where no records are on disk.
_FOLDER_ARGUMENTS = ("batch_size", "download", "shuffle_files", "with_info")


def load(
    name: str,
    split: Any,
    data_dir: str | os.PathLike | None = None,
    *,
    as_supervised: bool = True,
    **tfds_arguments: Any,
) -> Any:
    """A dataset of `(image, label)` pairs, ready for `Dataset.batch` and `Model.fit`.

    `"digits"` is built without any network from the copy that scikit-learn ships, on first use.
    `"fashion_mnist"` is read from `data_dir` where that folder holds the four IDX files (as Debian's
    package `dataset-fashion-mnist` puts them into `/usr/share/datasets/fashion-mnist`); nothing is written
    there, and the examples come in the files' order. Any other name goes to `tfds.load`.

    Args:
        name: a dataset of TFDS' catalogue, or `"digits"`.
        split: TFDS' expression: `"train"`, `"train[:80%]"`, `"train+test"`, a list of such, or None for a
            dict of all splits.
        data_dir: where the prepared records are kept; None is TFDS' own, `$TFDS_DATA_DIR` or
            `~/tensorflow_datasets`. Or the folder with Fashion-MNIST's IDX files.
        as_supervised: pairs, or with False TFDS' dicts of all features.
        **tfds_arguments: the rest of `tfds.load`'s. The folder of IDX files takes `batch_size`,
            `download`, `shuffle_files` (without effect, as with any single file) and `with_info`.

    Returns:
        A `tf.data.Dataset`, or what `tfds.load` makes of the arguments. Images are uint8
        (height, width, channels), labels int64 scalars.

    Raises:
        ValueError: the dataset or the split is not known, or the IDX files are incomplete or damaged.
        ImportError: `"digits"` has to be prepared and scikit-learn is missing.
        ConnectionError: the dataset is not on this machine, and the network does not give it.

    Source: https://www.tensorflow.org/datasets

    Example:
        >>> import tempfile
        >>> train = load("digits", "train[:80%]", data_dir=tempfile.mkdtemp())
        >>> image, label = next(iter(train))
        >>> len(train), image.shape, image.dtype.name, label.dtype.name
        (1150, TensorShape([8, 8, 1]), 'uint8', 'int64')
    """
    folder = _folder("load", name, data_dir)
    if folder is not None:
        return _from_folder(folder, split, as_supervised, tfds_arguments)
    try:
        return tfds.load(name, split=split, data_dir=data_dir, as_supervised=as_supervised, **tfds_arguments)
    except tfds.core.DatasetNotFoundError:
        raise _unknown("load", name) from None
    except requests.exceptions.RequestException as error:
        files = " or give the folder with its four IDX files as `data_dir`" if name == "fashion_mnist" else ""
        raise ConnectionError(
            f"The dataset {name!r} is not on this machine (data_dir={data_dir!r}) and could not be fetched "
            f'({type(error).__name__}); fetch it once where there is a network{files}; "digits" needs none.'
        ) from error


def builder(owner: str, name: str, data_dir: str | os.PathLike | None) -> tfds.core.DatasetBuilder:
    """The builder behind a name, for whoever asks about the dataset and not for its examples."""
    folder = _folder(owner, name, data_dir)
    if folder is not None:
        return folder
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown(owner, name) from None


def _folder(
    owner: str, name: str, data_dir: str | os.PathLike | None
) -> fashion_mnist.FashionMnistFolder | None:
    if not isinstance(name, str):
        raise arguments.refusal(f"kerasreg.datasets.{owner}", "name", "a dataset's name", name)
    if name != "fashion_mnist" or data_dir is None:
        return None
    if fashion_mnist.find(os.path.expanduser(data_dir)) is None:
        return None
    return fashion_mnist.FashionMnistFolder(data_dir=data_dir)


def _from_folder(
    folder: fashion_mnist.FashionMnistFolder, split: Any, as_supervised: bool, tfds_arguments: dict
) -> Any:
    for argument, value in tfds_arguments.items():
        if argument not in _FOLDER_ARGUMENTS:
            raise ValueError(
                f"Argument `{argument}` of kerasreg.datasets.load has no meaning for a folder of IDX files, "
                f"which takes {', '.join(_FOLDER_ARGUMENTS)}, got {value!r}; leave it out."
            )
    reading = {key: value for key, value in tfds_arguments.items() if key in ("batch_size", "shuffle_files")}
    dataset = folder.as_dataset(split=split, as_supervised=as_supervised, **reading)
    return (dataset, folder.info) if tfds_arguments.get("with_info") else dataset


def _unknown(owner: str, name: str) -> ValueError:
    known = tfds.list_builders(with_community_datasets=False)
    close = difflib.get_close_matches(name, known, n=3)
    remedy = f"the nearest are {', '.join(repr(match) for match in close)}" if close else None
    return arguments.refusal(
        f"kerasreg.datasets.{owner}",
        "name",
        f"one of the {len(known)} datasets that `tfds.list_builders()` lists, or one prepared in `data_dir`",
        name,
        remedy,
    )
