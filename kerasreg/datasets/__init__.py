"""Image datasets as `tf.data.Dataset`s of `(image, label)`: a thin layer over tensorflow-datasets."""

from __future__ import annotations

import tensorflow_datasets as tfds

# TFDS logs whatever goes wrong in its own import and leaves an empty module behind.
if not hasattr(tfds, "core"):
    raise ImportError(
        "tensorflow-datasets is installed but failed to import, and has logged why; where it names "
        "tensorflow_metadata and protobuf, run `pip install 'tensorflow-metadata<1.18'`."
    )

# The import alone makes "digits" known to `tfds.load` and `tfds.builder`.
from kerasreg.datasets import digits as digits
from kerasreg.datasets.loading import load
from kerasreg.datasets.summary import info

__all__ = ["info", "load"]
