"""Views in perspective are led back to where the pixels were; sizes that change are kept in step."""

import numpy as np
import pytest

import kerasreg as kr
from kerasreg.augment import (
    Pipeline,
    RandomBrightness,
    RandomCrop,
    RandomPerspective,
    RandomRotation,
    RandomZoom,
)
from kerasreg.augment.views import Views, lead_back


def smooth_images(count, height, width):
    y, x = np.mgrid[:height, :width]
    return np.float32(
        np.stack([[np.sin(x / 6 + k), np.cos(y / 5 - k)] for k in range(count)]).transpose(0, 2, 3, 1)
    )


def test_a_view_in_perspective_is_led_back_to_the_image():
    images = smooth_images(4, 40, 48)
    steps = [RandomPerspective(0.4, probability=1), RandomRotation(20), RandomZoom((0.4, 0.4))]
    views = Views.of(Pipeline(steps, value_range=(-1, 1)), "test")
    view, matrices = views.draw(images, seed=1, sample=2, first_row=0)
    back, counts = lead_back(view, matrices, (40, 48))
    assert np.abs(view - images).max() > 0.5
    # A pixel counts where its place in the view, by the whole chain, is in the frame.
    y, x = np.mgrid[:40, :48] - np.array([19.5, 23.5])[:, None, None]
    places = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    for image, result, matrix, seen in zip(images, back, matrices[0], counts, strict=True):
        x, y, w = np.linalg.inv(matrix.astype(float)) @ places
        inside = (np.abs(x / w) < 24) & (np.abs(y / w) < 20) & (w > 0)
        np.testing.assert_array_equal(seen.ravel(), inside)
        # At its rim a view is interpolated with the fill.
        inner = (inside & (np.abs(x / w) < 23) & (np.abs(y / w) < 19)).reshape(40, 48)
        np.testing.assert_allclose(result[inner], image[inner], atol=0.06)
    assert 0.3 < counts.mean() < 0.99


def test_places_beyond_the_horizon_do_not_count():
    # The plane of the view is seen so far from the side that a part of the image is behind the viewer.
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0.09, 0, 1]], np.float32)
    matrices = np.linalg.inv(matrix).astype(np.float32)[None, None]
    _, counts = lead_back(np.zeros((1, 21, 41, 1), np.float32), matrices, (21, 41))
    x = np.arange(41) - 20
    w = 1 + 0.09 * x
    expected = (w > 0) & (np.abs(x) <= 20.5 * w)
    np.testing.assert_array_equal(counts[0, 10], expected)
    assert expected.any()
    assert not expected.all()


def test_crops_make_views_and_are_not_led_back():
    keras = pytest.importorskip("keras")
    images = np.random.default_rng(0).random((3, 10, 12, 1)).astype("float32")
    pipeline = Pipeline([RandomCrop((6, 8)), RandomBrightness(0.1), RandomCrop(5)], value_range=(0, 1))
    model = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.GlobalAveragePooling2D()])
    prediction = kr.tta_predict(model, images, pipeline, samples=4, seed=0, verbose=0)
    assert prediction.mean.shape == (3, 1)
    with pytest.raises(ValueError, match="RandomCrop, RandomCrop_1; leave these out"):
        kr.tta_predict(model, images, pipeline, samples=4, seed=0, verbose=0, dense=True)
