"""Monte Carlo prediction: marginalise at test the noise that was added in training."""

from __future__ import annotations

import secrets
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import flag, integer, number, refusal
from kerasreg._core.batches import as_taken, batches, number_of_batches
from kerasreg._core.one_batch import check_fits
from kerasreg._core.progress import Progress
from kerasreg.uncertainty.entropy import entropy
from kerasreg.uncertainty.no_noise import not_sampled, nothing_stochastic
from kerasreg.uncertainty.own_noise import NotSampled
from kerasreg.uncertainty.prediction import Prediction
from kerasreg.uncertainty.sampler import NothingStochastic, Report, Sampler, Setup


def mc_predict(
    model: keras.Model,
    x: Any,
    samples: int = 50,
    batch_size: int = 32,
    seed: int | None = None,
    tolerance: float | None = None,
    return_samples: bool = False,
    *,
    antithetic: bool = False,
    exact_last_layer: bool = False,
    verbose: bool | str = "auto",
) -> Prediction:
    """Predict with the dropout left on, many times, and say how much the predictions disagree.

    mean = 1/T sum_t f(x; noise_t), variance = 1/T sum_t (f(x; noise_t) - mean)^2. Keras' and kerasreg's
    stochastic layers are sampled, whatever their `mc`: the dropouts and noises, the dropout inside attention
    and inside recurrent layers (one mask for a row's whole sequence), and `ConcreteDropout`; so are layers of
    your own that draw from `keras.random`. Every other layer stays in inference mode, layers that augment
    images and what your own noisy layers hold among them. Nothing of the model changes: weights, statistics
    and seeds are untouched.

    What no noise reaches is computed once for each batch: in Sequential and functional models, nested ones
    too, every layer and operation that depends on no stochastic layer; in a subclassed model all layers that
    are called before the first stochastic one, and later those of Keras whose inputs come straight from such
    layers. What remains is repeated; `Prediction.prefix` and `tail` tell which layer is which. Small batches
    go through it several passes at a time, where all its operations are known to treat rows alone. Memory
    does not grow with `samples`. The passes are compiled once for each model, batch size and `samples`, and
    kept with the model, as `predict`'s are. A row that holds NaN says nothing about the others.

    Args:
        model: A built model, trained or not, whose outputs have one row for each row of the input.
        x: An array, a structure of arrays as the model takes, or a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches.
        samples: T, the number of passes, at least 2.
        batch_size: Rows in a compiled call; does not change the random numbers.
        seed: An integer for the same samples each time, whatever the batch size; None for new ones.
        tolerance: Stop a row's sampling once the standard error of each of its means is below this; looked at
            after every 8 passes. `Prediction.samples_used` tells how many each row took. A batch costs until
            its last row has stopped.
        return_samples: Whether to keep every pass in `Prediction.samples`.
        antithetic: Whether every second pass uses the mirror images 1 - u of the random numbers of the one
            before it. The mean gets more exact where the output is about monotone in them, and the standard
            error is that of the pairs' averages.
        exact_last_layer: Whether a `Dense` layer without activation that makes an output, right behind a
            dropout, is integrated in closed form: W h + b and sum W^2 h^2 p / (1 - p); only what is random in
            h is sampled. Where nothing is, the moments are exact and `samples_used` is 0.
        verbose: Whether to show a progress bar; `"auto"` for one where it would be on the screen for a while.

    Returns:
        A `Prediction`; its entropies are there where the output holds class probabilities.

    Raises:
        ValueError: If no stochastic layer is reached in the model, if a layer's noise cannot be told by seed
            and row (it draws from TensorFlow's own generators, from a gamma distribution, in a loop of its
            own, or in a recurrent cell without a `keras.layers.RNN`), or an argument is not as above.

    Source:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", 2016; Hammersley and Morton, "A new Monte
        Carlo technique: antithetic variates", 1956.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential(
        ...     [keras.Input((8,)), keras.layers.Dropout(0.5), keras.layers.Dense(3, "softmax")])
        >>> prediction = kr.mc_predict(model, np.ones((4, 8)), samples=20, seed=0)
        >>> prediction.mean.shape, bool((prediction.std > 0).all())
        ((4, 3), True)
    """
    samples = integer("mc_predict", "samples", samples, low=2)
    batch_size = integer("mc_predict", "batch_size", batch_size, low=1)
    # 31 bits: what every backend takes for a seed.
    seed = secrets.randbits(31) if seed is None else integer("mc_predict", "seed", seed, low=0) % 2**31
    if flag("mc_predict", "antithetic", antithetic) and (samples % 2 or samples < 4):
        allowed = "an even number of at least 4 where antithetic is True"
        raise refusal("mc_predict", "samples", allowed, samples, "passes come in pairs then")
    for name, value in (("return_samples", return_samples), ("exact_last_layer", exact_last_layer)):
        flag("mc_predict", name, value)
    if tolerance is not None:
        tolerance = number("mc_predict", "tolerance", tolerance, 0, open_low=True)
    if return_samples and (tolerance is not None or exact_last_layer):
        other, remedy = (
            ("tolerance", "rows would differ in passes")
            if tolerance is not None
            else ("exact_last_layer", "there would be no passes of what is exact")
        )
        raise refusal("mc_predict", "return_samples", f"False where {other} is given", True, remedy)
    setup = Setup(samples, antithetic, exact_last_layer, tolerance is not None, return_samples)
    progress = Progress("mc_predict", verbose, number_of_batches(x, batch_size))
    sampler = Sampler.of(model, "mc_predict")
    if all(rate == 0 for rate in sampler.stochastic().values()):
        raise nothing_stochastic("mc_predict", sampler, "a stochastic layer with a rate above 0", "none")

    parts, first_row, report = [], 0, Report()
    try:
        for batch, rows in batches("mc_predict", x, batch_size):
            check_fits("mc_predict", model, batch)
            found, report = sampler.run(
                setup, as_taken(model, batch), seed, first_row, rows, tolerance or 0.0
            )
            parts.append((keras.tree.map_structure(_numpy, found), rows))
            first_row += rows
            progress.add(1)
    except NothingStochastic:
        raise nothing_stochastic(
            "mc_predict", sampler, "a stochastic layer that the model calls", "none"
        ) from None
    except NotSampled as error:
        raise not_sampled("mc_predict", error) from error.cause
    progress.close()
    prediction = _of_samples(parts, report, antithetic) if return_samples else _of_moments(parts, report)
    if not any(variance.any() for variance in keras.tree.flatten(prediction.variance)):
        raise nothing_stochastic(
            "mc_predict", sampler, "noise that reaches the output", "a variance of 0 everywhere"
        )
    return prediction


def _of_moments(parts: list[tuple[dict[str, Any], int]], report: Report) -> Prediction:
    def rows_of(*columns: np.ndarray) -> np.ndarray:
        cut = [column[:rows] for column, (_, rows) in zip(columns, parts, strict=True)]
        return cut[0] if len(cut) == 1 else np.concatenate(cut)

    found = keras.tree.map_structure(rows_of, *(part for part, _ in parts))

    def figure(name: str) -> Any:
        return keras.tree.pack_sequence_as(report.structure, [output[name] for output in found["outputs"]])

    count = found["count"].astype("int64")
    return Prediction(
        figure("mean"),
        figure("variance"),
        np.zeros_like(count) if report.exact else count,
        None,
        figure("error"),
        _method(report),
        report.prefix,
        report.tail,
        _mean_entropy=figure("entropy"),
    )


def _of_samples(parts: list[tuple[list[np.ndarray], int]], report: Report, paired: bool) -> Prediction:
    columns = zip(*(part for part, _ in parts), strict=True)
    each = [rows for _, rows in parts]
    every = [
        np.concatenate([y[:, :rows] for y, rows in zip(column, each, strict=True)], axis=1)
        for column in columns
    ]

    def figure(formula: Any) -> Any:
        return keras.tree.pack_sequence_as(report.structure, [formula(y) for y in every])

    def error(y: np.ndarray) -> np.ndarray:
        units = y.reshape(-1, 2, *y.shape[1:]).mean(axis=1) if paired else y
        return units.std(axis=0, ddof=1) / len(units) ** 0.5

    count = len(every[0])
    return Prediction(
        figure(lambda y: y.mean(axis=0)),
        figure(lambda y: y.var(axis=0)),
        np.full(sum(each), count),
        figure(lambda y: y),
        figure(error),
        _method(report),
        report.prefix,
        report.tail,
        _mean_entropy=figure(lambda y: entropy(y).mean(axis=0)),
    )


def _method(report: Report) -> str:
    if report.exact:
        return "exact"
    return "prefix" if report.prefix else "whole"


def _numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))
