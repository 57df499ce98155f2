"""Every public class, found by introspection, with arguments to make one of it."""

import inspect

import keras
import numpy as np

import kerasreg as kr

NAMESPACES = (
    "layers",
    "initializers",
    "regularizers",
    "losses",
    "constraints",
    "metrics",
    "callbacks",
    "augment",
)

# Public classes that no saved thing ever names.
NOT_NOUNS = {
    "augment.Plan": "a report, made by Pipeline.explain",
    "augment.Transform": "a base class to write transforms on",
    "augment.GeometricTransform": "a base class to write transforms on",
    "augment.ColorTransform": "a base class to write transforms on",
    "augment.MixTransform": "a base class to write transforms on",
    "augment.PixelTransform": "a base class to write transforms on",
}

# Values other than the defaults, for as many arguments as go together; required ones first of all.
SAMPLES = {
    "layers.BatchNormalization": {"axis": 1, "update_rate": 0.25, "epsilon": 1e-2},
    "layers.Dropout": {"rate": 0.3, "noise_shape": (None, 1), "seed": 3, "mc": True},
    "layers.GaussianDropout": {"rate": 0.3, "seed": 3, "mc": True},
    "layers.AlphaDropout": {"rate": 0.3, "noise_shape": (None, 1), "seed": 3, "mc": True},
    "layers.SpatialDropout1D": {"rate": 0.3, "seed": 3, "name": "drop_maps", "dtype": "float32", "mc": True},
    **{
        f"layers.SpatialDropout{rank}D": {
            "rate": 0.3,
            "data_format": "channels_first",
            "seed": 3,
            "name": f"drop_{rank}",
            "dtype": "float32",
            "mc": True,
        }
        for rank in (2, 3)
    },
    "layers.DropPath": {"rate": 0.3, "scale_by_keep": False, "seed": 3, "mc": True},
    "layers.DropBlock2D": {
        "rate": 0.3,
        "block_size": (2, 3),
        "normalize": "count",
        "per_channel": False,
        "data_format": "channels_first",
        "seed": 3,
        "mc": True,
    },
    "layers.ConcreteDropout": {
        "num_examples": 50,
        "length_scale": 0.1,
        "loss_scale": 2.0,
        "initial_rate": 0.3,
        "temperature": 0.5,
        "seed": 3,
        "mc": True,
    },
    **{
        f"layers.{name}": {"units": 3, "dropout": 0.2, "recurrent_dropout": 0.3, "seed": 3, "mc": True}
        for name in ("LSTM", "GRU")
    },
    "layers.TemperatureScaling": {"temperature": 2.0},
    "layers.Normalization": {"axis": (1,), "mean": [1.0], "variance": [4.0], "invert": True},
    "initializers.Calibrated": {
        "activation": "relu",
        "fan": "average",
        "kind": "conv",
        "distribution": "uniform",
        "seed": 3,
        "groups": 2,
        "strides": (2, 1),
        "input_axes": (0, 1),
        "batch_axes": (2,),
    },
    "initializers.DeltaOrthogonal": {"gain": 2.0, "seed": 3},
    "regularizers.L1": {"strength": 0.3},
    "regularizers.L2": {"strength": 0.3},
    "regularizers.ElasticNet": {"strength": 0.3, "beta": 0.5},
    "regularizers.GroupLasso": {"strength": 0.3, "axis": [0]},
    "regularizers.Orthogonal": {"strength": 0.3, "mode": "columns"},
    "regularizers.GaussianPrior": {"scale": 0.3, "num_examples": 5},
    "regularizers.LaplacePrior": {"scale": 0.3, "num_examples": 5},
    "regularizers.StudentTPrior": {"scale": 0.3, "num_examples": 5, "df": 2.0},
    "regularizers.Schedule": {"function": keras.optimizers.schedules.PolynomialDecay(0.5, 10, 0.1)},
    "losses.MulticlassHinge": {
        "margin": 2.0,
        "variant": "max",
        "reduction": "sum",
        "name": "hinge",
        "dtype": "float32",
    },
    "constraints.GroupSoftThreshold": {"strength": 0.3, "axis": [0], "l1_ratio": 0.25, "beta": 0.5},
    "constraints.SoftThreshold": {"strength": 0.3, "beta": 0.5},
    "constraints.MaxNorm": {"max_value": 0.5, "axis": [0]},
    "constraints.UnitNorm": {"axis": 0},
    "metrics.ExpectedCalibrationError": {"bins": 4, "name": "ece", "dtype": "float32"},
    "callbacks.BackupAndRestore": {
        "backup_dir": "backup",
        "save_freq": 3,
        "double_checkpoint": True,
        "delete_checkpoint": False,
    },
    "callbacks.ActivationStats": {
        "log_dir": "logs",
        "every": 3,
        "layers": ["conv*"],
        "gradients": True,
        "histograms": True,
        "per_channel": True,
        "diagnose": False,
        "stop_on": "error",
    },
    "augment.Pipeline": {
        "transforms": [],
        "seed": 3,
        "value_range": (0, 1),
        "fill_mode": "constant",
        "fill_value": 0.5,
        "dtype": "float16",
        "exact": True,
        "interpolation": "bicubic",
        "bounding_box_format": "rel_xywh",
        "min_visible": 0.3,
        "mask_fill_value": 255.0,
        "index_key": "number",
        "epoch_key": "pass",
    },
    "augment.MixUp": {"alpha": 0.3, "num_classes": 5, "probability": 0.3, "name": "blend"},
    "augment.CutMix": {"alpha": 0.5, "num_classes": 5, "probability": 0.3, "name": "paste"},
    "augment.AugMix": {
        "severity": 5.5,
        "width": 2,
        "depth": 2,
        "alpha": 0.5,
        "operations": ["Rotate", "Equalize"],
        "probability": 0.3,
        "name": "policy",
    },
    "augment.RandomCrop": {
        "size": (3, 2),
        "padding": (0, 1),
        "probability": 0.3,
        "name": "window",
        "pad_if_needed": True,
    },
    "augment.RandomResizedCrop": {
        "size": (3, 2),
        "area": (0.2, 0.8),
        "ratio": (0.5, 1.5),
        "probability": 0.3,
        "name": "part",
    },
    "augment.RandomPerspective": {"distortion": 0.3, "probability": 0.3, "name": "side"},
    "augment.RandomChoice": {"transforms": [], "weights": [0.25, 0.75], "probability": 0.3, "name": "one"},
    "augment.RandAugment": {
        "n": 3,
        "magnitude": 12.5,
        "operations": ["Rotate", "Equalize"],
        "probability": 0.3,
        "name": "policy",
    },
    "augment.TrivialAugment": {
        "wide": False,
        "operations": ["Rotate", "Equalize"],
        "probability": 0.3,
        "name": "policy",
    },
    "augment.Augmentation": {"pipeline": None, "name": "augmentation", "trainable": False},
    "augment.RandomFlip": {"mode": "vertical", "probability": 0.3, "name": "flip"},
    "augment.RandomRotation": {"degrees": (-100, 190), "probability": 0.3, "name": "turn", "step": 45.0},
    "augment.RandomZoom": {
        "factor": (-0.1, 0.2),
        "width_factor": (0.1, 0.3),
        "probability": 0.3,
        "name": "zoom",
    },
    "augment.RandomTranslation": {
        "height_factor": (-0.1, 0.2),
        "width_factor": (0.1, 0.3),
        "probability": 0.3,
        "name": "move",
        "whole_pixels": True,
    },
    "augment.RandomBrightness": {"factor": (-0.1, 0.2), "probability": 0.3, "name": "light"},
    "augment.RandomContrast": {"factor": (0.5, 1.2), "probability": 0.3, "name": "contrast"},
    "augment.RandomSaturation": {"factor": (0.5, 1.2), "probability": 0.3, "name": "saturation"},
    "augment.RandomGrayscale": {"probability": 0.3, "name": "grey"},
    "augment.RandomHue": {"degrees": (-10, 20), "probability": 0.3, "name": "hue"},
    "augment.RandomInvert": {"probability": 0.3, "name": "negative"},
    "augment.ColorJitter": {
        "brightness": (-0.1, 0.2),
        "contrast": (0.5, 1.2),
        "saturation": (0.4, 1.1),
        "hue": (-10, 20),
        "probability": 0.3,
        "name": "jitter",
    },
    "augment.Rescale": {"scale": [0.5, 1.0, 2.0], "offset": -1.0, "name": "standardise"},
    "augment.RandomPosterize": {"bits": (2, 5), "probability": 0.3, "name": "bits"},
    "augment.RandomSolarize": {"threshold": (0.2, 0.5), "probability": 0.3, "name": "sun"},
    "augment.RandomEqualize": {"probability": 0.3, "name": "even"},
    "augment.RandomAutoContrast": {"probability": 0.3, "name": "stretch"},
    "augment.RandomSharpness": {"factor": (0.5, 1.2), "probability": 0.3, "name": "sharp"},
    "augment.RandomGaussianBlur": {"sigma": (0.5, 1.2), "probability": 0.3, "name": "blur"},
    "augment.RandomGaussianNoise": {"std": (0.01, 0.02), "probability": 0.3, "name": "noise"},
    "augment.RandomErasing": {
        "area": (0.1, 0.2),
        "ratio": (0.5, 3.0),
        "fill_value": [0.1, 0.2, 0.3],
        "probability": 0.3,
        "name": "hole",
    },
    "augment.RandomShear": {
        "x_factor": (-0.1, 0.2),
        "y_factor": (0.1, 0.3),
        "probability": 0.3,
        "name": "shear",
    },
}

# Layers between a model's input and its last one, for parts that a Dense layer cannot hold.
HOLDERS = {
    "initializers.DeltaOrthogonal": lambda part: keras.layers.Conv1D(8, 3, kernel_initializer=part),
    "regularizers.Schedule": lambda part: keras.layers.Dense(4, kernel_regularizer=kr.regularizers.L2(part)),
}

# Inputs of what does not take rows of features.
INPUT_SHAPES = {
    "layers.SpatialDropout1D": (4, 5, 6),
    "layers.SpatialDropout2D": (4, 5, 6, 3),
    "layers.SpatialDropout3D": (4, 5, 6, 3, 2),
    "layers.DropBlock2D": (4, 5, 6, 3),
    "layers.LSTM": (4, 5, 6),
    "layers.GRU": (4, 5, 6),
    "initializers.DeltaOrthogonal": (4, 5, 6),
}


def public_classes(*namespaces):
    """`{"layers.Dropout": class}` for the namespaces, or for all of them."""
    found = {}
    for namespace in namespaces or NAMESPACES:
        module = getattr(kr, namespace)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) and f"{namespace}.{name}" not in NOT_NOUNS:
                found[f"{namespace}.{name}"] = thing
    return found


def parameters(cls):
    """The constructor's own parameters by name, without `self` and Keras' `**kwargs`."""
    every = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: p for p in every if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def required(cls):
    return [name for name, p in parameters(cls).items() if p.default is p.empty]


def sample_arguments(label):
    arguments = dict(SAMPLES.get(label, {}))
    if label == "augment.Augmentation":
        arguments["pipeline"] = kr.augment.Pipeline([kr.augment.RandomFlip()], seed=3)
    if label in ("augment.Pipeline", "augment.RandomChoice"):
        arguments["transforms"] = [kr.augment.RandomFlip(name="mirror"), kr.augment.RandomRotation(5)]
    if label == "layers.ConcreteDropout":
        arguments["layer"] = keras.layers.Dense(5, name="dense")
    return arguments


def make(label):
    """One with other values than the defaults."""
    return public_classes()[label](**sample_arguments(label))


def make_plain(label):
    """One with the defaults, wherever there are any."""
    cls = public_classes()[label]
    sample = sample_arguments(label)
    return cls(**{name: sample[name] for name in required(cls)})


def scramble(model, seed=0):
    """Give every floating weight some other value, positive so that it may be a variance too."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if keras.backend.is_float_dtype(variable.dtype) and "seed" not in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))


def rewind(model):
    """Have every generator of the model start anew: Keras does not save how far they are."""
    for variable in model.variables:
        if "seed_generator" in variable.path:
            variable.assign(np.array([7, 0]))
