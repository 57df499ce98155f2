"""exact=True: one transform at a time with the clipping in between, and the same draws."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, first_draw, fixed, random_images

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.execute import execute
from kerasreg.augment.plan import make_plan

STEPS = [
    augment.RandomBrightness(0.5),
    augment.RandomRotation(30),
    augment.RandomContrast((1.5, 2.0)),
    augment.RandomSaturation(0.9),
    augment.RandomFlip(),
    augment.RandomSolarize(0.6),
    augment.RandomZoom(0.2),
    augment.RandomSharpness(0.9),
]
IMAGES = random_images(6, 8, 9)


@pytest.mark.parametrize("fill_mode", ["reflect", "constant"])
def test_it_is_the_chain_of_pipelines_of_one(fill_mode):
    fill = {"fill_mode": fill_mode, "fill_value": 30}
    whole = Pipeline(STEPS, exact=True, **fill)
    uniform = drawn(whole, len(IMAGES))
    chain, lane = tf.constant(IMAGES), 0
    for step in STEPS:
        # Alone, a transform clips at its end.
        alone = make_plan([step], ["alone"], fill_mode, 30.0, (0, 255), "float32")
        chain = execute(alone, chain, uniform[:, lane : lane + step.lanes])
        lane += step.lanes
    exact = first_draw(STEPS, IMAGES, exact=True, **fill)
    np.testing.assert_allclose(exact, chain, atol=1e-3)
    assert np.abs(exact - first_draw(STEPS, IMAGES, **fill)).max() > 20


def test_clipping_in_between_is_seen():
    steps = [fixed("RandomBrightness", 0.5), fixed("RandomBrightness", -0.5)]
    np.testing.assert_allclose(first_draw(steps, IMAGES), IMAGES, atol=1e-3)
    out = first_draw(steps, IMAGES, exact=True)
    np.testing.assert_allclose(out, np.minimum(IMAGES, 127.5), atol=1e-3)


def test_the_mean_of_contrast_is_that_of_the_image_that_it_finds():
    steps = [augment.RandomTranslation((0.0, 0.0), (0.5, 0.5)), fixed("RandomContrast", 0.0)]
    images = np.zeros((1, 2, 4, 1), np.uint8)
    images[:, :, :2] = 100
    fill = {"fill_mode": "constant"}
    np.testing.assert_allclose(first_draw(steps, images, exact=True, **fill), 50, atol=1e-3)
    images = images[:, :, ::-1]
    np.testing.assert_allclose(first_draw(steps, images, exact=True, **fill), 0, atol=1e-3)


def test_where_nothing_clips_it_is_the_fused_result():
    steps = [augment.RandomFlip("both"), augment.RandomBrightness(0.05), augment.RandomHue(10)]
    steps += [augment.Rescale(1 / 127.5, -1), augment.RandomContrast((0.8, 0.9))]
    mild = np.random.default_rng(2).integers(100, 155, (5, 6, 7, 3)).astype(np.uint8)
    np.testing.assert_allclose(first_draw(steps, mild, exact=True), first_draw(steps, mild), atol=1e-5)


def test_flips_stay_exact_and_compiled_is_eager():
    steps = [augment.RandomFlip("both"), augment.RandomFlip("vertical", name="again")]
    plan = Pipeline(steps, exact=True).explain()
    assert plan.resamples == 0
    out = first_draw(steps, IMAGES, exact=True)
    np.testing.assert_array_equal(out, first_draw(steps, IMAGES))
    pipeline = Pipeline(STEPS[:3], exact=True)
    np.testing.assert_allclose(pipeline(IMAGES), first_draw(STEPS[:3], IMAGES, exact=True), atol=0.01)


def test_the_plan_says_so():
    text = str(Pipeline(STEPS, exact=True).explain())
    assert "8 transforms in 8 steps" in text
    assert text.count("exact=True, one transform at a time") == 7
    assert "resamples per image: 2 (one transform at a time: 2)" in text
    assert "clipped after every transform and to [0, 255] at the end" in text
