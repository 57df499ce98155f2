"""`info`: what a classifier has to know of a dataset before it sees an example."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import tensorflow_datasets as tfds

from kerasreg.datasets import digits, loading


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of a dataset, as plain data.

    Attributes:
        name: TFDS' name.
        num_classes: the number of classes; None where the target is not a class label.
        image_shape: (height, width, channels), None for a size that varies; None where the input is no image.
        splits: the number of examples of each split; empty before TFDS has prepared the dataset.
        class_names: the classes in the order of their labels, for some of TFDS' datasets mere numbers before
            they are prepared; empty where the target is not a class label.
        description: what the dataset is.
        homepage: where it comes from.
        citation: how to cite it, in BibTeX.
    """

    name: str
    num_classes: int | None
    image_shape: tuple[int | None, ...] | None
    splits: dict[str, int]
    class_names: tuple[str, ...]
    description: str
    homepage: str
    citation: str


def info(name: str, data_dir: str | os.PathLike | None = None) -> DatasetInfo:
    """The number of classes, the image shape, the split sizes and the citation of a dataset.

    Downloads nothing: the sizes of a dataset that has to be downloaded are known after the first `load`.

    Args:
        name: as in `load`.
        data_dir: as in `load`.

    Returns:
        A `DatasetInfo`, the same for every dataset that `load` takes.

    Raises:
        ValueError: the dataset is not known, or the IDX files are incomplete or damaged.
        ImportError: `"digits"` has to be prepared and scikit-learn is missing.

    Example:
        >>> import tempfile
        >>> facts = info("digits", data_dir=tempfile.mkdtemp())
        >>> facts.num_classes, facts.image_shape, facts.splits["train"], facts.splits["test"]
        (10, (8, 8, 1), 1437, 360)
    """
    builder = loading.builder("info", name, data_dir)
    if isinstance(builder, digits.Digits):
        builder.download_and_prepare()
    facts = builder.info
    image, label = _supervised_features(facts)
    classes = label if isinstance(label, tfds.features.ClassLabel) else None
    return DatasetInfo(
        name=facts.name,
        num_classes=classes.num_classes if classes else None,
        image_shape=tuple(image.shape) if isinstance(image, tfds.features.Image) else None,
        splits={split: int(facts.splits[split].num_examples) for split in facts.splits},
        class_names=tuple(classes.names) if classes else (),
        description=facts.description or "",
        homepage=facts.homepage or "",
        citation=facts.citation or "",
    )


def _supervised_features(facts: tfds.core.DatasetInfo) -> tuple[Any, Any]:
    keys = facts.supervised_keys
    # TFDS also allows nested structures here, which no pair of one image and one label is.
    if not keys or len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        return None, None
    return tuple(facts.features[key] for key in keys)
