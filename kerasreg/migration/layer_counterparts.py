"""Keras' layers for ours: each function turns a layer's config, its parts Keras' already, into another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasreg import layers
from kerasreg.layers.monte_carlo import MonteCarlo


@dataclass(frozen=True)
class Counterpart:
    """A serialized layer of Keras.

    Attributes:
        value: The dict that Keras makes the layer of.
        differs: In what it trains otherwise, or "".
    """

    value: dict[str, Any]
    differs: str = ""


def counterpart_of(layer: keras.layers.Layer, name: str, config: dict[str, Any]) -> Counterpart:
    """Keras' layer in the place of one of ours.

    Args:
        layer: The layer as it is now, with its weights.
        name: Its class's name.
        config: Its config, in which regularizers, wrapped layers and the like are Keras' already.
    """
    config = dict(config)
    config.pop("mc", None)
    return _COUNTERPARTS[name](layer, config)


def has_counterpart(cls: type) -> bool:
    """Whether layers of this class of ours are among those that `counterpart_of` takes."""
    return cls.__name__ in _COUNTERPARTS


def unlike_keras(layer: Any) -> str | None:
    """Why Keras' layer would predict something else, for what this one holds; None where it would not."""
    if isinstance(layer, layers.Normalization) and layer.built:
        variance = layer.variance
        smallest = keras.config.epsilon()
        if ((variance > 0) & (np.sqrt(variance) < smallest)).any():
            return f"Normalization of a deviation below {smallest:g}, which Keras would take for that"
    return None


def is_noisy_at_inference(layer: Any) -> bool:
    """Whether a layer of ours has mc=True and a rate above 0."""
    if not isinstance(layer, MonteCarlo) or not layer.mc:
        return False
    rates = [getattr(layer, name, 0) for name in ("dropout", "recurrent_dropout")]
    if not isinstance(layer, (layers.LSTM, layers.GRU)):
        rates = [float(layer.rate) if not isinstance(layer, layers.ConcreteDropout) else 1.0]
    return any(rate > 0 for rate in rates)


def serialized(name: str, config: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    """The dict of which Keras makes one of its layers."""
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _kind(layer: keras.layers.Layer) -> str:
    return type(layer).__name__


def _same(layer: Any, config: dict[str, Any]) -> Counterpart:
    return Counterpart(serialized(_kind(layer), config))


def _base(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("name", "trainable", "dtype") if name in config}


def _batch_normalization(layer: Any, config: dict[str, Any]) -> Counterpart:
    taken = inspect.signature(keras.layers.BatchNormalization.__init__).parameters
    kept = {name: value for name, value in config.items() if name in taken} | _base(config)
    kept["momentum"] = layer.momentum
    # Elsewhere Keras refuses it; on JAX a sharded batch is one batch always.
    kept["synchronized"] = layer.synchronized and keras.backend.backend() == "tensorflow"
    defaults = {
        "averaging": "ema",
        "normalize_with": "batch",
        "virtual_batch_size": None,
        "renorm_warmup": None,
    }
    lost = [f"{name}={config[name]!r}" for name, value in defaults.items() if config[name] != value]
    return Counterpart(
        serialized("BatchNormalization", kept),
        f"trains without {', '.join(lost)}, which Keras' layer does not have" if lost else "",
    )


def _recurrent(layer: Any, config: dict[str, Any]) -> Counterpart:
    # What a copy of Keras' layer would have, which depends on the rates.
    told = {name: value for name, value in config.items() if name not in ("implementation", "use_cudnn")}
    copy = getattr(keras.layers, _kind(layer)).from_config(told)
    defaults = {"implementation": copy.cell.implementation, "use_cudnn": copy.use_cudnn}
    lost = [f"{name}={config[name]!r}" for name, value in defaults.items() if config[name] != value]
    why = f"Keras' config has no place for {', '.join(lost)}: a copy runs with the defaults" if lost else ""
    return Counterpart(serialized(_kind(layer), config), why)


def _drop_path(layer: Any, config: dict[str, Any]) -> Counterpart:
    shape = _input_shape(layer)
    if not layer.scale_by_keep or shape is None:
        return _identity(layer, config)
    # One draw for each row, which stays divided by 1 - p: dropout, broadcast.
    noise = [None, *[1] * (len(shape) - 1)]
    return Counterpart(
        serialized("Dropout", {**_base(config), "rate": layer.rate, "noise_shape": noise, "seed": layer.seed})
    )


def _drop_block(layer: Any, config: dict[str, Any]) -> Counterpart:
    return _identity(layer, config)


def _identity(layer: Any, config: dict[str, Any]) -> Counterpart:
    found = serialized("Identity", _base(config))
    return Counterpart(found, f"no noise in training: Keras has no {_kind(layer)}")


def _temperature_scaling(layer: Any, config: dict[str, Any]) -> Counterpart:
    scaled = {**_base(config), "scale": 1.0 / layer.temperature, "offset": 0.0}
    why = "the temperature is a constant, and no longer fitted; logits apart by a rounding may become equal"
    return Counterpart(serialized("Rescaling", scaled), why)


def _concrete_dropout(layer: Any, config: dict[str, Any]) -> Counterpart:
    rate = float(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(layer.rate)))
    shape = _input_shape(layer)
    rank = 2 if shape is None else len(shape)
    first = getattr(layer.layer, "data_format", None) == "channels_first" and rank > 2
    features = 1 if first else rank - 1
    # One draw for each row and feature, as in the layer.
    noise = None if rank == 2 else [None if axis in (0, features) else 1 for axis in range(rank)]
    dropout = {"name": f"{layer.name}_dropout", "rate": rate, "noise_shape": noise, "seed": layer.seed}
    dropout["dtype"] = config.get("dtype")
    inner = dict(config["layer"])
    inner["config"], told = _with_weight_decay(inner["config"], layer, rate)
    why = f"its rate stays at {rate:.3g}"
    if not told:
        why += ", and its prior's penalty on the kernel is gone, beside the one that the kernel has"
    stages = [serialized("Dropout", dropout), inner]
    return Counterpart(_chain(config, stages), why)


def _with_weight_decay(config: dict[str, Any], layer: Any, rate: float) -> tuple[dict[str, Any], bool]:
    """The wrapped layer's config with s l^2 / (2 N (1 - p)) ||W||^2, the penalty for a rate that stays."""
    strength = layer.loss_scale * layer.length_scale**2 / (2 * layer.num_examples * (1 - rate))
    key = "depthwise_regularizer" if "depthwise_regularizer" in config else "kernel_regularizer"
    before = keras.regularizers.get(config.get(key))
    kinds = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
    if before is not None and type(before) not in kinds:
        return config, False
    l1 = float(getattr(before, "l1", 0.0))
    l2 = float(getattr(before, "l2", 0.0)) + strength
    after = keras.regularizers.L1L2(l1=l1, l2=l2) if l1 else keras.regularizers.L2(l2)
    return {**config, key: keras.regularizers.serialize(after)}, True


def normalization_stages(layer: Any) -> dict[str, Any]:
    """The statistics of a `Normalization` as Keras' float32 layers can hold them.

    `mean` in float32, `rest`, what it lacks in units of the deviation, or None where that is nothing to see,
    and `variance`, 1 for a constant feature, which Keras would divide by 1e-7. In the features' shape.
    """
    dtype = "float64" if layer.compute_dtype == "float64" else "float32"
    keep = sorted(axis % len(layer.mean.shape) for axis in layer.axis)
    features = tuple(layer.mean.shape[axis] for axis in keep)
    exact, variance = layer.mean.reshape(features), layer.variance.reshape(features)
    variance = np.where(variance > 0, variance, 1.0)
    deviation = np.sqrt(variance)
    mean = exact.astype(dtype).astype("float64")
    rest = (exact - mean) / deviation
    if not (np.abs(rest) > np.finfo(dtype).eps).any():
        rest = None
    return {"mean": mean, "variance": variance, "rest": rest, "dtype": dtype}


def _normalization(layer: Any, config: dict[str, Any]) -> Counterpart:
    found = normalization_stages(layer)
    measured = layer.input_mean is None
    main = {
        "name": config["name"],
        "trainable": config["trainable"],
        "dtype": found["dtype"],
        "axis": config["axis"],
        "invert": layer.invert,
        "mean": None if measured else found["mean"].tolist(),
        "variance": None if measured else found["variance"].tolist(),
    }
    stages = [serialized("Normalization", main)]
    if found["rest"] is not None:
        sign = -1.0 if layer.invert else 1.0
        shift = {"mean": (sign * found["rest"]).tolist(), "variance": np.ones_like(found["rest"]).tolist()}
        rest = {**main, **shift, "invert": False, "name": f"{layer.name}_rest"}
        stages.insert(0 if layer.invert else 1, serialized("Normalization", rest))
    if layer.compute_dtype != found["dtype"]:
        # Keras' layer would cast to half precision before it subtracts.
        cast = {"name": f"{layer.name}_cast", "activation": "linear", "dtype": config["dtype"]}
        stages.append(serialized("Activation", cast))
    if len(stages) == 1:
        return Counterpart(stages[0])
    stages[0 if not layer.invert or found["rest"] is None else 1]["config"]["name"] = f"{layer.name}_mean"
    why = "" if found["rest"] is None else "a new `adapt` has to set its second part's mean to 0"
    return Counterpart(_chain(config, stages), why)


def _chain(config: dict[str, Any], stages: list[dict[str, Any]]) -> dict[str, Any]:
    own = {"name": config["name"], "trainable": config.get("trainable", True), "layers": stages}
    return serialized("Sequential", own, module="keras")


def _input_shape(layer: keras.layers.Layer) -> tuple[int | None, ...] | None:
    return (layer.get_build_config() or {}).get("input_shape")


_COUNTERPARTS: dict[str, Callable[[Any, dict[str, Any]], Counterpart]] = {
    "AlphaDropout": _same,
    "BatchNormalization": _batch_normalization,
    "ConcreteDropout": _concrete_dropout,
    "DropBlock2D": _drop_block,
    "DropPath": _drop_path,
    "Dropout": _same,
    "GRU": _recurrent,
    "GaussianDropout": _same,
    "LSTM": _recurrent,
    "Normalization": _normalization,
    "SpatialDropout1D": _same,
    "SpatialDropout2D": _same,
    "SpatialDropout3D": _same,
    "TemperatureScaling": _temperature_scaling,
}
