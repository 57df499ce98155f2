"""What each public feature computes from fixed weights and inputs, on the backend of `KERAS_BACKEND`.

`python -m benchmarks.reliability.backend_features FILE` writes `{feature: numbers}` and which dtype policies
each layer computes in. Weights and inputs come from NumPy. Where a feature draws random numbers, it is given
numbers of NumPy's; where it cannot be, the moments of many draws are taken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr

L = keras.layers
ON = keras.backend.backend()
Feature = Callable[[], Any]
FEATURES: dict[str, Feature] = {}
POLICIES = ("mixed_float16", "mixed_bfloat16", "float64")
SHAPES = {
    "SpatialDropout1D": (6, 5, 4),
    "SpatialDropout2D": (6, 5, 4, 3),
    "SpatialDropout3D": (4, 3, 3, 3, 2),
}
SHAPES |= {"DropBlock2D": (6, 5, 4, 3), "LSTM": (6, 5, 4), "GRU": (6, 5, 4)}


def feature(name: str) -> Callable[[Feature], Feature]:
    return lambda function: FEATURES.setdefault(name, function)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).normal(0.3, 1.0, shape).astype("float32")


def array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def filled(thing: Any, seed: int = 1) -> Any:
    """With weights of NumPy's, positive where they are a variance."""
    numbers = rng(seed)
    for weight in thing.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            value = numbers.normal(0.1, 0.5, weight.shape)
            weight.assign(0.5 + np.abs(value) if "variance" in weight.path else value)
    return thing


def with_gradient(function: Callable[[Any], Any], x: np.ndarray) -> list[np.ndarray]:
    """The value, and the gradient of the sum of value times fixed numbers."""
    x = keras.ops.convert_to_tensor(x)

    def weighed(x: Any) -> Any:
        y = function(x)
        numbers = np.cos(np.arange(int(np.prod(y.shape)))).reshape(y.shape)
        return keras.ops.sum(keras.ops.cast(y, "float32") * keras.ops.convert_to_tensor(numbers, "float32"))

    if ON == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = weighed(x)
        gradient = tape.gradient(total, x)
    elif ON == "jax":
        import jax

        gradient = jax.grad(weighed)(x)
    else:
        import torch

        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(weighed(x), x)
    return [array(function(x)), array(keras.ops.cast(gradient, "float32"))]


# ------------------------------------------------------------------------------------------------ layers


def layer_of(name: str, **more: Any) -> keras.layers.Layer:
    if name == "ConcreteDropout":
        return kr.layers.ConcreteDropout(L.Dense(3), num_examples=50, length_scale=0.5, **more)
    if name in ("LSTM", "GRU"):
        return getattr(kr.layers, name)(3, dropout=0.3, recurrent_dropout=0.2, **more)
    rated = "Drop" in name
    return getattr(kr.layers, name)(**({"rate": 0.4} if rated else {}), **more)


def numbers_for(shape: Any) -> Any:
    sizes = tuple(int(size) for size in shape)
    return keras.ops.convert_to_tensor(rng(5).uniform(0, 1, sizes).astype("float32"))


def add_layer(name: str) -> None:
    shape = SHAPES.get(name, (8, 4))

    @feature(f"layers.{name}")
    def computed() -> list[np.ndarray]:
        layer = layer_of(name, seed=3) if "Drop" in name or name in ("LSTM", "GRU") else layer_of(name)
        layer.build(shape)
        filled(layer)
        found = with_gradient(lambda x: layer(x), normal(*shape))
        if hasattr(layer, "noisy"):
            found += with_gradient(lambda x: layer.noisy(x, numbers_for), normal(*shape))
        return found

    if "Drop" in name and name not in ("DropPath", "DropBlock2D", "ConcreteDropout"):

        @feature(f"layers.{name}, mean and variance of 40,000 draws")
        def moments() -> np.ndarray:
            many = {2: (400, 100), 3: (400, 2, 100), 4: (400, 1, 2, 100), 5: (400, 1, 1, 2, 100)}[len(shape)]
            y = array(layer_of(name, seed=3)(np.ones(many, "float32"), training=True))
            return np.stack([y.mean(), y.var()])


for _name in kr.layers.__all__:
    if _name not in ("BatchNormalization", "Normalization", "TemperatureScaling"):
        add_layer(_name)


@feature("layers.BatchNormalization")
def batch_normalization() -> list[np.ndarray]:
    found = []
    for more in ({}, {"averaging": "debiased"}, {"normalize_with": "moving"}, {"virtual_batch_size": 3}):
        layer = kr.layers.BatchNormalization(update_rate=0.3, **more)
        layer.build((8, 5, 4))
        filled(layer)
        for step in range(3):
            x = 100.0 + 3 * normal(8, 5, 4, seed=step)
            found += with_gradient(lambda x, layer=layer: layer(x, training=True), x)
        found += [array(layer.moving_mean), array(layer.moving_variance), array(layer(x))]
    return found


@feature("layers.Normalization")
def normalization() -> list[np.ndarray]:
    data = 1e4 + normal(200, 3)
    layer = kr.layers.Normalization()
    layer.adapt(data, verbose=0)
    y = layer(data)
    return [layer.mean, layer.variance, array(y), array(layer.inverse(y)) / 1e4]


@feature("layers.TemperatureScaling")
def temperature_scaling() -> list[np.ndarray]:
    logits, labels = 3 * normal(60, 4), rng(2).integers(0, 4, 60)
    logits[np.arange(60), labels] += 2
    layer = kr.layers.TemperatureScaling().fit(logits, labels)
    return [np.array(layer.temperature), *with_gradient(lambda x: layer(x), logits)]


# ------------------------------------------------------------------------- initializers, penalties, steps


@feature("initializers.Calibrated, its gain and variance")
def calibrated() -> np.ndarray:
    make = kr.initializers.Calibrated
    kinds = {"dense": (6, 4), "conv": (3, 4, 8), "depthwise": (3, 4, 2), "transpose": (3, 8, 4)}
    return np.array(
        [
            make(activation, fan=fan, kind=kind).variance(shape)
            for activation in ("relu", "tanh", "gelu")
            for fan in ("in", "out", "average")
            for kind, shape in kinds.items()
        ]
    )


@feature("initializers.Calibrated, mean and deviation of 200,000 weights")
def calibrated_draws() -> np.ndarray:
    names = ("truncated_normal", "normal", "uniform", "orthogonal")
    kernels = [array(kr.initializers.Calibrated("relu", distribution=n, seed=1)((400, 500))) for n in names]
    return np.array([[kernel.mean(), kernel.std() * 20] for kernel in kernels])


@feature("initializers.DeltaOrthogonal, K K^T")
def delta_orthogonal() -> np.ndarray:
    kernel = array(kr.initializers.DeltaOrthogonal(2.0, seed=1)((3, 3, 4, 6)))
    return np.einsum("hwio,hwjo->hwij", kernel, kernel)


@feature("initializers.for_layer and reinitialize, the variances")
def reinitialized() -> np.ndarray:
    model = keras.Sequential([keras.Input((8, 4)), L.Conv1D(6, 3, activation="relu"), L.GRU(5), L.Dense(2)])
    drawn = kr.initializers.reinitialize(model, seed=2)
    weights = {v.path: v for v in model.trainable_variables}
    assert all(np.isfinite(array(v)).all() for v in weights.values())
    return np.array([part.gain for part in drawn.values()])


PENALTIES = {
    "L1": {"strength": 0.3},
    "L2": {"strength": 0.3},
    "ElasticNet": {"strength": 0.3, "beta": 0.5},
    "GroupLasso": {"strength": 0.3},
    "Orthogonal": {"strength": 0.3},
    "GaussianPrior": {"scale": 0.5, "num_examples": 10},
    "LaplacePrior": {"scale": 0.5, "num_examples": 10},
    "StudentTPrior": {"scale": 0.5, "num_examples": 10},
}


def add_penalty(name: str) -> None:
    @feature(f"regularizers.{name}")
    def computed() -> list[np.ndarray]:
        kernel = normal(3, 4, 5)
        kernel[0] = 0
        return with_gradient(getattr(kr.regularizers, name)(**PENALTIES[name]), kernel)


for _name in PENALTIES:
    add_penalty(_name)


@feature("regularizers.Schedule")
def schedule() -> np.ndarray:
    chosen = kr.regularizers.Schedule.cosine(0.5, 10), kr.regularizers.Schedule.piecewise([3], [0.1, 0.2])
    return np.array([[float(array(one(step))) for step in range(12)] for one in chosen])


def add_constraint(name: str, **arguments: Any) -> None:
    @feature(f"constraints.{name}")
    def computed() -> list[np.ndarray]:
        constraint, w = getattr(kr.constraints, name)(**arguments), normal(4, 5)
        if not hasattr(constraint, "prox"):
            return [array(constraint(w))]
        steps = rng(3).uniform(0.1, 0.5, w.shape).astype("float32")
        return [array(constraint.prox(w, step)) for step in (np.float32(0.3), steps)]


add_constraint("MaxNorm", max_value=1.0)
add_constraint("UnitNorm")
add_constraint("SoftThreshold", strength=0.5, beta=0.3)
add_constraint("GroupSoftThreshold", strength=0.5, l1_ratio=0.3)


@feature("losses.MulticlassHinge")
def hinge() -> list[np.ndarray]:
    labels = rng(2).integers(0, 4, 10)
    losses = [kr.losses.MulticlassHinge(1.5, variant, reduction="none") for variant in ("sum", "max")]
    return [y for loss in losses for y in with_gradient(lambda s, loss=loss: loss(labels, s), normal(10, 4))]


@feature("metrics.ExpectedCalibrationError")
def calibration_error() -> np.ndarray:
    p, labels = rng(1).dirichlet(np.ones(4), 50).astype("float32"), rng(2).integers(0, 4, 50)
    metric = kr.metrics.ExpectedCalibrationError(10)
    for part in np.split(np.arange(50), [20, 33]):
        metric.update_state(labels[part], p[part])
    return array(metric.result())


# -------------------------------------------------------------------------------------------------- verbs


def network(drop: bool = True) -> keras.Sequential:
    stack = [L.Dense(6, name="a"), kr.layers.BatchNormalization(name="bn"), L.ReLU()]
    stack += [kr.layers.Dropout(0.3, name="drop")] * drop + [L.Dense(3, name="b")]
    return filled(keras.Sequential([keras.Input((4,)), *stack]))


X, Y = normal(16, 4, seed=7), rng(8).integers(0, 3, 16)


@feature("calibrate")
def calibrate() -> list[np.ndarray]:
    model = network()
    report = kr.calibrate(model, X)
    return [*map(np.asarray, model.get_weights()), np.array([row.after for row in report.calibrated])]


@feature("check")
def check() -> np.ndarray:
    model = network()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rows = kr.check(model, X, Y).figures.kernels
    return np.array([[r.std, r.input_rms, r.predicted_rms, r.output_rms, r.gradient] for r in rows])


@feature("diagnostics.loss_sensitivity")
def loss_sensitivity() -> np.ndarray:
    model = network()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return np.array(kr.diagnostics.loss_sensitivity(model, X, Y, scale=0.1, repeats=3).changes)


@feature("reestimate")
def reestimate() -> list[np.ndarray]:
    model = network()
    kr.reestimate(model, X, batch_size=6, verbose=0)
    return list(map(np.asarray, model.get_weights()))


def outputs_of(verb: Callable[[keras.Model], keras.Model]) -> Feature:
    return lambda: array(verb(network())(X, training=False))


FEATURES["fold_batch_norm"] = outputs_of(kr.fold_batch_norm)
FEATURES["shrink"] = outputs_of(kr.shrink)
FEATURES["to_keras"] = outputs_of(kr.to_keras)


def trained(model: keras.Model, optimizer: Any = None, callbacks: Any = ()) -> keras.callbacks.History:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss)
    return model.fit(X, Y, batch_size=8, shuffle=False, epochs=2, verbose=0, callbacks=list(callbacks))


@feature("freeze_batch_norm, after four steps of SGD")
def freeze_batch_norm() -> list[np.ndarray]:
    model = kr.freeze_batch_norm(network(drop=False))
    trained(model)
    return list(map(np.asarray, model.get_weights()))


@feature("regularize, after four steps of SGD")
def regularize() -> list[np.ndarray]:
    model = kr.regularize(network(drop=False), {"*/kernel": kr.regularizers.ElasticNet(0.05)})
    return [np.array(trained(model).history["loss"]), *map(np.asarray, model.get_weights())]


@feature("decay_exclusions, after four steps of AdamW")
def decay_exclusions() -> list[np.ndarray]:
    model, optimizer = network(drop=False), keras.optimizers.AdamW(0.01, weight_decay=0.1)
    trained(model, kr.decay_exclusions(optimizer, model, ["*/bias"]))
    return list(map(np.asarray, model.get_weights()))


@feature("mc_predict, exact moments")
def mc_predict_exact() -> list[np.ndarray]:
    found = kr.mc_predict(network(), X, samples=4, exact_last_layer=True, seed=0, verbose=0)
    return [found.mean, found.variance]


@feature("mc_predict, mean and deviation of 4,000 passes")
def mc_predict_sampled() -> list[np.ndarray]:
    found = kr.mc_predict(network(), X, samples=4000, seed=0, verbose=0)
    return [found.mean, found.std]


@feature("tta_predict")
def tta_predict() -> list[np.ndarray]:
    model = filled(keras.Sequential([keras.Input((6, 5, 2)), L.Conv2D(2, 3, padding="same")]))
    flips = kr.augment.Pipeline([kr.augment.RandomFlip("both")], value_range=(0, 1))
    x = rng(4).uniform(0, 1, (4, 6, 5, 2)).astype("float32")
    found = kr.tta_predict(model, x, flips, samples=4, seed=0, dense=True, verbose=0)
    return [found.mean, found.variance]


@feature("callbacks.ActivationStats, its figures")
def activation_stats() -> list[np.ndarray]:
    stats = kr.callbacks.ActivationStats(every=1, gradients=True, diagnose=False)
    trained(network(drop=False), callbacks=[stats])
    names = ("mean", "std", "rms", "min", "max", "zeros", "gradient_norm", "update_ratio")
    return [np.array([row.get(name, 0.0) for name in names]) for row in stats.history]


@feature("callbacks.PenaltyReport, data_loss and shares")
def penalty_report() -> list[np.ndarray]:
    model = kr.regularize(network(drop=False), {"*/kernel": kr.regularizers.L2(0.05)})
    report = kr.callbacks.PenaltyReport()
    history = trained(model, callbacks=[report]).history
    return [np.array(history["data_loss"]), np.array([row["penalty"] for row in report.history])]


@feature("augment.Pipeline")
def pipeline() -> np.ndarray:
    steps = [kr.augment.RandomFlip(), kr.augment.RandomRotation(20), kr.augment.RandomContrast(0.3)]
    images = rng(3).integers(0, 256, (3, 8, 9, 3)).astype("uint8")
    return np.asarray(kr.augment.Pipeline(steps, seed=1)(images, draw=0)) / 255


@feature("uncertainty scores")
def scores() -> np.ndarray:
    p, labels = rng(1).dirichlet(np.ones(4), (5, 30)), rng(2).integers(0, 4, 30)
    mean, u = p.mean(0), kr.uncertainty
    single = [u.brier_score, u.negative_log_likelihood, u.expected_calibration_error]
    doubts = [u.predictive_entropy(p), u.expected_entropy(p), u.mutual_information(p)]
    return np.concatenate([[score(labels, mean) for score in single], *doubts])


# ----------------------------------------------------------------------------------------------- policies


@contextlib.contextmanager
def wide_numbers() -> Iterator[None]:
    """Have float64 where it is asked for; JAX cuts it to float32 unless told."""
    if ON != "jax":
        yield
        return
    import jax

    enable = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    with enable(True):
        yield


def policy_holds(name: str, policy: str) -> bool:
    """Whether a layer's output and gradient, in training and not, are finite and of the policy's type."""
    with wide_numbers():
        layer, shape = layer_of(name, dtype=policy), SHAPES.get(name, (8, 4))
        layer.build(shape)
        takes = "training" in type(layer).call.__code__.co_varnames
        for training in (False, True) if takes else (False,):
            how = {"training": training} if takes else {}
            x = normal(*shape).astype("float64" if policy == "float64" else "float32")
            y = layer(keras.ops.cast(x, layer.compute_dtype), **how)
            if keras.backend.standardize_dtype(y.dtype) != layer.compute_dtype:
                return False
            if not all(np.isfinite(part).all() for part in with_gradient(lambda x: layer(x, **how), x)):  # noqa: B023
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="*", help="names of features, for a quick look")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for name, compute in FEATURES.items():
        if args.only and name not in args.only:
            continue
        keras.utils.set_random_seed(0)
        entry: dict[str, Any] = {}
        try:
            parts = compute()
            parts = parts if isinstance(parts, list) else [parts]
            entry["numbers"] = [np.asarray(part, "float64").ravel().tolist() for part in parts]
            kind, _, layer = name.partition(".")
            if kind == "layers" and layer in kr.layers.__all__:
                entry["policies"] = {policy: policy_holds(layer, policy) for policy in POLICIES}
        except Exception as error:  # a feature that fails is a row of the table, not the end of it
            entry["error"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        found[name] = entry
    args.output.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
