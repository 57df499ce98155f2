"""The conventions of albumentations, where the two agree; skipped where it is not installed."""

import os

import numpy as np
import pytest
from augment_oracle import first_draw, fixed

from kerasreg import augment
from kerasreg.augment.hue import YIQ

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # It asks the network for its newest version.
A = pytest.importorskip("albumentations", exc_type=ImportError)

# Dark and narrow, so that equalizing has something to do.
IMAGES = np.random.default_rng(5).normal(90, 25, (2, 40, 44, 3)).clip(20, 220).astype(np.uint8)


def by_albumentations(transform, images=IMAGES):
    return np.stack([transform(image=image)["image"] for image in images]).astype("float64")


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_posterize(bits):
    expected = by_albumentations(A.Posterize(num_bits=(bits, bits), p=1))
    out = first_draw([augment.RandomPosterize(bits, probability=1)], IMAGES)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_solarize(threshold):
    expected = by_albumentations(A.Solarize(threshold_range=(threshold, threshold), p=1))
    out = first_draw([augment.RandomSolarize(threshold, probability=1)], IMAGES)
    assert np.mean(out != IMAGES) > 0.05
    np.testing.assert_array_equal(out, expected)


def test_equalize_but_for_the_pixels_of_the_level_itself():
    # Pillow, and so we, count the pixels that are darker; its namesake there those of the level itself too.
    theirs = by_albumentations(A.Equalize(mode="pil", by_channels=True, p=1))
    ours = first_draw([augment.RandomEqualize(1)], IMAGES)
    assert np.abs(ours - IMAGES).mean() > 10
    for image, their, our in zip(IMAGES, theirs, ours, strict=True):
        for c in range(3):
            counts = np.bincount(image[..., c].ravel(), minlength=256)
            step = (counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
            table = np.minimum((step // 2 + np.cumsum(counts)) // step, 255)
            np.testing.assert_array_equal(their[..., c], table[image[..., c]])
            own = (their - our)[..., c]
            assert np.all((own >= 0) & (own <= counts[image[..., c]] / step + 1))


def test_invert_and_flip():
    out = first_draw([augment.RandomInvert(1), augment.RandomFlip("both", 1)], IMAGES)
    expected = by_albumentations(A.Compose([A.InvertImg(p=1), A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]))
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("degrees", [-36, 18, 72])
def test_hue_turns_the_same_way_about_as_far(degrees):
    # Theirs is the hue of HSV, a hexagon, ours a circle: of one sign and size, not of one value.
    none = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1)}
    share = degrees / 360
    images = (128 + 30 * np.random.default_rng(0).uniform(-1, 1, (1, 30, 30, 3))).astype(np.uint8)
    theirs = by_albumentations(A.ColorJitter(**none, hue=(share, share), p=1), images)
    ours = first_draw([fixed("RandomHue", degrees)], images).astype("float64")

    def turned(out):
        chroma = [(x @ YIQ.T)[..., 1] + 1j * (x @ YIQ.T)[..., 2] for x in (images.astype("float64"), out)]
        strong = np.abs(chroma[0]) > 8
        return np.angle(chroma[1] / np.where(strong, chroma[0], 1), deg=True)[strong]

    # The sign of our angle is that of a turn from I to Q reversed.
    np.testing.assert_allclose(np.abs(turned(ours)), abs(degrees), atol=1)
    assert np.sign(np.median(turned(theirs))) == np.sign(np.median(turned(ours)))
    assert abs(np.median(turned(theirs)) - np.median(turned(ours))) < 0.25 * abs(degrees)
    grey = np.repeat(images[..., :1], 3, axis=-1)
    np.testing.assert_allclose(first_draw([fixed("RandomHue", degrees)], grey), grey, atol=0.01)
    np.testing.assert_array_equal(
        by_albumentations(A.ColorJitter(**none, hue=(share, share), p=1), grey), grey
    )
