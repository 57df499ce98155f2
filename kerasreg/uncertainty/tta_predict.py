"""Test-time augmentation: average what a model says about random views of each image."""

from __future__ import annotations

import secrets
from typing import Any

import keras
import numpy as np

from kerasreg._core.arguments import Came, flag, integer, refusal
from kerasreg._core.batches import as_taken, batches, number_of_batches
from kerasreg._core.one_batch import check_fits
from kerasreg._core.progress import Progress
from kerasreg.uncertainty.inference import Inference
from kerasreg.uncertainty.no_noise import not_sampled, nothing_stochastic
from kerasreg.uncertainty.own_noise import NotSampled
from kerasreg.uncertainty.prediction import Prediction
from kerasreg.uncertainty.sampler import NothingStochastic, Sampler, Setup
from kerasreg.uncertainty.view_moments import ViewMoments

_OWNER = "tta_predict"


def tta_predict(
    model: keras.Model,
    x: Any,
    pipeline: Any,
    samples: int = 8,
    seed: int | None = None,
    dense: bool = False,
    *,
    dropout_samples: int = 0,
    batch_size: int = 32,
    return_samples: bool = False,
    verbose: bool | str = "auto",
) -> Prediction:
    """Predict for random views of each image, and average; how much the views disagree is the variance.

    mean = 1/S sum_s f(a_s(x)), variance = 1/S sum_s (f(a_s(x)) - mean)^2, with the pipeline's transforms a_s
    drawn anew for each image and sample. Nothing of the model changes, nor the pipeline's own state; every
    layer is in inference mode, and `mc=True` is silenced. (A layer of your own that draws in inference mode
    too draws the same for each view, unless `dropout_samples` has it sampled.)

    With `dropout_samples=T` each view takes T passes with dropout, as `mc_predict` makes them. The variance
    over all S T passes falls into two parts by the law of total variance: `variance_of["augmentation"]`, of
    the views' means, and `variance_of["dropout"]`, within the views. The second is the unbiased estimate,
    with T - 1. The views' means hold a T-th of it, as a mean of T passes is noisy itself; that is taken out
    of the first, which is about 0 where only dropout is random, and cut at 0. The two sum to `variance`,
    which is divided by the number of passes, as that of `mc_predict`, and so is low by a factor of 1 - 1 / S
    at most.

    With `dense=True` outputs of shape (rows, height, width, channels) are mapped back, bilinearly, to the
    image that was given before they are averaged; other outputs are averaged as they are. A pixel that left a
    view's frame does not vote, and `Prediction.votes` tells how many views each was averaged over. The first
    view is then the image as it is, so that every pixel has a vote; where that is the only one, the standard
    error is infinite. Outputs may be smaller or larger than the images, as long as they show the same frame.
    Their values are moved, not turned: a field of vectors is not for this.

    Args:
        model: A built model, trained or not, whose outputs have one row for each row of the input.
        x: Images of shape (rows, height, width, channels) in the pipeline's `value_range`; or a structure of
            arrays as the model takes, in which the images are the one array of rank 4 or, among several, the
            entry `"images"`; or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches.
        pipeline: A `kr.augment.Pipeline`. Its seed does not matter here.
        samples: S, the number of views, at least 2.
        seed: An integer for the same views each time, whatever the batch size; None for new ones.
        dense: Whether to map outputs back through the geometry.
        dropout_samples: T, the number of passes with dropout for each view, at least 2; 0 for none.
        batch_size: Rows in a compiled call; does not change the random numbers.
        return_samples: Whether to keep every pass in `Prediction.samples`, all of a view's after each other.
            Where a pixel did not vote it is NaN.
        verbose: Whether to show a progress bar; `"auto"` for one where it would be on the screen for a while.

    Returns:
        A `Prediction`; its entropies are there where the output holds class probabilities.

    Raises:
        ValueError: If an argument is not one of the above, if `dense=True` and the pipeline holds a transform
            that cannot be inverted or no output has four axes, or if there is no dropout to sample.

    Source:
        Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
        2012; Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for medical image
        segmentation with convolutional neural networks", 2019.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, padding="same")])
        >>> pipeline = kr.augment.Pipeline([kr.augment.RandomFlip()], value_range=(0, 1))
        >>> prediction = kr.tta_predict(model, np.ones((4, 8, 8, 1)), pipeline, seed=0, dense=True)
        >>> prediction.mean.shape, int(prediction.votes.min())
        ((4, 8, 8, 2), 8)
    """
    # TensorFlow's: who does without it does without views too.
    from kerasreg.augment.views import Views

    samples = integer(_OWNER, "samples", samples, low=2)
    batch_size = integer(_OWNER, "batch_size", batch_size, low=1)
    seed = secrets.randbits(31) if seed is None else integer(_OWNER, "seed", seed, low=0) % 2**31
    flag(_OWNER, "dense", dense)
    flag(_OWNER, "return_samples", return_samples)
    if integer(_OWNER, "dropout_samples", dropout_samples, low=0) == 1:
        raise refusal(_OWNER, "dropout_samples", "0 or at least 2", 1, "one pass has no variance")
    views = Views.of(pipeline, _OWNER)
    if views.mixes():
        came = Came(", ".join(views.mixes()))
        raise refusal(_OWNER, "pipeline", "a pipeline that mixes no images", came, "leave these out")
    if dense and views.one_way():
        allowed = "a pipeline of transforms that can be inverted where dense is True"
        raise refusal(_OWNER, "pipeline", allowed, Came(", ".join(views.one_way())), "leave these out")
    model_passes = _Dropout(model, dropout_samples, seed) if dropout_samples else _Plain(model)
    progress = Progress(_OWNER, verbose, number_of_batches(x, batch_size))

    parts, first_row = [], 0
    for batch, rows in batches(_OWNER, x, batch_size):
        place = _place_of_images(batch)
        images = keras.tree.flatten(batch)[place]
        views.check(images)
        # A view that nobody has drawn yet: to draw one may have to be compiled.
        view = np.broadcast_to(np.zeros((), images.dtype), views.shape(images.shape))
        check_fits(_OWNER, model, _with_images(batch, place, view))
        moments: list[ViewMoments] = []
        kept: list[list[np.ndarray]] = []
        for sample in range(samples):
            matrices = None
            if dense and sample == 0:
                view = views.unchanged(images)
            else:
                view, matrices = views.draw(images, seed, sample, first_row)
            seen = as_taken(model, _with_images(batch, place, view))
            outputs = model_passes.run(seen, sample, first_row, rows)
            moments = moments or [ViewMoments() for _ in outputs]
            kept = kept or [[] for _ in outputs]
            if dense and all(passes.ndim != 5 for passes in outputs):
                shapes = ", ".join(str(passes.shape[1:]) for passes in outputs)
                allowed = (
                    "a model with an output of shape (rows, height, width, channels) where dense is True"
                )
                raise refusal(_OWNER, "model", allowed, Came(f"outputs of shape {shapes}"))
            for passes, of_output, every in zip(outputs, moments, kept, strict=True):
                counts = None
                if dense and passes.ndim == 5:
                    passes, counts = _led_back(passes, matrices, images.shape[1:3])
                of_output.add(passes, counts)
                if return_samples:
                    every.append(passes if counts is None else np.where(counts[..., None], passes, np.nan))
        progress.add(1)
        found = [
            {**of_output.finish(), "samples": np.concatenate(every).swapaxes(0, 1) if every else None}
            for of_output, every in zip(moments, kept, strict=True)
        ]
        parts.append([{k: v if v is None else v[:rows] for k, v in figures.items()} for figures in found])
        first_row += rows
    progress.close()
    return _prediction(parts, model_passes.structure, samples, dropout_samples, dense, return_samples)


class _Plain:
    """One pass without noise."""

    def __init__(self, model: keras.Model) -> None:
        self._inference = Inference.of(model, _OWNER)

    @property
    def structure(self) -> Any:
        return self._inference.structure

    def run(self, x: Any, sample: int, first_row: int, rows: int) -> list[np.ndarray]:
        return [y[None] for y in self._inference.run(x)]


class _Dropout:
    """Some passes with dropout, other noise for each view."""

    def __init__(self, model: keras.Model, passes: int, seed: int) -> None:
        self._sampler = Sampler.of(model, _OWNER)
        self._setup = Setup(passes, keeps=True)
        self._seed = seed
        self.structure: Any = None
        if all(rate == 0 for rate in self._sampler.stochastic().values()):
            raise nothing_stochastic(_OWNER, self._sampler, "a stochastic layer with a rate above 0", "none")

    def run(self, x: Any, sample: int, first_row: int, rows: int) -> list[np.ndarray]:
        # A seed of its own for each view, unlike those of other calls with neighbouring seeds.
        seed = int(np.random.SeedSequence([self._seed, sample]).generate_state(1)[0] >> 1)
        try:
            every, report = self._sampler.run(self._setup, x, seed, first_row, rows, 0.0)
        except NothingStochastic:
            words = "a stochastic layer that the model calls"
            raise nothing_stochastic(_OWNER, self._sampler, words, "none") from None
        except NotSampled as error:
            raise not_sampled(_OWNER, error) from error.cause
        self.structure = report.structure
        return [np.asarray(keras.ops.convert_to_numpy(y)) for y in every]


def _place_of_images(batch: Any) -> int:
    """Which of the flattened arrays holds the images."""
    arrays = keras.tree.flatten(batch)
    found = [i for i, array in enumerate(arrays) if array.ndim == 4]
    if len(found) > 1 and isinstance(batch, dict) and "images" in batch:
        found = [i for i in found if arrays[i] is batch["images"]]
    if len(found) != 1:
        allowed = "images of shape (rows, height, width, channels), one array of rank 4 or the entry 'images'"
        raise refusal(_OWNER, "x", allowed, Came(f"shapes {[array.shape for array in arrays]}"))
    return found[0]


def _with_images(batch: Any, place: int, images: np.ndarray) -> Any:
    arrays = keras.tree.flatten(batch)
    arrays[place] = images
    return keras.tree.pack_sequence_as(batch, arrays)


def _led_back(
    passes: np.ndarray, matrices: np.ndarray | None, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The passes over one view at the places of the image, and which pixels count."""
    from kerasreg.augment.views import lead_back

    if matrices is None:
        return passes, np.ones(passes.shape[1:4], bool)
    # All passes saw one view, and go back together, as channels.
    count, rows, height, width, channels = passes.shape
    together = np.moveaxis(passes, 0, 3).reshape(rows, height, width, count * channels)
    moved, counts = lead_back(together, matrices, image_size)
    return np.moveaxis(moved.reshape(rows, height, width, count, channels), 3, 0), counts


def _prediction(
    parts: list[list[dict[str, Any]]],
    structure: Any,
    samples: int,
    dropout_samples: int,
    dense: bool,
    return_samples: bool,
) -> Prediction:
    def figure(name: str) -> Any:
        columns = [[figures[name] for figures in column] for column in zip(*parts, strict=True)]
        return keras.tree.pack_sequence_as(structure, [np.concatenate(column) for column in columns])

    every = (
        keras.tree.map_structure(lambda y: y.swapaxes(0, 1), figure("samples")) if return_samples else None
    )
    sources = ("augmentation", "dropout") if dropout_samples else ()
    rows = sum(len(part[0]["mean"]) for part in parts)
    return Prediction(
        figure("mean"),
        figure("variance"),
        np.full(rows, samples * max(dropout_samples, 1)),
        every,
        figure("error"),
        "views",
        variance_of={source: figure(source) for source in sources} or None,
        votes=figure("votes") if dense else None,
        _mean_entropy=figure("entropy"),
    )
