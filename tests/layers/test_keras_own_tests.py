"""Keras' own test files, run from its wheel with our classes in place."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras

SWAP = """
    from keras.src import layers
    import kerasreg as kr
    layers.BatchNormalization = kr.layers.BatchNormalization
"""


def test_keras_own_tests_pass_with_our_layer(tmp_path):
    own = "keras.src.layers.normalization.batch_normalization_test"
    if importlib.util.find_spec(own) is None:
        # Keras ships its tests since 3.10 or so; before that, there is nothing to run.
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12)
        return
    (tmp_path / "swap_plugin.py").write_text(textwrap.dedent(SWAP))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
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
    done = subprocess.run(
        [*command, "--pyargs", own],
        cwd=Path(tmp_path),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= 30
