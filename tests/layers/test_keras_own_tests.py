"""Keras' own test files, run from its wheel with our classes in place."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import pytest

# What Keras' tests look for in an error, and what ours says there: the words differ, the refusals do not.
WORDS = {
    "both `mean` and `variance` must be set": "must be given together with",
    "All `axis` values must be in the range": "Argument `axis` of Normalization must be in",
    "All `axis` values to be kept": "must be axes of known size",
    "an incompatible shape": "must be batches that fit the layer's input shape",
    "incompatible shape": "must be batches that fit the layer's input shape",
    "Received invalid keys": "must be a dict with keys among",
    "rmax should be": "must be a dict with rmin at most rmax",
    "dmax should be non-negative": "Argument `renorm_clipping.'dmax'.` of BatchNormalization must be",
    "empty iterable": "at least one batch with at least one row, got none",
}

SWAP = """
    import unittest
    import keras
    from keras.src import layers
    import kerasreg as kr

    for name in {names}:
        setattr(layers, name, getattr(kr.layers, name))
        setattr(keras.layers, name, getattr(kr.layers, name))

    words, plain = {words}, unittest.TestCase.assertRaisesRegex

    def assert_raises(self, error, expected, *args, **kwargs):
        return plain(self, error, words.get(expected, expected), *args, **kwargs)

    unittest.TestCase.assertRaisesRegex = assert_raises
"""

DROPOUTS = ("dropout", "spatial_dropout", "gaussian_dropout", "alpha_dropout")

# Our classes, the files that test Keras', the tests left out, and how many stay.
OWN = {
    "BatchNormalization": (
        ["BatchNormalization"],
        ["normalization.batch_normalization_test"],
        # On torch these two count all variables, of which our count of skipped batches is one.
        "not bn_basics and not renorm_basics" if keras.backend.backend() == "torch" else "",
        30,
    ),
    "Normalization": (
        ["Normalization"],
        ["preprocessing.normalization_test"],
        # Wants a TypeError for batches that are numbers; every refusal of ours is a ValueError.
        "not test_adapt_iterable_batch_without_shape_raises",
        25,
    ),
    "dropout": (
        [
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
        ],
        [f"regularization.{name}_test" for name in DROPOUTS],
        # These look for the words of Keras' errors.
        "not (rate or noise_shape_non or noise_shape_invalid or noise_shape_negative or noise_shape_zero)",
        18,
    ),
    "recurrent": (["GRU", "LSTM"], ["rnn.gru_test", "rnn.lstm_test"], "", 12),
}


@pytest.mark.parametrize("part", OWN)
def test_keras_own_tests_pass_with_our_layers(part, tmp_path):
    names, files, chosen, fewest = OWN[part]
    own = [f"keras.src.layers.{file}" for file in files]
    if importlib.util.find_spec(own[0]) is None:
        # Keras ships its tests since 3.10 or so; before that, there is nothing to run.
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12)
        return
    (tmp_path / "swap_plugin.py").write_text(textwrap.dedent(SWAP).format(names=names, words=WORDS))
    # Behind the folder of the plugin, whatever this process found kerasreg with.
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-q", "-p", "swap_plugin"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-k", chosen, "--pyargs", *own],
        cwd=Path(tmp_path),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= fewest
