"""tta_predict over the steps that are no matrix, and over a pipeline that rescales."""

import keras
import numpy as np
import pytest

import kerasreg as kr

A = kr.augment
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 8, 6, 1)).astype("float32")


def same():
    """A model that says what it sees."""
    return keras.Sequential([keras.Input((8, 6, 1)), keras.layers.Conv2D(1, 1, kernel_initializer="ones")])


def test_the_unchanged_view_is_in_the_units_of_the_others():
    pipeline = A.Pipeline([A.RandomFlip("both"), A.Rescale(2.0, -1.0)], value_range=(0, 1))
    found = kr.tta_predict(same(), IMAGES, pipeline, samples=4, seed=0, dense=True)
    np.testing.assert_allclose(found.mean, 2 * IMAGES - 1, atol=1e-5)


@pytest.mark.parametrize("exact", [False, True])
def test_views_through_tables_and_stencils_lie_where_they_were(exact):
    steps = [A.RandomFlip("both"), A.RandomSolarize(0.0, probability=1), A.RandomFlip(name="again")]
    pipeline = A.Pipeline(steps, value_range=(0, 1), exact=exact)
    found = kr.tta_predict(same(), IMAGES, pipeline, samples=5, seed=0, dense=True, return_samples=True)
    # The first view is the image itself; the others are negatives, led back through both flips.
    np.testing.assert_allclose(found.samples[1:], np.repeat(1 - IMAGES[None], 4, 0), atol=1e-5)
    blur = A.Pipeline([A.RandomFlip(), A.RandomGaussianBlur(0.0)], value_range=(0, 1))
    found = kr.tta_predict(same(), IMAGES, blur, samples=4, seed=0, dense=True)
    np.testing.assert_allclose(found.mean, IMAGES, atol=1e-5)


def test_what_is_erased_cannot_be_led_back():
    pipeline = A.Pipeline([A.RandomFlip(), A.RandomErasing()], value_range=(0, 1))
    with pytest.raises(ValueError, match=r"`pipeline` of tta_predict .* got RandomErasing; leave these out"):
        kr.tta_predict(same(), IMAGES, pipeline, samples=3, dense=True)
    found = kr.tta_predict(same(), IMAGES, pipeline, samples=3, seed=0)
    assert found.mean.shape == IMAGES.shape
