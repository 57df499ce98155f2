"""Tables of values against Pillow and NumPy, on bytes and in other ranges, and how a plan sets them apart."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import first_draw, fixed, random_images
from PIL import Image, ImageOps

from kerasreg import augment
from kerasreg.augment import Pipeline, dispatch
from kerasreg.augment.histogram import equalizing_tables, histograms

# Dark and narrow, so that stretching and equalizing have something to do; one channel of a single value.
IMAGES = np.random.default_rng(3).normal(90, 20, (3, 21, 24, 3)).clip(30, 200).astype(np.uint8)
IMAGES[1, ..., 2] = 77


def by_pillow(operation, images):
    return np.stack([np.asarray(operation(Image.fromarray(image))) for image in images])


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_posterize_keeps_the_highest_bits(bits):
    images = random_images(2, 12, 40)
    out = first_draw([augment.RandomPosterize(bits, probability=1)], images)
    np.testing.assert_array_equal(out, images & np.uint8(256 - 2 ** (8 - bits)))
    np.testing.assert_array_equal(out, by_pillow(lambda image: ImageOps.posterize(image, bits), images))


def test_posterize_draws_every_number_of_bits_alike():
    images = np.full((900, 1, 1, 1), 255, np.uint8)
    out = first_draw([augment.RandomPosterize((2, 4), probability=1)], images).ravel()
    counts = [(out == value).sum() for value in (192, 224, 240)]
    assert sum(counts) == 900
    assert min(counts) > 240


@pytest.mark.parametrize("threshold", [0.25, 0.5, 1.0])
def test_solarize_inverts_what_is_bright(threshold):
    images = random_images(2, 12, 40)
    out = first_draw([augment.RandomSolarize(threshold, probability=1)], images)
    np.testing.assert_array_equal(out, np.where(images < threshold * 255, images, 255 - images))
    expected = by_pillow(lambda image: ImageOps.solarize(image, threshold * 255), images)
    np.testing.assert_array_equal(out, expected)


def test_solarize_draws_its_threshold_evenly():
    ramp = np.tile(np.arange(100, 200, dtype=np.uint8)[None, None, :, None], (500, 1, 1, 1))
    out = first_draw([augment.RandomSolarize((0.4, 0.6), probability=1)], ramp)
    kept = (out == ramp).sum((1, 2, 3)) + 100
    assert kept.min() >= 102
    assert kept.max() <= 153
    assert abs(kept.mean() - 127.5) < 3
    assert kept.std() == pytest.approx(51 / np.sqrt(12), rel=0.15)


def test_equalize_is_pillows():
    for images in (IMAGES, random_images(2, 40, 40), IMAGES[:, :2, :3]):
        out = first_draw([augment.RandomEqualize(1)], images)
        np.testing.assert_array_equal(out, by_pillow(ImageOps.equalize, images))


def test_histograms_count():
    counts = histograms(tf.constant(IMAGES, tf.float32)).numpy()
    for image, channels in zip(IMAGES, counts, strict=True):
        for c in range(3):
            np.testing.assert_array_equal(channels[c], np.bincount(image[..., c].ravel(), minlength=256))
    tables = equalizing_tables(tf.constant(counts)).numpy()
    assert np.all(np.diff(tables, axis=-1) >= 0)


def test_equalize_goes_between_levels_without_steps():
    between = first_draw([augment.RandomEqualize(1)], IMAGES.astype(np.float32) + 0.25)
    tables = equalizing_tables(histograms(tf.constant(IMAGES, tf.float32))).numpy()
    for image, table, result in zip(IMAGES, tables, between, strict=True):
        for c in range(3):
            expected = np.interp(image[..., c] + 0.25, np.arange(256), table[c])
            np.testing.assert_allclose(result[..., c], expected, atol=1e-3)


def test_auto_contrast_fills_the_range():
    out = first_draw([augment.RandomAutoContrast(1)], IMAGES)
    x = IMAGES.astype(float)
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    with np.errstate(all="ignore"):
        expected = np.where(high > low, (x - low) / (high - low) * 255, x)
    np.testing.assert_allclose(out, expected, atol=1e-3)
    assert np.all(out[1, ..., 2] == 77)
    # Pillow cuts off what is behind the point.
    pillow = by_pillow(ImageOps.autocontrast, IMAGES)
    assert np.all((out - pillow > -1e-3) & (out - pillow < 1.001))


TABLES = [
    augment.RandomPosterize(3, probability=1),
    augment.RandomSolarize(0.3, probability=1),
    augment.RandomEqualize(1),
    augment.RandomAutoContrast(1),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1)])
def test_the_range_of_the_values_does_not_matter(table, value_range):
    low, high = value_range
    scale = (high - low) / 255
    images = (low + IMAGES * scale).astype(np.float32)
    expected = low + first_draw([table], IMAGES) * scale
    np.testing.assert_allclose(first_draw([table], images, value_range=value_range), expected, atol=1e-4)
    rescaled = first_draw([augment.Rescale(scale, low), table], IMAGES)
    np.testing.assert_allclose(rescaled, expected, atol=1e-4)


def test_neighbouring_tables_are_one_step_and_act_in_order(monkeypatch):
    plan = Pipeline(TABLES).explain()
    assert [segment.kind for segment in plan.segments] == ["table"]
    assert "table: RandomPosterize, RandomSolarize, RandomEqualize, RandomAutoContrast -> value by" in str(
        plan
    )
    chain = IMAGES
    for table in TABLES:
        chain = first_draw([table], chain)
    np.testing.assert_allclose(first_draw(TABLES, IMAGES), chain, atol=1e-3)
    assert np.abs(first_draw(TABLES[::-1], IMAGES) - chain).max() > 10
    compiled = Pipeline(TABLES)(IMAGES)
    np.testing.assert_allclose(compiled, chain, atol=1e-2)
    monkeypatch.setattr(dispatch, "has_xla", lambda: False)
    np.testing.assert_allclose(Pipeline(TABLES)(IMAGES), compiled, atol=1e-2)


def test_a_table_is_given_values_inside_the_range():
    steps = [fixed("RandomBrightness", 0.5), augment.RandomAutoContrast(1)]
    x = np.minimum(IMAGES[2:] + 127.5, 255)
    assert x.max() == 255
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    np.testing.assert_allclose(first_draw(steps, IMAGES[2:]), (x - low) / (high - low) * 255, atol=1e-3)


def test_a_plan_tells_why_a_table_is_apart():
    steps = [
        augment.RandomRotation(10),
        augment.RandomBrightness(0.1),
        augment.RandomPosterize(4),
        augment.RandomEqualize(),
        augment.RandomZoom(0.1),
    ]
    plan = Pipeline(steps).explain()
    assert str(plan) == (
        "5 transforms in 3 steps\n"
        "1. geometry: RandomRotation -> one bilinear warp, fill reflect\n"
        "   colour: RandomBrightness -> one affine map per image\n"
        "2. table: RandomPosterize, RandomEqualize -> value by value\n"
        "   apart from the step before: RandomPosterize is a table of values, no affine map\n"
        "3. geometry: RandomZoom -> one bilinear warp, fill reflect\n"
        "   apart from the step before: RandomZoom acts on what RandomEqualize leaves, "
        "and does not commute with it\n"
        "resamples per image: 2 (one transform at a time: 2)\n"
        "computed in float32, clipped before every table and to [0, 255] at the end, returned as float32"
    )
    text = str(Pipeline(steps[1:], fill_mode="constant").explain())
    assert "RandomZoom acts on what RandomEqualize leaves" in text
    split = [augment.RandomRotation(10), augment.RandomBrightness(0.1), augment.RandomZoom(0.1)]
    text = str(Pipeline(split, fill_mode="constant").explain())
    assert "RandomZoom brings in a fill that RandomBrightness must not colour" in text


@pytest.mark.parametrize("make", [augment.RandomPosterize, augment.RandomSolarize, augment.RandomEqualize])
def test_a_table_changes_the_share_of_images_that_it_says(make):
    images = np.tile(IMAGES[:1] + np.uint8(50), (600, 1, 1, 1))
    changed = np.abs(first_draw([make(probability=0.3)], images) - images).max((1, 2, 3)) > 0.5
    assert 130 < changed.sum() < 230


def test_tables_leave_marks_on_the_image_alone():
    element = {"images": IMAGES, "keypoints": np.zeros((3, 2))}
    out = Pipeline([augment.RandomSolarize()])(element)
    assert out["keypoints"] is element["keypoints"]
