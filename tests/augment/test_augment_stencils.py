"""Sharpness, blur, noise and cut-outs against Pillow, SciPy and the distributions that they state."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, first_draw, fixed, random_images
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from kerasreg import augment
from kerasreg.augment import Pipeline, dispatch
from kerasreg.augment.erasing import rectangles
from kerasreg.augment.noise import box_muller
from kerasreg.augment.views import Views

IMAGES = random_images(3, 13, 16)
WHITE = np.full((400, 20, 30, 1), 255, np.uint8)


@pytest.mark.parametrize("factor", [0.0, 0.6, 2.5])
def test_sharpness_is_its_formula_and_pillows(factor):
    out = first_draw([fixed("RandomSharpness", factor)], IMAGES)
    kernel = np.float64([[1, 1, 1], [1, 5, 1], [1, 1, 1]])[..., None] / 13
    x = IMAGES.astype(float)
    smooth = x.copy()
    smooth[:, 1:-1, 1:-1] = np.stack([ndimage.correlate(image, kernel) for image in x])[:, 1:-1, 1:-1]
    expected = np.clip(smooth + factor * (x - smooth), 0, 255)
    np.testing.assert_allclose(out, expected, atol=1e-3)
    pillow = [ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor) for image in IMAGES]
    np.testing.assert_allclose(out, np.stack(pillow), atol=1.01 + 0.5 * factor)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 2.0, 9.0])
def test_blur_is_scipys(sigma):
    out = first_draw([augment.RandomGaussianBlur(sigma)], IMAGES)
    radius = max(1, int(np.ceil(3 * sigma)))
    expected = [
        ndimage.gaussian_filter(image.astype(float), sigma, radius=radius, axes=(0, 1)) if sigma else image
        for image in IMAGES
    ]
    np.testing.assert_allclose(out, expected, atol=2e-3)


def test_every_image_has_a_blur_of_its_own():
    pipeline = Pipeline([augment.RandomGaussianBlur((0.5, 2.5))])
    uniform = drawn(pipeline, 3).numpy()[:, 1]
    out = first_draw([augment.RandomGaussianBlur((0.5, 2.5))], IMAGES)
    for image, u, result in zip(IMAGES, uniform, out, strict=True):
        expected = ndimage.gaussian_filter(image.astype(float), 0.5 + 2 * u, radius=8, axes=(0, 1))
        np.testing.assert_allclose(result, expected, atol=2e-3)


def test_noise_is_normal_and_its_own_for_every_value():
    images = np.full((4, 40, 50, 3), 128, np.uint8)
    out = (first_draw([augment.RandomGaussianNoise(0.05)], images) - 128) / (0.05 * 255)
    for image in out:
        assert stats.kstest(image.ravel(), "norm").pvalue > 1e-4
        assert abs(np.corrcoef(image[..., 0].ravel(), image[..., 1].ravel())[0, 1]) < 0.08
        assert abs(np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1]) < 0.05
    assert np.abs(np.corrcoef(out.reshape(4, -1)) - np.eye(4)).max() < 0.05


def test_noise_has_the_deviation_that_was_drawn():
    images = np.full((200, 10, 20, 1), 0.5, np.float32)
    out = first_draw([augment.RandomGaussianNoise((0.02, 0.06))], images, value_range=(0, 1))
    deviations = out.std((1, 2, 3))
    assert stats.kstest(deviations, "uniform", (0.02, 0.04)).pvalue > 1e-3


def test_noise_is_finite_for_every_word():
    ends = tf.constant([0, 1 << 8, 0xFFFFFFFF, 1 << 31], tf.uint32)
    numbers = box_muller(ends[:, None], ends).numpy()
    assert np.all(np.isfinite(numbers))
    assert numbers[0, 0] == pytest.approx(np.sqrt(2 * 24 * np.log(2)))
    np.testing.assert_allclose(numbers[2], 0, atol=1e-6)


def test_noise_does_not_depend_on_the_batch():
    pipeline = Pipeline([augment.RandomGaussianNoise(0.1)])
    data = tf.data.Dataset.from_tensor_slices(random_images(6, 4, 5))
    whole = next(iter(data.batch(6).apply(pipeline)))
    parts = np.concatenate(list(data.batch(4).apply(pipeline)))
    np.testing.assert_allclose(parts, whole, atol=1e-3)


def holes(images):
    """The rectangles of zeros in white images, as (top, bottom, left, right)."""
    found = []
    for image in images[..., 0]:
        rows, columns = np.flatnonzero((image == 0).any(1)), np.flatnonzero((image == 0).any(0))
        assert len(rows) == 0 or (image == 0).sum() == len(rows) * len(columns)
        if len(rows):
            assert np.ptp(rows) == len(rows) - 1
            found.append((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    return np.array(found)


def test_erasing_cuts_rectangles_of_the_stated_size_anywhere():
    white = np.full((600, 40, 60, 1), 255, np.uint8)
    out = first_draw([augment.RandomErasing((0.1, 0.3), (0.5, 2.0), probability=0.5)], white)
    assert set(np.unique(out)) == {0, 255}
    top, bottom, left, right = holes(out).T
    assert abs(len(top) - 300) < 4 * np.sqrt(150)
    tall, wide = bottom - top, right - left
    area = tall * wide / 2400
    assert stats.kstest(area, "uniform", (0.1, 0.2)).pvalue > 1e-3
    assert np.log(tall / wide).min() > np.log(0.5) - 0.15
    assert np.log(tall / wide).max() < np.log(2) + 0.15
    assert abs(np.log(tall / wide).mean()) < 0.1
    # As often at the one edge as at the other, and everywhere between.
    for place, room in ((top, 40 - tall), (left, 60 - wide)):
        share = (place + 0.5) / (room + 1)
        assert stats.kstest(share, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("area", "ratio"), [(1.0, 1.0), (0.0, 1.0), (0.3, 50.0), (0.3, 0.02), (0.001, 1.0)])
def test_extreme_rectangles_lie_in_the_image(area, ratio):
    def column(value):
        return tf.fill([11], tf.constant(value, tf.float32))

    place = tf.linspace(0.0, 1.0 - 2.0**-24, 11)
    edges = rectangles(column(area), column(ratio), place, place, tf.constant(20.0), tf.constant(30.0))
    top, bottom, left, right = (edge.numpy() for edge in edges)
    assert np.all((top >= 0) & (bottom <= 20) & (left >= 0) & (right <= 30))
    np.testing.assert_allclose((bottom - top) * (right - left), area * 600, atol=11)
    assert np.all(((bottom - top) * (right - left) == 0) == (area == 0))


def test_what_is_erased_has_its_colour_in_any_range():
    steps = [augment.RandomErasing(1.0, fill_value=[10, 20, 300], probability=1)]
    np.testing.assert_array_equal(first_draw(steps, IMAGES)[0, 0, 0], [10, 20, 255])
    rescaled = first_draw([augment.Rescale(1 / 127.5, -1), *steps], IMAGES)
    np.testing.assert_allclose(rescaled[0, 0, 0], [10 / 127.5 - 1, 20 / 127.5 - 1, 1], atol=1e-6)
    with pytest.raises(ValueError, match="of 3 channels for RandomErasing, got 1"):
        Pipeline(steps)(WHITE[:1])


ALL = [
    augment.RandomFlip(),
    augment.RandomErasing(0.2, probability=0.7),
    augment.RandomErasing(0.1, fill_value=255, probability=1),
    augment.RandomGaussianBlur((0.3, 1.0), probability=0.6),
    augment.RandomSharpness(0.9),
    augment.RandomBrightness(0.1),
    augment.RandomGaussianNoise(0.02),
]


def test_steps_of_every_kind_in_order(monkeypatch):
    plan = Pipeline(ALL, seed=2).explain()
    assert [segment.kind for segment in plan.segments] == [
        "affine",
        "cut-out",
        "stencil",
        "stencil",
        "affine",
        "noise",
    ]
    text = str(plan)
    assert "RandomErasing, RandomErasing_1 -> written over the image" in text
    assert "RandomSharpness reads the finished pixels around each" in text
    assert "RandomGaussianNoise adds to the finished values" in text
    images = random_images(8, 9, 11)
    eager = first_draw(ALL, images, seed=2)
    assert np.all(np.abs(eager - images).max((1, 2, 3)) > 1)
    compiled = Pipeline(ALL, seed=2)(images)
    np.testing.assert_allclose(compiled, eager, atol=0.02)
    monkeypatch.setattr(dispatch, "has_xla", lambda: False)
    np.testing.assert_allclose(Pipeline(ALL, seed=2)(images), eager, atol=0.02)
    unknown = tf.data.Dataset.from_generator(
        lambda: iter(images), output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    ).apply(Pipeline(ALL, seed=2))
    assert [x.shape for x in unknown] == [(9, 11, 3)] * 8


@pytest.mark.parametrize(
    ("make", "attribute"),
    [
        (lambda p: augment.RandomSharpness((0.5, 2.0), probability=p), "factor"),
        (lambda p: augment.RandomGaussianBlur((0.5, 2.0), probability=p), "sigma"),
        (lambda p: augment.RandomGaussianNoise((0.5, 2.0), probability=p), "std"),
        (lambda p: augment.RandomAutoContrast(probability=p), None),
    ],
)
def test_draws_are_even_and_happen_as_often_as_stated(make, attribute):
    step = make(0.3)
    plan = Pipeline([step]).explain()
    uniform = drawn(Pipeline([step]), 2000)
    found = step.gated_numbers(tf.zeros([2000, 2, 2, 1]), uniform, plan.units)
    assert abs(found["fires"].numpy().mean() - 0.3) < 4 * np.sqrt(0.21 / 2000)
    if attribute:
        assert stats.kstest(found[attribute], "uniform", (0.5, 1.5)).pvalue > 1e-3
        # Whether an image is changed says nothing about by how much.
        assert abs(np.corrcoef(found[attribute], found["fires"])[0, 1]) < 0.1
    images = random_images(300, 5, 6) // 2
    changed = np.abs(first_draw([step], images) - images).max((1, 2, 3)) > 1e-3
    np.testing.assert_array_equal(changed, drawn(Pipeline([step]), 300)[:, 0] < 0.3)


def test_views_with_holes_cannot_be_led_back():
    assert Views.of(Pipeline(ALL), "t").one_way() == ["RandomErasing", "RandomErasing_1"]


def test_a_new_transform_of_pixels_needs_one_method():
    class Squared(augment.PixelTransform):
        def change(self, images, found, units):
            return tf.square(images / units.width) * units.width

    out = first_draw([Squared(probability=0.5)], np.full((300, 1, 1, 1), 51, np.uint8)).ravel()
    np.testing.assert_allclose(np.unique(out.round(3)), [10.2, 51])
    assert 110 < (out < 50).sum() < 190
