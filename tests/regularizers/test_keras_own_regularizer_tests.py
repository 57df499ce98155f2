"""Keras' own regularizer tests, run from its wheel with our classes in place."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import keras

# `factor` is Keras' word for the strength of one of the four; the classes below take Keras' words.
SWAP = """
    import keras
    from keras.src import regularizers
    import kerasreg as kr

    class L1(kr.regularizers.L1):
        pass

    class L2(kr.regularizers.L2):
        pass

    class OrthogonalRegularizer(kr.regularizers.Orthogonal):
        def __init__(self, factor=0.01, mode="rows"):
            super().__init__(factor, mode)

        def get_config(self):
            return {"factor": self.strength, "mode": self.mode}

    class L1L2(kr.regularizers.ElasticNet):
        def __init__(self, l1=0.0, l2=0.0):
            super().__init__(l1, l2 / l1 if l1 else 0.0)
            self.l1, self.l2 = l1, l2

        def __call__(self, x):
            return super().__call__(x) + (0.0 if self.l1 else kr.regularizers.L2(self.l2)(x))

        def get_config(self):
            return {"l1": self.l1, "l2": self.l2}

    for ours in (L1, L2, L1L2, OrthogonalRegularizer):
        setattr(regularizers, ours.__name__, keras.saving.register_keras_serializable("swapped")(ours))
"""

# What cannot hold for ours, each with the reason.
OTHERWISE = {
    "test_get_method": "asks for Keras' classes by Keras' short names; ours have none",
    "test_orthogonal_regularizer_mode_validation": "expects the words of Keras' message",
    "test_orthogonal_regularizer_input_rank_validation": "expects rank 4 to be refused, which ours takes",
    "ValidateFloatArgTest": "tests a function of Keras, not a regularizer",
}


def test_keras_own_tests_pass_with_our_regularizers(tmp_path):
    own = "keras.src.regularizers.regularizers_test"
    if importlib.util.find_spec(own) is None:
        # Keras ships its tests since 3.10 or so; before that, there is nothing to run.
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12)
        return
    (tmp_path / "swap_plugin.py").write_text(textwrap.dedent(SWAP))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = ["-q", "-p", "swap_plugin", "-p", "no:cacheprovider", "-k"]
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, *options, f"not ({' or '.join(OTHERWISE)})"]
    done = subprocess.run(
        [*command, "--pyargs", own],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= 15
