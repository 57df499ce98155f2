"""Batch-norm statistics measured anew, pooled exactly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, integer, refusal
from kerasreg._core.model_inputs import ModelInputs
from kerasreg._core.one_batch import check_fits
from kerasreg._core.progress import Progress
from kerasreg.batch_norm.finding import batch_norms, is_frozen, listing
from kerasreg.batch_norm.measuring import Figures, Measuring
from kerasreg.batch_norm.reestimation import Reestimation
from kerasreg.batch_norm.statistics import assign_all, new_values, numpy_of
from kerasreg.layers.moments import Moments


def reestimate(
    model: keras.Model,
    data: Any,
    steps: int | None = None,
    batch_size: int = 32,
    verbose: bool | str = "auto",
) -> Reestimation:
    """Measure the statistics of a model's batch norms anew over `data` (precise batch norm).

    For each batch norm and feature, over all values x that reach it in all batches and calls,

    ```
    mu = 1/n sum x,    sigma^2 = 1/n sum (x - mu)^2
    ```
    in place of moving averages, which lag behind the weights and forget all but the last batches. For weights
    that were averaged after their training (stochastic weight averaging, an optimizer with `use_ema=True`),
    moving averages are those of other weights: call this once the averaged weights are in the model.

    What it does: one forward pass over the data, in which every batch norm normalises with the mean and
    variance of its batch, as a whole, whatever `virtual_batch_size`, `renorm` or `normalize_with` say, and
    all else is in inference mode: dropout is off (unless it is on at inference too, with `mc=True`),
    augmentation layers do what they do in `predict`. A deeper layer's inputs are thus normalised batch by
    batch, as in training, and its statistics depend slightly on the batch size: take that of training, or a
    larger one. Batches merge by their counts, means and squared deviations, so a short last batch counts by
    its rows; masked positions do not count; a layer that is called several times pools its calls. Batch norms
    that are frozen, by `freeze_batch_norm` or `trainable = False`, normalise with their statistics and keep
    them.

    What it does not do: it draws no augmentation and does not shuffle; what is to be averaged over has to be
    in `data`. Nothing else of the model changes, no other weight, seed, metric or optimizer variable; and
    nothing at all where an error or Ctrl-C ends it, for the statistics are set at the end.

    Statistics beside mean and variance follow from them: those of `renorm`, and the count of
    `averaging="cumulative"` and `"debiased"`, which becomes the number of batches measured here.

    Args:
        model: A built model with batch norms, Keras' or kerasreg's: Functional, Sequential or subclassed.
        data: What `fit` takes: arrays, a tuple `(x, y)` or `(x, y, sample_weight)`, a `tf.data.Dataset` or
            `keras.utils.PyDataset` of inputs or such tuples, or an iterable of them. Targets and weights are
            not used. Several inputs are a list or a dict.
        steps: How many batches at most; has to be given for a dataset that repeats without end, and for a
            generator that does not stop.
        batch_size: Rows in a batch, where `data` are arrays.
        verbose: Whether to show a progress bar; `"auto"` shows one after 3 seconds.

    Returns:
        A `Reestimation`: how far each layer's statistics moved, as a table where it is printed.

    Raises:
        ValueError: If `model` is not a built model with a batch norm that is not frozen; if a batch norm is
            not reached, or runs inside a loop whose values cannot leave it; if a value that reaches a batch
            norm is not finite; if there is no data, or no end of it; or if an argument is not one of these.

    Source:
        Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3; Chan, Golub and LeVeque, "Updating
        Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(name="bn")])
        >>> report = kr.reestimate(model, np.arange(5.0)[:, None], batch_size=2)
        >>> [float(w[0]) for w in model.get_layer("bn").get_weights()[2:]]
        [2.0, 2.0]
        >>> print(report)
        layer        values  mean shift   variance
        bn                5     1.41 sd        x 2
        3 batches
    """
    paths = batch_norms("reestimate", model)
    steps = None if steps is None else integer("reestimate", "steps", steps, low=1)
    batch_size = integer("reestimate", "batch_size", batch_size, low=1)
    measured = {layer: path for layer, path in paths.items() if not is_frozen(layer)}
    if not measured:
        remedy = "freeze_batch_norm(model, False) or layer.trainable = True thaws them"
        came = Came(f"only frozen ones, {listing(paths.values())}")
        raise refusal("reestimate", "model", "a model with a batch norm that is not frozen", came, remedy)
    inputs = ModelInputs("reestimate", data, batch_size, steps)
    measure = Measuring.of(model, measured)
    pool, batches = _pool(model, measure, measured, inputs, verbose)
    missing = [path for path in measured.values() if path not in pool or not (pool[path].count > 0).all()]
    missing = [path for path in measured.values() if path in {*missing, *measure.hidden}]
    if missing:
        allowed = "a model whose every batch norm is called with values, outside of loops"
        remedy = "freeze those that inference does not use, with layer.trainable = False"
        raise refusal(
            "reestimate", "model", allowed, Came(f"none that could be seen for {listing(missing)}"), remedy
        )
    rows = tuple(_row(layer, path, pool[path]) for layer, path in measured.items())
    values = [value for layer, path in measured.items() for value in new_values(layer, pool[path], batches)]
    assign_all("reestimate", values)
    return Reestimation(batches, rows, tuple(path for layer, path in paths.items() if layer not in measured))


def _pool(
    model: keras.Model,
    measure: Measuring,
    paths: dict[keras.layers.Layer, str],
    inputs: ModelInputs,
    verbose: bool | str,
) -> tuple[dict[str, Moments], int]:
    """Each layer's moments over all batches, and how many batches there were."""
    pool: dict[str, Moments] = {}
    batches = 0
    progress = Progress("reestimate", verbose, inputs.total)
    for x in inputs:
        check_fits("reestimate", model, x, "data")
        figures: Figures = measure(x)
        batches += 1
        # In the model's order: what is not finite in one layer is not in those after it.
        for path in paths.values():
            for call in figures.get(path, ()):
                found = _moments(call)
                if not np.isfinite(found.mean).all() or not np.isfinite(found.squares).all():
                    came = Came(f"NaN or infinity at the input of '{path}' in batch {batches}")
                    raise refusal("reestimate", "data", "batches that stay finite throughout the model", came)
                pool[path] = pool[path].merge(found) if path in pool else found
        progress.add()
    progress.close()
    return pool, batches


def _moments(call: Any) -> Moments:
    count, origin, shift, variance = (
        np.asarray(keras.ops.convert_to_numpy(figure)).astype("float64") for figure in call[:4]
    )
    return Moments(count, origin + shift, variance * count)


def _row(layer: keras.layers.BatchNormalization, path: str, found: Moments) -> dict[str, Any]:
    old_mean, old_variance = (
        numpy_of(w).astype("float64") for w in (layer.moving_mean, layer.moving_variance)
    )
    variance = found.variance + layer.epsilon
    shift = np.sqrt(np.mean(np.square(found.mean - old_mean) / variance))
    ratio = np.exp(np.mean(np.log(variance) - np.log(np.maximum(old_variance, 0.0) + layer.epsilon)))
    return {
        "layer": path,
        "values": int(found.count.min()),
        "mean_shift": float(shift),
        "variance_ratio": float(ratio),
    }
