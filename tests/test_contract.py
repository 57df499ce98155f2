"""One contract for every public class, whatever it is; a new class is under it without a word here."""

import json
import math

import keras
import numpy as np
import pytest
from backend_tools import array, wide_numbers
from nouns import (
    HOLDERS,
    INPUT_SHAPES,
    NAMESPACES,
    NOT_NOUNS,
    make,
    make_plain,
    parameters,
    public_classes,
    required,
    rewind,
    sample_arguments,
    scramble,
)

import kerasreg as kr

EVERY = public_classes()
nan, inf = math.nan, math.inf

# The layers that take `mc=` and `seed=`.
NOISY = [label for label, cls in public_classes("layers").items() if "mc" in parameters(cls)]
RATED = [label for label in NOISY if "rate" in parameters(EVERY[label])]

# Class, arguments that it must refuse, the argument to name, what the sentence has to show of the value.
REFUSED = [
    *[
        (label, {argument: value}, argument, repr(value))
        for label in NOISY
        for argument, value in (("mc", "yes"), ("mc", 1), ("seed", 1.5), ("seed", -1))
    ],
    *[
        (label, {"rate": v}, "rate", repr(v))
        for label in RATED
        for v in (1.0, -0.1, 1.5, "x", nan, None, True)
    ],
    *[
        (f"layers.{name}", {"noise_shape": value}, "noise_shape", shown)
        for name in ("Dropout", "AlphaDropout")
        for value, shown in ((3, "3"), ("x", "'x'"), ((None, 0), "0"), ((1.5,), "1.5"))
    ],
    *[
        (f"layers.{name}", {"data_format": "NHWC"}, "data_format", "'NHWC'")
        for name in ("SpatialDropout2D", "SpatialDropout3D", "DropBlock2D")
    ],
    ("layers.DropPath", {"scale_by_keep": 1}, "scale_by_keep", "1"),
    *[("layers.DropBlock2D", {"block_size": v}, "block_size", repr(v)) for v in (0, -3, 2.5, "7", (1, 2, 3))],
    ("layers.DropBlock2D", {"block_size": (3, 0)}, "block_size", "0"),
    ("layers.DropBlock2D", {"normalize": "mean"}, "normalize", "'mean'"),
    ("layers.DropBlock2D", {"per_channel": 1}, "per_channel", "1"),
    ("layers.ConcreteDropout", {"layer": 3}, "layer", "3"),
    ("layers.ConcreteDropout", {"layer": keras.layers.ReLU(name="relu")}, "layer", "relu"),
    *[("layers.ConcreteDropout", {"num_examples": v}, "num_examples", repr(v)) for v in (0, 1.5, None)],
    *[
        ("layers.ConcreteDropout", {name: v}, name, repr(v))
        for name in ("length_scale", "loss_scale", "temperature")
        for v in (0, -1.0, inf, "x")
    ],
    *[("layers.ConcreteDropout", {"initial_rate": v}, "initial_rate", repr(v)) for v in (0, 1, -0.1, "x")],
    *[
        (f"layers.{name}", {argument: v}, argument, repr(v))
        for name in ("LSTM", "GRU")
        for argument in ("dropout", "recurrent_dropout")
        for v in (1.0, -0.1, nan, "x")
    ],
    *[(f"layers.{name}", {"units": v}, "units", repr(v)) for name in ("LSTM", "GRU") for v in (0, 2.5, "x")],
    *[
        ("layers.BatchNormalization", {"update_rate": v}, "update_rate", repr(v))
        for v in (1.5, -0.1, nan, "x")
    ],
    *[("layers.BatchNormalization", {"momentum": v}, "momentum", repr(v)) for v in (1.5, -0.1, inf, "x")],
    ("layers.BatchNormalization", {"update_rate": 0.1, "momentum": 0.9}, "update_rate", "update_rate=0.1"),
    ("layers.BatchNormalization", {"update_rate": 0.01, "momentum": 0.8}, "momentum", "momentum=0.8"),
    *[("layers.BatchNormalization", {"epsilon": v}, "epsilon", repr(v)) for v in (0, -1e-3, nan)],
    *[("layers.BatchNormalization", {"axis": v}, "axis", repr(v)) for v in ("x", 1.5)],
    *[("layers.Normalization", {"axis": v}, "axis", repr(v)) for v in ("x", 1.5)],
    *[
        ("layers.TemperatureScaling", {"temperature": v}, "temperature", repr(v))
        for v in (0, -1.0, nan, inf, "x")
    ],
    ("layers.Normalization", {"axis": (0, 1.5)}, "axis", "1.5"),
    ("layers.Normalization", {"mean": [1.0]}, "variance", "None"),
    ("layers.Normalization", {"variance": [1.0]}, "mean", "None"),
    ("layers.Normalization", {"mean": [1.0], "variance": [-1.0]}, "variance", "[-1.0]"),
    ("layers.Normalization", {"mean": [nan], "variance": [1.0]}, "mean", "[nan]"),
    ("layers.Normalization", {"invert": "no"}, "invert", "'no'"),
    *[
        ("initializers.Calibrated", {"activation": v}, "activation", repr(v))
        for v in ("rectifier", 3, "softmax", "glu")
    ],
    *[
        ("initializers.Calibrated", {name: "other"}, name, "'other'")
        for name in ("fan", "kind", "distribution")
    ],
    *[("initializers.Calibrated", {"seed": v}, "seed", repr(v)) for v in ("x", 1.5, -1)],
    *[("initializers.Calibrated", {"groups": v}, "groups", repr(v)) for v in (0, 1.5)],
    *[("initializers.Calibrated", {"strides": v}, "strides", repr(v)) for v in (0, "x", ())],
    *[
        ("initializers.Calibrated", {name: v}, name, repr(v))
        for name in ("input_axes", "batch_axes")
        for v in (1, "0")
    ],
    *[("initializers.DeltaOrthogonal", {"gain": v}, "gain", repr(v)) for v in (0, -1.0, nan, "x")],
    *[("initializers.DeltaOrthogonal", {"seed": v}, "seed", repr(v)) for v in (-1, 1.5)],
    *[
        (f"regularizers.{name}", {"strength": v}, "strength", repr(v))
        for name in ("L1", "L2", "ElasticNet", "GroupLasso", "Orthogonal")
        for v in (-0.1, nan, inf, "x", None)
    ],
    *[("regularizers.GroupLasso", {"axis": v}, "axis", repr(v)) for v in (1.5, "x", True, ())],
    ("regularizers.Orthogonal", {"mode": "diagonal"}, "mode", "'diagonal'"),
    *[
        (f"regularizers.{name}Prior", arguments, *arguments, shown)
        for name in ("Gaussian", "Laplace", "StudentT")
        for arguments, shown in (
            ({"scale": 0}, "0"),
            ({"scale": nan}, "nan"),
            ({"num_examples": 0}, "0"),
            ({"num_examples": 1.5}, "1.5"),
        )
    ],
    ("regularizers.StudentTPrior", {"df": 0}, "df", "0"),
    ("regularizers.Schedule", {"function": 0.1}, "function", "0.1"),
    *[("regularizers.ElasticNet", {"beta": v}, "beta", repr(v)) for v in (-0.1, nan, "x")],
    *[("losses.MulticlassHinge", {"margin": v}, "margin", repr(v)) for v in (0, -1, nan, "x")],
    ("losses.MulticlassHinge", {"variant": "mean"}, "variant", "'mean'"),
    *[("constraints.MaxNorm", {"max_value": v}, "max_value", repr(v)) for v in (0, -1, nan, inf, "x")],
    *[
        (f"constraints.{name}", {"axis": v}, "axis", repr(v))
        for name in ("MaxNorm", "UnitNorm")
        for v in (1.5, "x", True)
    ],
    *[
        (f"constraints.{name}SoftThreshold", {argument: v}, argument, repr(v))
        for name in ("", "Group")
        for argument in ("strength", "beta")
        for v in (-0.1, nan, inf, "x", None)
    ],
    ("constraints.SoftThreshold", {"strength": keras.Variable(0.1)}, "strength", "keras.Variable"),
    *[("constraints.GroupSoftThreshold", {"axis": v}, "axis", repr(v)) for v in (1.5, "x", True, ())],
    *[("constraints.GroupSoftThreshold", {"l1_ratio": v}, "l1_ratio", repr(v)) for v in (-0.1, 1.1, nan)],
    *[("metrics.ExpectedCalibrationError", {"bins": v}, "bins", repr(v)) for v in (0, -3, 2.5, "x")],
    *[("callbacks.ActivationStats", {"every": v}, "every", repr(v)) for v in (0, 2.5, "x")],
    *[("callbacks.ActivationStats", {"layers": v}, "layers", repr(v)) for v in ([], 3)],
    ("callbacks.ActivationStats", {"diagnose": "no"}, "diagnose", "'no'"),
    ("callbacks.ActivationStats", {"stop_on": "fatal"}, "stop_on", "'fatal'"),
    *[("callbacks.BackupAndRestore", {"backup_dir": v}, "backup_dir", repr(v)) for v in ("", 3, "gs://a/b")],
    *[("callbacks.BackupAndRestore", {"save_freq": v}, "save_freq", repr(v)) for v in (0, 2.5, "step")],
    *[
        ("callbacks.BackupAndRestore", {name: 1}, name, "1")
        for name in ("double_checkpoint", "delete_checkpoint")
    ],
    ("callbacks.ActivationStats", {"gradients": 1}, "gradients", "1"),
    ("callbacks.ActivationStats", {"histograms": None}, "histograms", "None"),
    ("callbacks.ActivationStats", {"per_channel": "yes"}, "per_channel", "'yes'"),
    ("augment.Pipeline", {"transforms": []}, "transforms", "[]"),
    ("augment.Pipeline", {"value_range": (255, 0)}, "value_range", "(255, 0)"),
    ("augment.Pipeline", {"fill_mode": "mirror"}, "fill_mode", "'mirror'"),
    ("augment.Pipeline", {"fill_value": nan}, "fill_value", "nan"),
    ("augment.Pipeline", {"dtype": "int7"}, "dtype", "'int7'"),
    ("augment.Pipeline", {"seed": 1.5}, "seed", "1.5"),
    ("augment.Pipeline", {"bounding_box_format": "xyyx"}, "bounding_box_format", "'xyyx'"),
    ("augment.Pipeline", {"min_visible": 2}, "min_visible", "2"),
    ("augment.Pipeline", {"mask_fill_value": nan}, "mask_fill_value", "nan"),
    ("augment.MixUp", {"alpha": -1}, "alpha", "-1"),
    ("augment.CutMix", {"num_classes": 1}, "num_classes", "1"),
    ("augment.Augmentation", {"pipeline": 3}, "pipeline", "3"),
    ("augment.Pipeline", {"index_key": 3}, "index_key", "3"),
    ("augment.Pipeline", {"index_key": "index", "epoch_key": 3}, "epoch_key", "3"),
    ("augment.Pipeline", {"epoch_key": "epoch", "index_key": None}, "index_key", "None"),
    ("augment.RandomFlip", {"mode": "diagonal"}, "mode", "'diagonal'"),
    ("augment.RandomRotation", {"degrees": (10, -10)}, "degrees", "(10, -10)"),
    ("augment.RandomZoom", {"factor": (0.2, -0.1)}, "factor", "(0.2, -0.1)"),
    ("augment.RandomTranslation", {"height_factor": (0.2, 0.1)}, "height_factor", "(0.2, 0.1)"),
    ("augment.RandomBrightness", {"factor": (0.2, nan)}, "factor", "nan"),
    ("augment.RandomContrast", {"factor": -0.5}, "factor", "-0.5"),
    ("augment.RandomSaturation", {"factor": (1.2, 0.8)}, "factor", "(1.2, 0.8)"),
    ("augment.RandomShear", {"x_factor": (0.2, 0.1)}, "x_factor", "(0.2, 0.1)"),
    ("augment.RandomHue", {"degrees": (10, -10)}, "degrees", "(10, -10)"),
    ("augment.ColorJitter", {"contrast": -0.5}, "contrast", "-0.5"),
    ("augment.ColorJitter", {"hue": "x"}, "hue", "'x'"),
    ("augment.Rescale", {"scale": 0}, "scale", "0"),
    ("augment.Rescale", {"scale": [1, nan]}, "scale", "nan"),
    ("augment.Rescale", {"scale": [1, 2], "offset": [1, 2, 3]}, "offset", "[1, 2, 3]"),
    ("augment.Rescale", {"scale": []}, "scale", "[]"),
    ("augment.Pipeline", {"exact": "yes"}, "exact", "'yes'"),
    *[
        ("augment.RandomPosterize", {"bits": v}, "bits", repr(v))
        for v in (0, 9, 2.5, (5, 2), (1, 2, 3), True)
    ],
    *[
        ("augment.RandomSolarize", {"threshold": v}, "threshold", repr(v))
        for v in (1.5, nan, "x", (0.5, 0.1))
    ],
    *[("augment.RandomGaussianBlur", {"sigma": v}, "sigma", repr(v)) for v in (-1, 31, inf, (2, 1), None)],
    *[("augment.RandomGaussianNoise", {"std": v}, "std", repr(v)) for v in (-0.1, nan, (0.2, 0.1))],
    ("augment.RandomSharpness", {"factor": -1}, "factor", "-1"),
    *[("augment.RandomErasing", {"area": v}, "area", repr(v)) for v in (-0.1, 1.5, (0.5, 0.1), "x")],
    *[("augment.RandomErasing", {"ratio": v}, "ratio", repr(v)) for v in (0, (0, 1), (2, 1))],
    ("augment.RandomErasing", {"fill_value": "black"}, "fill_value", "'black'"),
    *[("augment.RandomChoice", {"transforms": v}, "transforms", repr(v)) for v in ([], "flip", None)],
    ("augment.RandomChoice", {"weights": [0.5, 0.6]}, "weights", "[0.5, 0.6]"),
    *[("augment.RandAugment", {"n": v}, "n", repr(v)) for v in (0, -1, 1.5)],
    *[("augment.RandAugment", {"magnitude": v}, "magnitude", repr(v)) for v in (-1, 31, nan)],
    *[
        (f"augment.{policy}", {"operations": v}, "operations", repr(v))
        for policy in ("RandAugment", "TrivialAugment", "AugMix")
        for v in ([], "Rotate", ["Identity"])
    ],
    ("augment.TrivialAugment", {"wide": 1}, "wide", "1"),
    *[("augment.AugMix", {"severity": v}, "severity", repr(v)) for v in (-1, 11)],
    *[("augment.AugMix", {"width": v}, "width", repr(v)) for v in (0, 1.5)],
    *[("augment.AugMix", {"depth": v}, "depth", repr(v)) for v in (0, -2, 1.5)],
    *[("augment.AugMix", {"alpha": v}, "alpha", repr(v)) for v in (0, -1.0, nan)],
    *[
        (label, {"probability": 1.5}, "probability", "1.5")
        for label in EVERY
        if label.startswith(("augment.Rand", "augment.TrivialAugment", "augment.AugMix"))
    ],
]


def plain(config):
    """A configuration as JSON would give it back."""
    return json.loads(json.dumps(config))


@pytest.fixture(params=EVERY)
def label(request):
    return request.param


def test_every_namespace_says_what_is_public():
    for namespace in NAMESPACES:
        module = getattr(kr, namespace)
        assert module.__all__
        assert all(hasattr(module, name) for name in module.__all__)


def test_the_exceptions_still_exist():
    for label in NOT_NOUNS:
        namespace, name = label.split(".")
        assert name in getattr(kr, namespace).__all__


def test_arguments_to_try_it_with_are_in_the_table(label):
    missing = set(required(EVERY[label])) - set(sample_arguments(label))
    assert not missing, f"nouns.SAMPLES[{label!r}] lacks {missing}"
    unknown = set(sample_arguments(label)) - set(parameters(EVERY[label]))
    assert not unknown, f"{label} has no arguments {unknown}"


def test_it_is_registered_under_its_name(label):
    cls = EVERY[label]
    assert keras.saving.get_registered_name(cls) == f"kerasreg>{cls.__name__}"
    assert keras.saving.get_registered_object(f"kerasreg>{cls.__name__}") is cls


def test_every_argument_is_in_its_config(label):
    assert set(parameters(EVERY[label])) <= set(make(label).get_config())
    assert set(parameters(EVERY[label])) <= set(make_plain(label).get_config())


def test_the_config_holds_what_was_given(label):
    config = make(label).get_config()
    for name, value in sample_arguments(label).items():
        if name in ("transforms", "layer", "dtype", "function", "pipeline") or (
            label == "constraints.UnitNorm" and name == "axis"
        ):
            continue  # kept in another form; the round trips below see them
        assert plain(config[name]) == plain(value), name


@pytest.mark.parametrize("maker", [make, make_plain])
def test_its_config_makes_an_equal_one(label, maker):
    config = maker(label).get_config()
    assert EVERY[label].from_config(config).get_config() == config


@pytest.mark.parametrize("maker", [make, make_plain])
def test_its_config_survives_json(label, maker):
    config = maker(label).get_config()
    assert plain(EVERY[label].from_config(plain(config)).get_config()) == plain(config)


def test_keras_serialization_gives_it_back(label):
    thing = make(label)
    again = keras.saving.deserialize_keras_object(plain(keras.saving.serialize_keras_object(thing)))
    assert type(again) is EVERY[label]
    assert plain(again.get_config()) == plain(thing.get_config())


def test_a_misspelt_argument_is_an_error(label):
    arguments = {**sample_arguments(label), "misspelt": 1}
    # Keras' layers say it with a ValueError.
    allowed = (TypeError, ValueError) if label.startswith("layers.") else TypeError
    with pytest.raises(allowed, match="misspelt"):
        EVERY[label](**arguments)


@pytest.mark.parametrize(
    ("label", "arguments", "argument", "shown"), REFUSED, ids=[f"{case[0]}-{case[1]}" for case in REFUSED]
)
def test_a_bad_argument_is_refused_in_one_sentence(label, arguments, argument, shown):
    cls, sample = EVERY[label], sample_arguments(label)
    needed = {name: sample[name] for name in required(cls)}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        cls(**{**needed, **arguments})
    sentence = str(caught.value)
    assert f"`{argument}`" in sentence
    assert cls.__name__ in sentence
    # Not where the argument or the interval is named, but where it is said what came.
    assert shown in sentence.partition(", got ")[2]
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ". " not in sentence


def test_a_bad_argument_was_tried_on_every_class_that_takes_one():
    assert {label for label, cls in EVERY.items() if parameters(cls)} == {case[0] for case in REFUSED}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("label", public_classes("layers"))
def test_a_layer_computes_in_every_dtype_policy(label, policy, training, rng):
    cls, sample = EVERY[label], sample_arguments(label)
    with wide_numbers():
        layer = cls(**{name: sample[name] for name in required(cls)}, dtype=policy)
        x = rng.normal(size=INPUT_SHAPES.get(label, (4, 6))).astype(layer.compute_dtype)
        accepts = "training" in cls.call.__code__.co_varnames
        y = layer(keras.ops.convert_to_tensor(x), **({"training": training} if accepts else {}))
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        assert np.isfinite(array(keras.ops.cast(y, "float32"))).all()
        assert tuple(y.shape) == tuple(layer.compute_output_shape(x.shape))


def trained_with(label, part):
    """A model with three outputs that holds one of the class where its kind belongs."""
    kind = label.split(".")[0]
    shape = INPUT_SHAPES.get(label, (4, 6))[1:]
    where = {
        "initializers": "kernel_initializer",
        "regularizers": "kernel_regularizer",
        "constraints": "kernel_constraint",
    }
    held = {where[kind]: part} if kind in where and label not in HOLDERS else {}
    dense = keras.layers.Dense(3, "softmax", **held)
    middle = [part] if kind == "layers" else [HOLDERS[label](part)] if label in HOLDERS else []
    model = keras.Sequential([keras.Input(shape), *middle, keras.layers.Flatten(), dense])
    model.compile(
        "sgd",
        loss=part if kind == "losses" else "sparse_categorical_crossentropy",
        metrics=[part] if kind == "metrics" else [],
    )
    return model


IN_MODELS = public_classes("layers", "initializers", "regularizers", "losses", "constraints", "metrics")
# A strength, not a regularizer; tests/regularizers/test_schedule.py saves and loads it in its place.
del IN_MODELS["regularizers.Schedule"]
if keras.backend.backend() == "torch":
    # Each step shows its values there, and those of this test's model are no probabilities.
    del IN_MODELS["metrics.ExpectedCalibrationError"]


@pytest.mark.parametrize("label", IN_MODELS)
def test_a_model_that_holds_it_is_saved_and_loaded(label, rng, tmp_path):
    # An initializer's other arguments are made for kernels of another rank.
    part = make_plain(label) if label.startswith("initializers.") else make(label)
    model = trained_with(label, part)
    shape = INPUT_SHAPES.get(label, (4, 6))
    x, y = rng.normal(size=(8, *shape[1:])).astype("float32"), rng.integers(0, 3, 8)
    model.fit(x, y, batch_size=4, verbose=0)
    if not label.startswith("constraints."):
        scramble(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rewind(model)
    rewind(loaded)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == expected
    assert all(np.isfinite(value) for value in expected.values())
    found = [thing for thing in parts_of(loaded) if type(thing) is EVERY[label]]
    assert [plain(thing.get_config()) for thing in found] == [plain(part.get_config())]


def parts_of(model):
    dense = model.layers[-1]
    metrics = [metric for group in model.metrics for metric in getattr(group, "metrics", [group])]
    return [
        *model.layers,
        *[getattr(layer, "kernel_initializer", None) for layer in model.layers[:-1]],
        dense.kernel_initializer,
        dense.kernel_regularizer,
        dense.kernel_constraint,
        model.loss,
        *metrics,
    ]
