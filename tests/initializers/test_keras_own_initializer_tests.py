"""Keras' own tests of its initializers, run from its wheel with ours in the place of its own."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras

import kerasreg

# Keras' argument names over our class; `get_config` and the rest are ours.
SWAP = """
    import math

    import keras
    from keras.src import initializers
    import kerasreg as kr

    @keras.saving.register_keras_serializable("swapped")
    class VarianceScaling(kr.initializers.Calibrated):
        def __init__(self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None,
                     input_axes=None, output_axes=None):
            super().__init__(lambda z: z / math.sqrt(scale), fan={"fan_avg": "average"}.get(mode, mode[4:]),
                             distribution=distribution, seed=seed, input_axes=input_axes)
            seed = super().get_config()["seed"]
            self.given = dict(scale=scale, mode=mode, distribution=distribution, seed=seed,
                              input_axes=input_axes, output_axes=output_axes)
            self.__dict__.update(scale=scale, mode=mode)

        def get_config(self):
            return self.given

    @keras.saving.register_keras_serializable("swapped")
    class Orthogonal(kr.initializers.Calibrated):
        def __init__(self, gain=1.0, seed=None):
            super().__init__(lambda z: z / gain, distribution="orthogonal", seed=seed)
            self.gain = gain

        def get_config(self):
            return {"gain": self.gain, "seed": super().get_config()["seed"]}

    initializers.VarianceScaling = VarianceScaling
    initializers.Orthogonal = initializers.ALL_OBJECTS_DICT["OrthogonalInitializer"] = Orthogonal
"""
# What they say in words of their own, and Keras' alias of a class name.
OTHERS = "not invalid and not get_method and not random_normal and not random_uniform"


def test_keras_own_tests_pass_with_our_initializers(tmp_path):
    own = "keras.src.initializers.random_initializers_test"
    if importlib.util.find_spec(own) is None:
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12)
        return
    (tmp_path / "swap_plugin.py").write_text(textwrap.dedent(SWAP))
    # Its first line imports a helper from the conftest of Keras' repository, which the wheel has not.
    (tmp_path / "conftest.py").write_text("def skip_if_backend(*_):\n    return lambda test: test\n")
    path = os.pathsep.join([str(tmp_path), str(Path(kerasreg.__file__).parents[1])])
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-q", "-p", "swap_plugin"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-k", OTHERS, "--pyargs", own],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= 5
