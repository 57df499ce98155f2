"""Colour maps against the formulas of their colour spaces, and what a rescaled range means behind it."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import first_draw, fixed, random_images
from scipy import stats

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.hue import hue_matrix
from kerasreg.augment.views import Views

# Far enough from both ends that nothing below is clipped.
MILD = np.random.default_rng(2).integers(100, 155, (2, 6, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("degrees", [-75.0, 20.0, 120.0])
def test_hue_is_a_turn_of_tensorflows_iq(degrees):
    yiq = tf.image.rgb_to_yiq(MILD.astype(np.float32)).numpy()
    chroma = (yiq[..., 1] + 1j * yiq[..., 2]) * np.exp(-1j * np.radians(degrees))
    turned = np.stack([yiq[..., 0], chroma.real, chroma.imag], -1)
    expected = tf.image.yiq_to_rgb(turned.astype(np.float32))
    out = first_draw([fixed("RandomHue", degrees)], MILD)
    assert np.abs(out - MILD).max() > 5
    np.testing.assert_allclose(out, expected, atol=0.05)
    np.testing.assert_allclose(out @ [0.299, 0.587, 0.114], MILD @ [0.299, 0.587, 0.114], atol=1e-3)


def test_hue_goes_from_red_over_yellow_to_green():
    colors = np.float32([[[[170, 100, 100], [100, 150, 100]]]])
    out = first_draw([fixed("RandomHue", 40.0)], colors)
    before, after = (tf.image.rgb_to_hsv(x / 255)[0, 0, :, 0].numpy() * 360 for x in (colors, out))
    np.testing.assert_allclose(after - before, 40, atol=20)


def test_the_turn_of_hue_is_drawn_evenly():
    image = np.tile(np.uint8([[[[150, 110, 120]]]]), (800, 1, 1, 1))
    out = first_draw([augment.RandomHue((-30, 50), probability=0.5)], image)
    iq = tf.image.rgb_to_yiq(np.concatenate([image[:1], out]).astype(np.float32)).numpy()[:, 0, 0, 1:]
    angle = np.degrees(np.arctan2(iq[:, 1], iq[:, 0]))
    turned = (angle[0] - angle[1:])[np.abs(out - image).max((1, 2, 3)) > 1e-3]
    assert abs(len(turned) - 400) < 60
    assert stats.kstest(turned, "uniform", (-30, 80)).pvalue > 1e-3


def test_turns_of_hue_are_a_group():
    turn = hue_matrix(tf.constant([0.0, 50.0, -80.0, -30.0, 360.0])).numpy()
    np.testing.assert_allclose(turn[0], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(turn[4], np.eye(3), atol=1e-5)
    np.testing.assert_allclose(turn[1] @ turn[2], turn[3], atol=1e-5)
    np.testing.assert_allclose(turn @ np.ones(3), 1, atol=1e-5)


@pytest.mark.parametrize("value_range", [(0, 255), (-1, 1)])
def test_a_negative_mirrors_the_range(value_range):
    low, high = value_range
    images = (low + MILD / 255 * (high - low)).astype(np.float32)
    out = first_draw([augment.RandomInvert(1)], images, value_range=value_range)
    np.testing.assert_allclose(out, low + high - images, atol=1e-4)
    half = first_draw([augment.RandomInvert()], random_images(400, 3, 4))
    changed = np.abs(half - random_images(400, 3, 4)).max((1, 2, 3)) > 1
    assert 160 < changed.sum() < 240


def test_the_parts_of_a_jitter_commute_and_are_the_transforms_of_their_names():
    parts = [
        fixed("RandomBrightness", 0.05),
        fixed("RandomContrast", 0.7),
        fixed("RandomSaturation", 0.4),
        fixed("RandomHue", 25.0),
    ]
    jitter = augment.ColorJitter((0.05, 0.05), (0.7, 0.7), (0.4, 0.4), (25, 25))
    out = first_draw([jitter], MILD)
    for order in itertools.permutations(parts):
        np.testing.assert_allclose(out, first_draw(list(order), MILD), atol=2e-3)
    assert np.abs(out - MILD).max() > 5


def test_a_jitter_draws_its_four_amounts_apart_and_together():
    grey = np.full((500, 1, 1, 3), 128, np.uint8)
    image = np.tile(np.uint8([[[[160, 120, 110], [110, 128, 130]]]]), (500, 1, 1, 1))
    light = first_draw([augment.ColorJitter(brightness=0.1)], grey)[:, 0, 0, 0] - 128
    assert stats.kstest(light, "uniform", (-25.5, 51)).pvalue > 1e-3
    every = first_draw([augment.ColorJitter(0.1, 0.5, 0.5, 30, probability=0.4)], image)
    changed = np.abs(every - image).max((1, 2, 3)) > 1e-3
    assert 150 < changed.sum() < 250
    chroma = tf.image.rgb_to_yiq(every[changed]).numpy()
    spread = (chroma[:, 0, 0] - chroma[:, 0, 1])[:, 1:]
    angle = np.degrees(np.arctan2(spread[:, 1], spread[:, 0]))
    size = np.hypot(*spread.T)
    mean = every[changed].mean((1, 2, 3))
    assert abs(np.corrcoef(angle, size)[0, 1]) < 0.2
    assert abs(np.corrcoef(mean, size)[0, 1]) < 0.2
    assert np.ptp(angle) > 50
    assert size.max() / size.min() > 4


def test_a_jitter_without_colour_takes_any_channels():
    assert Pipeline([augment.ColorJitter(0.1, 0.2)])(random_images(1, channels=1)).shape == (1, 9, 12, 1)
    with pytest.raises(ValueError, match="of 3 channels for ColorJitter, got 1"):
        Pipeline([augment.ColorJitter(hue=5)])(random_images(1, channels=1))


MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def test_standardised_channels_are_standardised():
    out = first_draw([augment.Rescale.standardized(MEAN, STD)], random_images(2))
    np.testing.assert_allclose(out, (random_images(2) - MEAN) / STD, atol=1e-5)
    single = augment.Rescale.standardized(MEAN, 2.0).get_config()
    np.testing.assert_allclose(single["scale"], [0.5] * 3)
    np.testing.assert_allclose(single["offset"], np.array(MEAN) / -2)


@pytest.mark.parametrize("scale", [1 / 127.5, -1 / 127.5, [0.01, 0.02, 0.03]])
def test_what_follows_a_rescale_acts_in_the_new_range(scale):
    """A rescale at the end equals one at the beginning, but for the direction of what is added."""
    sign = -1.0 if np.ravel(scale)[0] < 0 else 1.0
    rest = [augment.RandomContrast((0.6, 0.6)), augment.RandomInvert(1), augment.RandomRotation((20, 20))]
    rescale = augment.Rescale(scale, 0.5)
    fill = {"fill_mode": "constant", "fill_value": 80}
    last = first_draw([fixed("RandomBrightness", 0.1), *rest, rescale], MILD, **fill)
    first = first_draw([rescale, fixed("RandomBrightness", 0.1 * sign), *rest], MILD, **fill)
    np.testing.assert_allclose(first, last, atol=1e-3)
    bright = fixed("RandomBrightness", 0.1)
    plain = first_draw([bright, *rest], MILD, **fill)
    np.testing.assert_allclose(last, plain * np.array(scale) + 0.5, atol=1e-3)


def test_the_result_is_clipped_to_the_rescaled_range():
    images = random_images(1)
    steps = [augment.Rescale([0.01, 0.02, -0.01], [0, -1, 0]), fixed("RandomContrast", 3.0)]
    out = first_draw(steps, images)
    np.testing.assert_allclose(out.min((0, 1, 2)), [0, -1, -2.55], atol=1e-5)
    np.testing.assert_allclose(out.max((0, 1, 2)), [2.55, 4.1, 0], atol=1e-5)
    assert "clipped to [0, 2.55], [-1, 4.1], [-2.55, 0] at the end" in str(Pipeline(steps).explain())
    with pytest.raises(ValueError, match="`dtype` of Pipeline must be a floating dtype for value_range"):
        Pipeline([augment.Rescale()], dtype="uint8")


def test_colours_behind_a_rescale_of_channels_are_refused():
    rescale = augment.Rescale([1, 2, 3])
    with pytest.raises(ValueError, match="got RandomHue behind it"):
        Pipeline([rescale, augment.RandomHue(3)])
    Pipeline([augment.Rescale(2, 1), augment.RandomHue(3), rescale, augment.RandomContrast(0.5)])
    with pytest.raises(ValueError, match=r"of 3 channels for Rescale, got 1"):
        Pipeline([rescale])(random_images(1, channels=1))


@pytest.mark.parametrize("mean", [[1, 2], 3])
def test_moments_that_cannot_be_are_refused(mean):
    with pytest.raises(ValueError, match="`std` of Rescale"):
        augment.Rescale.standardized(mean, [1, 2, 0])


def test_an_unchanged_view_is_rescaled_too():
    views = Views.of(Pipeline([augment.Rescale(1 / 127.5, -1), augment.RandomFlip()]), "t")
    np.testing.assert_allclose(views.unchanged(MILD), MILD / 127.5 - 1, atol=1e-6)
    assert views.one_way() == []


def test_a_rescale_comes_back_from_a_configuration():
    rescale = augment.Rescale.standardized(MEAN, STD, name="imagenet")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rescale))
    assert again.get_config() == rescale.get_config()
    assert repr(eval(repr(rescale), vars(augment))) == repr(rescale)
