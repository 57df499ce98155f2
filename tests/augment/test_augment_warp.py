"""The kernel against SciPy's resampling, and the truths that need no oracle."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import random_images, scipy_warp
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.augment.geometry import (
    flip_matrix,
    rotation_matrix,
    scale_matrix,
    shear_matrix,
    translation_matrix,
)
from kerasreg.augment.warp import FILL_MODES, move, warp

numbers = st.floats(-1.5, 1.5)


def warped(images, matrices, fill_mode="reflect"):
    pixels, inside = warp(tf.constant(images), tf.constant(matrices, tf.float32), fill_mode)
    inside = None if inside is None else tf.reshape(inside, images.shape[:3])
    return tf.reshape(pixels, images.shape).numpy(), inside


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@settings(max_examples=25, deadline=None)
@given(entries=st.tuples(numbers, numbers, st.floats(-30, 30), numbers, numbers, st.floats(-30, 30)))
def test_warp_is_scipys_bilinear_resampling(fill_mode, entries):
    matrix = np.array([[*entries[:3]], [*entries[3:]], [0, 0, 1]], np.float32)
    images = random_images(1)
    out, _ = warped(images, matrix[None], fill_mode)
    # 40 places of about 30 pixels rounded in float32 times a slope of at most 255 per pixel.
    np.testing.assert_allclose(out[0], scipy_warp(images[0], matrix, fill_mode), atol=0.02)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (6, 9)])
def test_every_image_goes_through_its_own_matrix(size):
    images = random_images(3, *size, channels=2, dtype=np.float32)
    matrices = rotation_matrix(tf.constant([0.0, 10.0, -35.0])).numpy()
    out, _ = warped(images, matrices)
    for image, matrix, result in zip(images, matrices, out, strict=True):
        np.testing.assert_allclose(result, scipy_warp(image, matrix, "reflect"), atol=0.02)
    assert np.abs(out[1] - images[1]).max() > 10


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("size", [(7, 10), (224, 224), (33, 128)])
def test_the_identity_and_flips_are_exact(fill_mode, size):
    images = random_images(4, *size)
    flips = flip_matrix(tf.constant([False, True, False, True]), tf.constant([False, False, True, True]))
    expected = np.stack([images[0], images[1][:, ::-1], images[2][::-1], images[3][::-1, ::-1]])
    np.testing.assert_array_equal(warped(images, flips, fill_mode)[0], expected)
    moved = tf.reshape(move(tf.constant(images), flips)[0], images.shape)
    assert moved.dtype == tf.uint8
    np.testing.assert_array_equal(moved, expected)


def test_share_of_the_image_in_a_constant_fill():
    matrix = translation_matrix(tf.constant([2.25]), tf.constant([0.0])).numpy()
    _, inside = warped(random_images(1, 3, 5), matrix, "constant")
    np.testing.assert_allclose(inside[0], [[0, 0, 0.75, 1, 1]] * 3, atol=1e-6)


def test_places_far_outside_are_read_without_overflow():
    matrix = translation_matrix(tf.constant([1e12]), tf.constant([-1e12])).numpy()
    images = random_images(1)
    assert np.all(warped(images, matrix, "constant")[0] == 0)
    np.testing.assert_array_equal(
        warped(images, matrix, "nearest")[0], np.broadcast_to(images[:, -1:, :1], images.shape)
    )


def test_a_positive_angle_is_counter_clockwise():
    images = random_images(1, 9, 9)
    out, _ = warped(images, rotation_matrix(tf.constant([90.0])).numpy())
    np.testing.assert_allclose(out[0], np.rot90(images[0]), atol=0.01)


def test_a_positive_translation_is_right_and_down():
    images = random_images(1, 6, 8)
    out, _ = warped(images, translation_matrix(tf.constant([3.0]), tf.constant([2.0])).numpy(), "constant")
    np.testing.assert_array_equal(out[0, 2:, 3:], images[0, :-2, :-3])
    assert np.all(out[0, :2] == 0)
    assert np.all(out[0, :, :3] == 0)


def test_a_scale_above_one_enlarges():
    images = np.zeros((1, 41, 41, 1), np.float32)
    images[0, 15:26, 15:26] = 1
    matrix = scale_matrix(tf.constant([3.0]), tf.constant([1.0])).numpy()
    out = warped(images, matrix)[0][0, ..., 0]
    assert out[20].sum() == pytest.approx(33, abs=0.01)
    assert out[:, 20].sum() == pytest.approx(11, abs=0.01)


@given(x=st.floats(-0.9, 0.9), y=st.floats(-0.9, 0.9))
def test_shear_undoes_the_forward_shear(x, y):
    forward = np.array([[1, x, 0], [y, 1, 0], [0, 0, 1]])
    matrix = shear_matrix(tf.constant([x], tf.float32), tf.constant([y], tf.float32)).numpy()[0]
    np.testing.assert_allclose(matrix @ forward, np.eye(3), atol=1e-4)
