"""The other kernels of the warp: sizes that change, nearest and bicubic, perspective, and shrinking."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, random_images, resampled, scipy_warp
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.augment import Pipeline, RandomResizedCrop, RandomRotation, RandomShear, RandomZoom
from kerasreg.augment.execute import chain_matrix
from kerasreg.augment.matrices import crop_matrix, inverse, perspective_matrix, rotation_matrix, scale_matrix
from kerasreg.augment.taps import FILL_MODES, INTERPOLATIONS
from kerasreg.augment.warp import move, samples_needed, supersampled, warp

numbers = st.floats(-1.5, 1.5)


def warped(images, matrices, fill_mode="reflect", size=None, **how):
    pixels, inside = warp(tf.constant(images), tf.constant(matrices, tf.float32), fill_mode, size, **how)
    shape = [len(images), *(size or images.shape[1:3]), -1]
    return tf.reshape(pixels, shape).numpy(), inside if inside is None else tf.reshape(inside, shape).numpy()


def away_from_ties(places):
    """Where nearest has one answer in float32 too."""
    return np.all(np.abs(places - np.floor(places) - 0.5) > 1e-3, axis=0)


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@settings(max_examples=12, deadline=None)
@given(
    entries=st.tuples(numbers, numbers, st.floats(-30, 30), numbers, numbers, st.floats(-30, 30)),
    size=st.sampled_from([(5, 4), (9, 12), (13, 8)]),
    slant=st.sampled_from([0.0, 0.03]),
)
def test_every_kernel_at_any_size_is_its_formula(interpolation, fill_mode, entries, size, slant):
    matrix = np.array([[*entries[:3]], [*entries[3:]], [slant, -slant / 2, 1]], np.float32)
    images = random_images(1)
    out, inside = warped(
        images, matrix[None], fill_mode, size, interpolation=interpolation, projective=slant != 0
    )
    expected, share, places = resampled(images[0], matrix, fill_mode, size, interpolation)
    sure = away_from_ties(places) if interpolation == "nearest" else np.ones(size, bool)
    # Places of some hundred pixels, rounded in float32, times a slope of at most 255 a pixel.
    np.testing.assert_allclose(out[0][sure], expected[sure], atol=0.05)
    if fill_mode == "constant":
        np.testing.assert_allclose(inside[0, ..., 0][sure], share[sure], atol=1e-3)


def test_the_formula_is_scipys_where_scipy_has_one():
    images = random_images(1)
    matrix = rotation_matrix(tf.constant([33.0])).numpy()[0]
    for fill_mode in FILL_MODES:
        expected, _, _ = resampled(images[0], matrix, fill_mode, (9, 12), "bilinear")
        np.testing.assert_allclose(expected, scipy_warp(images[0], matrix, fill_mode), atol=1e-6)


def test_bicubic_is_tensorflows_own_where_it_enlarges():
    images = random_images(2, 8, 9)
    matrix = crop_matrix(tf.zeros([2]), tf.zeros([2]), (8, 9), (8, 9), (24, 18))
    out, _ = warped(images, matrix, "nearest", (24, 18), interpolation="bicubic")
    expected = tf.image.resize(images, (24, 18), "bicubic").numpy()
    # tf.image leaves out the taps beyond the edge, where we repeat it, and reads weights from a table.
    np.testing.assert_allclose(out[:, 6:-6, 4:-4], expected[:, 6:-6, 4:-4], atol=0.2)


def test_bilinear_resizing_is_tensorflows_own():
    images = random_images(2, 8, 9)
    matrix = crop_matrix(tf.zeros([2]), tf.zeros([2]), (8, 9), (8, 9), (13, 6))
    out, _ = warped(images, matrix, "nearest", (13, 6))
    np.testing.assert_allclose(out, tf.image.resize(images, (13, 6)).numpy(), atol=0.01)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_the_identity_is_exact(interpolation, fill_mode):
    images = random_images(2, 7, 10)
    out, _ = warped(images, np.stack([np.eye(3)] * 2), fill_mode, interpolation=interpolation)
    np.testing.assert_array_equal(out, images)


def test_nearest_keeps_the_dtype_and_makes_no_new_values():
    images = random_images(2) // 100 * 50
    pixels, _ = warp(
        tf.constant(images), rotation_matrix(tf.constant([20.0, 50.0])), "reflect", None, "nearest"
    )
    assert pixels.dtype == tf.uint8
    assert set(np.unique(pixels)) == {0, 50, 100}


@pytest.mark.parametrize("fill_mode", ["reflect", "nearest", "wrap"])
def test_a_move_out_of_the_image_reads_the_fill_exactly(fill_mode):
    images = random_images(1, 6, 8)
    matrix = np.array([[[1, 0, -11], [0, 1, 9], [0, 0, 1]]], np.float32)
    moved, inside = move(tf.constant(images), tf.constant(matrix), fill_mode)
    assert moved.dtype == tf.uint8
    assert inside is None
    mode = {"reflect": "symmetric", "nearest": "edge", "wrap": "wrap"}[fill_mode]
    padded = np.pad(images[0], ((20, 20), (20, 20), (0, 0)), mode)
    np.testing.assert_array_equal(tf.reshape(moved, [6, 8, 3]), padded[29:35, 9:17])


@given(corners=st.lists(st.floats(0, 0.6), min_size=8, max_size=8))
def test_a_perspective_takes_the_corners_where_it_says(corners):
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    there = square * (1 - np.array(corners, np.float32).reshape(4, 2))
    forward = perspective_matrix(tf.constant(there[None]))
    x, y, w = forward.numpy()[0] @ np.c_[square, np.ones(4)].T
    np.testing.assert_allclose(np.c_[x / w, y / w], there, atol=1e-4)
    back = inverse(forward).numpy()[0]
    x, y, w = back @ np.c_[there, np.ones(4)].T
    np.testing.assert_allclose(np.c_[x / w, y / w], square, atol=1e-3)
    # In front of the horizon everywhere in sight, so that dividing by w is no accident.
    assert w.min() > 0


@pytest.mark.parametrize("factor", [3, 4])
def test_an_image_that_shrinks_by_a_whole_factor_is_its_area_mean(factor):
    images = random_images(2, 5 * factor, 6 * factor)
    matrix = crop_matrix(tf.zeros([2]), tf.zeros([2]), images.shape[1:3], images.shape[1:3], (5, 6))
    samples = samples_needed(matrix, (5, 6))
    np.testing.assert_array_equal(samples, factor)
    out, _ = supersampled(tf.constant(images), matrix, samples, "reflect", (5, 6))
    expected = images.reshape(2, 5, factor, 6, factor, 3).mean((2, 4))
    np.testing.assert_allclose(tf.reshape(out, expected.shape), expected, atol=1e-3)


def test_only_images_and_axes_that_shrink_below_half_are_averaged():
    matrices = tf.concat(
        [
            scale_matrix(tf.constant([0.5]), tf.constant([0.51])),
            scale_matrix(tf.constant([0.25]), tf.constant([1.0])),
            scale_matrix(tf.constant([3.0]), tf.constant([0.3])),
            rotation_matrix(tf.constant([30.0])) / tf.constant([[0.2], [0.2], [1.0]]),
        ],
        axis=0,
    )
    np.testing.assert_array_equal(samples_needed(matrices, (8, 8)), [[1, 1], [4, 1], [1, 4], [5, 5]])


def test_a_perspective_is_sampled_where_it_shrinks_most():
    # The right edge of a frame of 100 is three times as far away as the middle: w = 1/3, at (150, 150),
    # and d(x, y)/dx = (1 + 2, 2) / w, d(x, y)/dy = (0, 1 / w).
    matrix = tf.constant([[[1.0, 0, 0], [0, 1, 0], [-2 / 3 / 50, 0, 1]]])
    samples = samples_needed(matrix, (100, 100), projective=True)
    np.testing.assert_array_equal(samples, [[np.ceil(np.hypot(9, 6)), 3]])


def test_a_fine_pattern_turns_grey_and_not_coarse():
    # The rings of a zone plate become finer outwards; bilinear alone makes new rings of the finest.
    y, x = np.mgrid[:256, :256] - 127.5
    plate = np.uint8(127.5 + 127.5 * np.cos(np.pi * (x * x + y * y) / 256))[None, ..., None]
    pipeline = Pipeline([RandomZoom((-0.8, -0.8))], fill_mode="constant")
    out = pipeline(plate).numpy()[0, 105:151, 105:151, 0]
    matrix = np.diag([5.0, 5.0, 1.0]).astype(np.float32)
    plain = warped(plate, matrix[None])[0][0, 105:151, 105:151, 0]
    mean = plate[0, 13:243, 13:243, 0].astype(float).reshape(46, 5, 46, 5).mean((1, 3))
    np.testing.assert_allclose(out, mean, atol=0.1)
    assert np.abs(plain - mean).mean() > 40


def test_what_shrinks_does_not_change_its_neighbours_in_the_batch():
    images = random_images(6, 60, 60)
    pipeline = Pipeline([RandomZoom((-0.7, -0.1))], seed=4)
    together = pipeline(images, draw=0).numpy()
    samples = [
        samples_needed(tf.constant(m)[None], (60, 60)).numpy().max() for m in matrices_of(pipeline, 6, 60, 60)
    ]
    assert min(samples) == 1
    assert max(samples) > 1
    alone = pipeline(images[:1], draw=0).numpy()
    np.testing.assert_allclose(alone[0], together[0], atol=1e-4)


def matrices_of(pipeline, count, height, width):
    return chain_matrix(pipeline.explain().geometry, drawn(pipeline, count), height, width).numpy()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_rotation_and_back_is_the_image(interpolation):
    images = random_images(3, 21, 24)
    turns = [RandomRotation((37, 37)), RandomRotation((-37, -37))]
    out = Pipeline(turns, interpolation=interpolation, dtype="uint8")(images)
    np.testing.assert_array_equal(out, images)


def test_bicubic_stays_in_range_and_is_sharper():
    images = np.zeros((1, 16, 16, 1), np.uint8)
    images[:, :, 8:] = 255
    steps = [RandomZoom((0.7, 0.7))]
    bicubic = Pipeline(steps, interpolation="bicubic")(images).numpy()
    bilinear = Pipeline(steps)(images).numpy()
    assert bicubic.min() >= 0
    assert bicubic.max() <= 255
    assert np.abs(np.diff(bicubic, axis=2)).max() > np.abs(np.diff(bilinear, axis=2)).max() + 5
    assert "clipped" in str(Pipeline(steps, interpolation="bicubic").explain())
    assert "clipped" not in str(Pipeline(steps).explain())


def test_images_of_unknown_size_are_rendered_alike():
    images = random_images(4, 30, 40)
    pipeline = Pipeline([RandomResizedCrop((6, 5), (0.2, 1)), RandomRotation(20)], seed=2)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def unknown(images):
        return pipeline(images, draw=3)

    out = unknown(images)
    assert unknown.get_concrete_function().outputs[0].shape.as_list() == [None, 6, 5, 3]
    np.testing.assert_allclose(out, pipeline(images, draw=3), atol=1e-3)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="`interpolation` of Pipeline must be one of 'bilinear'"):
        Pipeline([RandomRotation(5)], interpolation="lanczos")


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([RandomZoom(0.5)], False),
        ([RandomZoom((-0.6, 0.0))], True),
        ([RandomZoom((-0.4, 0.0)), RandomZoom((-0.3, 0.0))], True),
        # An image that the first leaves alone is shrunk by the second.
        ([RandomZoom((1.0, 2.0), probability=0.5), RandomZoom((-0.6, -0.6))], True),
        ([RandomRotation(40), RandomShear(0.3, 0.3)], False),
        ([RandomShear(0.9, 0.9)], True),
        ([RandomResizedCrop(8)], True),
    ],
)
def test_a_plan_knows_whether_pixels_could_be_skipped(transforms, expected):
    plan = Pipeline(transforms).explain()
    assert plan.smooths(plan.segments[0]) is expected
    assert ("less than half" in str(plan)) is expected
    assert "less than half" not in str(Pipeline(transforms, interpolation="nearest").explain())


@pytest.mark.parametrize(
    "transform",
    [RandomZoom((-0.5, 0.4), (-0.3, 0.6)), RandomShear(0.6, 0.4), RandomRotation(90), RandomShear(0.3)],
    ids=repr,
)
def test_the_bound_on_shrinking_is_the_largest_norm(transform):
    uniform = np.random.default_rng(0).random((400, transform.magnitudes))
    # The corners of the ranges as well: there it is reached.
    ends = np.array([[a, b] for a in (0, 1) for b in (0, 1)])[:, : transform.magnitudes]
    uniform = tf.constant(np.concatenate([uniform, ends]), tf.float32)
    matrices = transform.matrix(uniform, tf.constant(20.0), tf.constant(30.0)).numpy()
    norms = np.linalg.norm(matrices[:, :2, :2], 2, axis=(1, 2))
    assert norms.max() == pytest.approx(transform.shrinks(), rel=1e-5)
