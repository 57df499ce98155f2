"""Gal and Ghahramani's regression on Boston housing: is Monte Carlo dropout's doubt as good as published?

python examples/uncertainty_regression.py            20 splits, about four minutes on two cores
python examples/uncertainty_regression.py --quick    does it run?

The protocol, as the authors gave it up to 2018: 20 random splits into 90 % training and 10 % test data; a net
of two hidden layers of 50 ReLU units with dropout before every layer, L2 of l^2 (1 - p) / (2 N tau) with
l = 0.01 on the kernels, Adam, batches of 128, 4000 epochs, standardised inputs and targets. The dropout rate
p and the precision tau of the noise are those with the best log-likelihood on the last fifth of the training
data, which nothing was trained on; the net is then trained anew on all training data and asked once about the
test data, with 10 000 passes:

    LL = logsumexp_t(-tau/2 (y - y_t)^2) - log T - 1/2 log 2 pi + 1/2 log tau

The nets of all splits are one Keras model and train at once: each layer is an `EinsumDense` with a kernel for
every net. Two things are ours: the splits (seeds 0 to 19; the authors' lists of rows do not come with the
data), and that in the search one net serves all values of tau, with the L2 of the middle one, about a
millionth. The net that is tested has the L2 of its own tau.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from regression_report import draw, report

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"
RATES = (0.005, 0.01, 0.05, 0.1)
TAUS = (0.0799, 0.1597, 0.3194)
LENGTH_SCALE = 0.01
BATCH = 128
# RMSE and log-likelihood, each with its standard error over 20 splits.
PUBLISHED = {
    "Gal and Ghahramani, 2016": (2.97, 0.19, -2.46, 0.06),
    "Mukhoti, Stenetorp and Gal, 2018, tuned": (2.90, 0.18, -2.40, 0.04),
}


class Setting(NamedTuple):
    """What all nets share."""

    splits: int
    hidden: tuple[int, ...]
    epochs: int
    search_passes: int
    passes: int


FULL = Setting(20, (50, 50), 4000, 1000, 10_000)
QUICK = Setting(2, (20,), 40, 50, 200)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, batches and dropout; not of the splits"
    )
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON file and the picture")
    parser.add_argument("--quick", action="store_true", help="two splits, few epochs: does it run?")
    return parser.parse_args()


def boston() -> tuple[np.ndarray, np.ndarray]:
    """13 figures on each of 506 districts, and the median price of their homes in 1000 $."""
    from mlxtend.data import boston_housing_data

    x, y = boston_housing_data()
    return x.astype("float32"), y.astype("float32")[:, None]


def split(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the training data and those of the test data, a tenth."""
    order = np.random.default_rng(seed).permutation(rows)
    test = round(rows / 10)
    return order[test:], order[:test]


def stacked(values: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
    """The data of several nets side by side, of shape (rows, nets, features)."""
    return np.stack([values[of_net] for of_net in rows], axis=1)


def weight_decay(rate: float, tau: np.ndarray, rows: int) -> np.ndarray:
    return LENGTH_SCALE**2 * (1 - rate) / (2 * rows * tau)


class EachItsOwnDecay(keras.regularizers.Regularizer):
    """The sum over the nets of a strength of its own times the net's squared weights."""

    def __init__(self, strengths: np.ndarray) -> None:
        self.strengths = np.asarray(strengths, "float32")

    def __call__(self, x: Any) -> Any:
        """The penalty of kernels of shape (nets, inputs, units)."""
        return ops.sum(self.strengths * ops.sum(ops.square(x), axis=(1, 2)))

    def get_config(self) -> dict[str, Any]:
        """The strengths as numbers."""
        return {"strengths": self.strengths.tolist()}


def build(nets: int, inputs: int, hidden: Sequence[int], rate: float, decay: np.ndarray, seed: int) -> Any:
    """`nets` independent networks as one model: (rows, nets, inputs) to (rows, nets, 1)."""
    layers = [keras.Input((nets, inputs))]
    for i, units in enumerate((*hidden, 1)):
        # Glorot's initializer, of each net's own kernel.
        glorot = kr.initializers.Calibrated(
            "linear",
            fan="average",
            distribution="uniform",
            input_axes=(1,),
            batch_axes=(0,),
            seed=100 * seed + i,
        )
        layers += [
            kr.layers.Dropout(rate),
            keras.layers.EinsumDense(
                "bni,nio->bno",
                (nets, units),
                bias_axes="no",
                activation="relu" if i < len(hidden) else None,
                kernel_initializer=glorot,
                kernel_regularizer=EachItsOwnDecay(decay),
            ),
        ]
    return keras.Sequential(layers)


def sum_of_losses(y: Any, prediction: Any) -> Any:
    """The nets' squared errors, summed over the nets: each gets the gradient that it would get alone."""
    return ops.sum(ops.square(y - prediction), axis=(1, 2))


def train(x: np.ndarray, y: np.ndarray, rate: float, tau: np.ndarray, setting: Setting, seed: int, bar: Any):
    """The trained nets as one model, from figures to 1000 $."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    rows, nets, features = x.shape
    # A mean and a deviation for each net's own training data.
    inputs, target = kr.layers.Normalization(axis=(-2, -1)), kr.layers.Normalization(axis=(-2, -1))
    inputs.adapt(x)
    target.adapt(y)
    pairs = tuple(np.asarray(ops.convert_to_numpy(part)) for part in (inputs(x), target(y)))

    net = build(nets, features, setting.hidden, rate, weight_decay(rate, tau, rows), seed)
    at_once = min(100, setting.epochs)
    steps = at_once * math.ceil(rows / BATCH)
    # The steps are small: one call for many, and an "epoch" of Keras for each mark of the progress bar.
    net.compile(
        "adam", sum_of_losses, steps_per_execution=steps, jit_compile=keras.backend.backend() == "jax"
    )
    batches = tf.data.Dataset.from_tensor_slices(pairs).shuffle(rows, seed=seed).batch(BATCH).repeat()
    mark = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.add(at_once * nets))
    net.fit(
        batches.prefetch(tf.data.AUTOTUNE),
        steps_per_epoch=steps,
        epochs=math.ceil(setting.epochs / at_once),
        shuffle=False,
        verbose=0,
        callbacks=[mark],
    )
    back = kr.layers.Normalization(
        axis=(-2, -1), mean=target.mean[0], variance=target.variance[0], invert=True
    )
    return keras.Sequential([keras.Input((nets, features)), inputs, net, back])


def search(
    x: np.ndarray, y: np.ndarray, rows: list[np.ndarray], setting: Setting, seed: int, bar: Any
) -> np.ndarray:
    """The log-likelihoods on the validation data, of shape (splits, rates, taus)."""
    fit_rows = [of_net[: int(0.8 * len(of_net))] for of_net in rows]
    held_out = [of_net[int(0.8 * len(of_net)) :] for of_net in rows]
    found = np.empty((len(rows), len(RATES), len(TAUS)))
    for i, rate in enumerate(RATES):
        middle = np.full(len(rows), TAUS[len(TAUS) // 2])
        model = train(stacked(x, fit_rows), stacked(y, fit_rows), rate, middle, setting, seed + i, bar)
        drawn = passes(model, stacked(x, held_out), setting.search_passes, seed)
        answers = stacked(y, held_out)
        for net in range(len(rows)):
            found[net, i] = [log_likelihood(answers[:, net], drawn[:, :, net], tau) for tau in TAUS]
    return found


def choose(found: np.ndarray) -> list[tuple[float, float]]:
    """For each split the rate and tau with the best log-likelihood."""
    best = [np.unravel_index(of_split.argmax(), of_split.shape) for of_split in found]
    return [(RATES[i], TAUS[j]) for i, j in best]


def passes(model: keras.Model, x: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Predictions with the dropout on, of shape (passes, rows, nets, 1)."""
    return kr.mc_predict(
        model, x, samples=count, batch_size=len(x), seed=seed, return_samples=True, verbose=False
    ).samples


def log_likelihood(y: np.ndarray, samples: np.ndarray, tau: float) -> float:
    return kr.uncertainty.gaussian_mixture_log_likelihood(y, samples, tau=tau)


def test(
    x: np.ndarray,
    y: np.ndarray,
    splits: list[tuple[np.ndarray, np.ndarray]],
    chosen: list[tuple[float, float]],
    setting: Setting,
    seed: int,
    bar: Any,
) -> list[dict[str, Any]]:
    """What each split's net says of its test data, trained with the chosen rate and tau."""
    records = []
    for i, rate in enumerate(RATES):
        mine = [s for s, (best, _) in enumerate(chosen) if best == rate]
        if not mine:
            continue
        rows, asked = [splits[s][0] for s in mine], [splits[s][1] for s in mine]
        tau = np.array([chosen[s][1] for s in mine])
        model = train(stacked(x, rows), stacked(y, rows), rate, tau, setting, seed + 10 + i, bar)
        inputs, answers = stacked(x, asked), stacked(y, asked)
        drawn = passes(model, inputs, setting.passes, seed)
        # The usual prediction, as if it were the only pass.
        off = model.predict(inputs, batch_size=len(inputs), verbose=0)[None]
        records += [
            record(s, chosen[s], answers[:, net], drawn[:, :, net], off[:, :, net])
            for net, s in enumerate(mine)
        ]
    return sorted(records, key=lambda found: found["split"])


def record(
    number: int, chosen: tuple[float, float], y: np.ndarray, drawn: np.ndarray, off: np.ndarray
) -> dict[str, Any]:
    """One split's figures on its test data."""
    rate, tau = chosen
    mean, std = drawn.mean(axis=0, dtype="float64"), drawn.std(axis=0, dtype="float64")
    return {
        "split": number,
        "rate": rate,
        "tau": tau,
        "rmse": root_mean_square(y - mean),
        "log_likelihood": log_likelihood(y, drawn, tau),
        "rmse_dropout_off": root_mean_square(y - off[0]),
        "log_likelihood_dropout_off": log_likelihood(y, off, tau),
        "price": [round(float(value), 1) for value in y[:, 0]],
        "mean": [round(float(value), 2) for value in mean[:, 0]],
        "std": [round(float(value), 3) for value in std[:, 0]],
    }


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype="float64"))))


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "uncertainty_regression_quick") if args.quick else RESULTS)

    tf.get_logger().setLevel("ERROR")  # It warns of as many traces as there are models.
    setting = QUICK if args.quick else FULL
    started = time.monotonic()
    x, y = boston()
    splits = [split(len(x), s) for s in range(setting.splits)]
    print(f"Boston housing: {len(x)} districts, {setting.splits} splits, {setting.epochs} epochs")
    bar = keras.utils.Progbar((len(RATES) + 1) * setting.splits * setting.epochs, unit_name="epoch")
    found = search(x, y, [rows for rows, _ in splits], setting, args.seed, bar)
    records = test(x, y, splits, choose(found), setting, args.seed, bar)
    minutes, of_cores = (time.monotonic() - started) / 60, time.process_time() / 60

    content = {
        "setting": setting._asdict(),
        "seed": args.seed,
        "minutes": round(minutes, 1),
        "core_minutes": round(of_cores, 1),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "kerasreg": kr.__version__,
        "rates": RATES,
        "taus": TAUS,
        "validation": np.round(found, 4).tolist(),
        "splits": records,
    }
    print(f"\n{report(content, PUBLISHED)}")
    if args.quick:
        print("\nA quick run shows that the example runs; it says nothing about Monte Carlo dropout.")
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "uncertainty_regression.json"
    path.write_text(json.dumps(content) + "\n")
    draw(content, PUBLISHED, path.with_suffix(".png"))
    print(
        f"\nwritten to {path} and {path.with_suffix('.png').name}, after {minutes:.1f} minutes "
        f"({of_cores:.1f} of one core)"
    )


if __name__ == "__main__":
    main()
