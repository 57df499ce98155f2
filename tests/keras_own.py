"""Keras' own test files, run from its wheel with our classes in place of Keras'.

Used by the tests, and by `python -m benchmarks.reliability --only own_tests`, which counts them.
"""

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import keras

import kerasreg

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
    **{
        f"Invalid value received for argument `{name}`. Expected {allowed}.": f"Argument `{name}` of"
        for name, allowed in (
            ("rate", "a float value between 0 and 1"),
            ("noise_shape", "a tuple or list of integers"),
            ("noise_shape", "all elements to be integers or None"),
            ("noise_shape", "all dimensions to be positive integers or None"),
        )
    },
}

LAYERS = """
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

# `factor` is Keras' word for the strength of one of the four; the classes below take Keras' words.
REGULARIZERS = """
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

# Keras' argument names over our class; `get_config` and the rest are ours.
INITIALIZERS = """
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


@dataclass(frozen=True)
class Part:
    """Test files of Keras that run in one process.

    Attributes:
        swap: The plugin that puts our classes in place.
        files: By file, below `keras.src`, our classes that it tests.
        left_out: What cannot hold for ours, by test, each with the reason.
        fewest: How many pass at least.
    """

    swap: str
    files: dict[str, tuple[str, ...]]
    left_out: dict[str, str] = field(default_factory=dict)
    fewest: int = 1


LAYER_FILES = {
    "layers.normalization.batch_normalization_test": ("BatchNormalization",),
    "layers.preprocessing.normalization_test": ("Normalization",),
    "layers.regularization.dropout_test": ("Dropout",),
    "layers.regularization.alpha_dropout_test": ("AlphaDropout",),
    "layers.regularization.gaussian_dropout_test": ("GaussianDropout",),
    "layers.regularization.spatial_dropout_test": (
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    ),
    "layers.rnn.gru_test": ("GRU",),
    "layers.rnn.lstm_test": ("LSTM",),
}
TORCH = dict.fromkeys(
    ("bn_basics", "renorm_basics"), "counts torch's parameters, of which our count of skipped batches is one"
)
PARTS = {
    "layers": Part(
        LAYERS.format(names=[name for names in LAYER_FILES.values() for name in names], words=WORDS),
        LAYER_FILES,
        {
            "test_adapt_iterable_batch_without_shape_raises": "wants a TypeError, not a ValueError",
            **(TORCH if keras.backend.backend() == "torch" else {}),
        },
        fewest=95,
    ),
    "regularizers": Part(
        REGULARIZERS,
        {"regularizers.regularizers_test": ("L1", "L2", "ElasticNet", "Orthogonal")},
        {
            "test_get_method": "asks for Keras' classes by Keras' short names; ours have none",
            "test_orthogonal_regularizer_mode_validation": "expects the words of Keras' message",
            "test_orthogonal_regularizer_input_rank_validation": "refuses rank 4, which ours takes",
            "ValidateFloatArgTest": "tests a function of Keras, not a regularizer",
        },
        fewest=15,
    ),
    "initializers": Part(
        INITIALIZERS,
        {"initializers.random_initializers_test": ("Calibrated",)},
        {
            "invalid": "expects the words of Keras' messages",
            "get_method": "asks for Keras' classes by Keras' short names; ours have none",
            "random_normal": "tests an initializer without a fan; ours has none",
            "random_uniform": "tests an initializer without a fan; ours has none",
        },
        fewest=5,
    ),
}


def ships_its_tests():
    """Whether the installed wheel of Keras has test files: since 3.10 or so."""
    return importlib.util.find_spec("keras.src.layers.regularization.dropout_test") is not None


def run(part, folder):
    """A part's tests in a process of their own; the process, and its cases as `(file, test, outcome)`."""
    folder = Path(folder)
    (folder / "swap_plugin.py").write_text(textwrap.dedent(part.swap))
    # The first line of one of them imports a helper from the conftest of Keras' repository.
    (folder / "conftest.py").write_text("def skip_if_backend(*_):\n    return lambda test: test\n")
    # Behind the folder of the plugin, whatever this process found kerasreg with.
    path = os.pathsep.join([str(folder), str(Path(kerasreg.__file__).parents[1])])
    chosen = f"not ({' or '.join(part.left_out)})" if part.left_out else ""
    options = ["-q", "-p", "swap_plugin", "-p", "no:cacheprovider", "-k", chosen, "--junitxml", "cases.xml"]
    files = [f"keras.src.{file}" for file in part.files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *options, "--pyargs", *files],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, _cases(folder / "cases.xml", part) if (folder / "cases.xml").exists() else []


def _source(file):
    return Path(importlib.util.find_spec(f"keras.src.{file}").origin).read_text()


def left_out_of(part, file):
    """The tests of a file that are not run, with the reasons."""
    source = _source(file)
    return {test: reason for test, reason in part.left_out.items() if test in source}


def _cases(path, part):
    # Run as installed modules, the files' names are not told; each class of tests is in one of them.
    home = {name: file for file in part.files for name in re.findall(r"^class (\w+)", _source(file), re.M)}
    found = []
    for case in ET.parse(path).iter("testcase"):
        outcome = next(
            (child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed"
        )
        found.append((home[case.get("classname").rpartition(".")[2]], case.get("name"), outcome))
    return found


def passes(part, folder):
    """Run a part and fail with what Keras' tests print, if they do."""
    if not ships_its_tests():
        # Wheels hold them from 3.15 on.
        assert tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15)
        return
    done, cases = run(part, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = [file for file, _, outcome in cases if outcome == "passed"]
    assert len(passed) >= part.fewest
    assert set(passed) == set(part.files)
