"""Windows, whole pixels and corners: what is drawn, and that what needs no interpolation is copied."""

import math

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, first_draw, random_images, resampled
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kerasreg import augment
from kerasreg.augment import (
    Pipeline,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from kerasreg.augment.execute import chain_matrix, execute, size_after

RNG = np.random.default_rng(0)
NUMPY_MODES = {"reflect": "symmetric", "nearest": "edge", "wrap": "wrap", "constant": "constant"}


def numbered(count, height, width):
    """Images whose pixels say where they are from: row, column, image."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.zeros_like(rows)], axis=-1)
    return np.uint8(image[None] + np.arange(count)[:, None, None, None] % 200 * [0, 0, 1])


@pytest.mark.parametrize("fill_mode", NUMPY_MODES)
@pytest.mark.parametrize("padding", [0, 3, (0, 2)])
def test_a_crop_is_a_window_of_the_padded_image(fill_mode, padding):
    images = random_images(40, 9, 12)
    out = first_draw([RandomCrop((5, 7), padding)], images, fill_mode=fill_mode, fill_value=17, dtype="uint8")
    assert out.shape == (40, 5, 7, 3)
    down, across = padding if isinstance(padding, tuple) else (padding, padding)
    more = {"constant_values": 17} if fill_mode == "constant" else {}
    padded = np.pad(images, ((0, 0), (down, down), (across, across), (0, 0)), NUMPY_MODES[fill_mode], **more)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 7), axis=(1, 2))
    for window, image in zip(windows, out, strict=True):
        same = np.all(np.moveaxis(window, 2, -1) == image, axis=(2, 3, 4))
        assert same.sum() == 1 or (fill_mode == "wrap" and same.any())


def test_every_place_of_a_window_is_as_likely():
    out = first_draw([RandomCrop((5, 7))], numbered(6000, 8, 10))
    tops, lefts = out[:, 0, 0, 0].astype(int), out[:, 0, 0, 1].astype(int)
    counts = np.zeros((4, 4))
    np.add.at(counts, (tops, lefts), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_a_window_that_is_not_drawn_is_the_middle():
    images = numbered(4, 9, 10)
    out = first_draw([RandomCrop((4, 5), probability=0)], images)
    np.testing.assert_array_equal(out, images[:, 2:6, 2:7])
    half = first_draw([RandomCrop((3, 3), probability=0.5)], numbered(400, 40, 40))
    assert 150 < np.sum((half[:, 0, 0, 0] == 18) & (half[:, 0, 0, 1] == 18)) < 250


def test_small_images_are_refused_or_padded():
    with pytest.raises(ValueError, match=r"`size` of RandomCrop .* 9x12, got \(10, 5\); pad_if_needed"):
        Pipeline([RandomCrop((10, 5))])(random_images(1))
    with pytest.raises(ValueError, match=r"\(40, 5\)"):
        Pipeline([RandomFlip(), RandomCrop((40, 5), padding=1)])(random_images(1))
    images = random_images(1)
    out = first_draw([RandomCrop((14, 12), pad_if_needed=True)], images, fill_mode="constant", fill_value=9)
    np.testing.assert_array_equal(out[0, 3:12], images[0])
    assert np.all(out[0, :3] == 9)
    assert np.all(out[0, 12:] == 9)


def test_small_images_of_unknown_size_are_refused_when_they_come():
    pipeline = Pipeline([RandomCrop((10, 5))])
    spec = tf.TensorSpec([None, None, 3], tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: iter(random_images(1)), output_signature=spec)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`size` of RandomCrop must be at most"):
        next(iter(dataset.apply(pipeline)))


MOVES = st.lists(
    st.sampled_from(
        [
            ("flip", RandomFlip("both")),
            ("turn", RandomRotation((-270, 270), step=90)),
            ("crop", RandomCrop((7, 7))),
            ("shift", RandomTranslation(0.3, whole_pixels=True)),
            ("pad", RandomCrop((8, 8), padding=2)),
        ]
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(moves=MOVES, fill_mode=st.sampled_from(list(NUMPY_MODES)), seed=st.integers(0, 99))
def test_chains_of_exact_moves_copy_pixels(moves, fill_mode, seed):
    transforms = [
        type(move).from_config({**move.get_config(), "name": f"{i}"}) for i, (_, move) in enumerate(moves)
    ]
    images = random_images(2, 8, 8)
    pipeline = Pipeline(transforms, fill_mode=fill_mode, fill_value=33, dtype="uint8", seed=seed)
    plan = pipeline.explain()
    assert plan.resamples == 0
    assert "one exact move of whole pixels" in str(plan)
    try:
        size = size_after(plan.geometry, (8, 8))
    except ValueError:
        return
    uniform = drawn(pipeline, 2)
    matrices = chain_matrix(plan.geometry, uniform, 8, 8).numpy()
    out = execute(plan, tf.constant(images), uniform)
    assert out.dtype == tf.uint8
    for image, matrix, result in zip(images, matrices, out.numpy(), strict=True):
        expected, share, places = resampled(image, matrix, fill_mode, size, "nearest")
        np.testing.assert_array_equal(places, np.round(places))
        np.testing.assert_array_equal(result, expected + 33 * (1 - share[..., None]))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns_are_exact(turns):
    images = random_images(2, 8, 8)
    turn = RandomRotation((90 * turns, 90 * turns), step=90)
    np.testing.assert_array_equal(first_draw([turn], images, dtype="uint8"), np.rot90(images, turns, (1, 2)))
    # An image that is no square keeps its size, and pixels stay pixels.
    for width in (11, 12):
        oblong = random_images(1, 8, width)
        out = first_draw([turn], oblong, fill_mode="wrap")
        matrix = turn.matrix(tf.zeros([1, 1]), tf.constant(8.0), tf.constant(float(width))).numpy()[0]
        expected, _, places = resampled(oblong[0], matrix, "wrap", (8, width), "nearest")
        np.testing.assert_array_equal(places, np.round(places))
        np.testing.assert_array_equal(out[0], expected)
        back = first_draw([turn, RandomRotation((-90 * turns, -90 * turns), step=90)], oblong)
        np.testing.assert_array_equal(back, oblong)


def test_the_multiples_of_a_step_are_drawn_evenly():
    uniform = tf.constant(RNG.random((4000, 1)), tf.float32)
    side = tf.constant(8.0)
    m = RandomRotation((-50, 100), step=25).matrix(uniform, side, side).numpy()
    angles = np.round(np.degrees(np.arctan2(m[:, 1, 0], m[:, 0, 0])), 2)
    values, counts = np.unique(angles, return_counts=True)
    np.testing.assert_allclose(values, [-50, -25, 0, 25, 50, 75, 100])
    assert stats.chisquare(counts).pvalue > 1e-3


def windows_of(transform, count, height, width, seed=0):
    uniform = np.random.default_rng(seed).random((count, transform.magnitudes))
    sides = tf.constant(float(height)), tf.constant(float(width))
    return [x.numpy() for x in transform.window(tf.constant(uniform, tf.float32), *sides)], uniform


def torchvision_window(uniform, height, width, area, ratio):
    """torchvision's loop, for one image."""
    for k in range(10):
        target = height * width * (area[0] + (area[1] - area[0]) * uniform[k])
        low, high = np.log(ratio)
        aspect = math.exp(low + (high - low) * uniform[10 + k])
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return (
                min(int(uniform[20] * (height - h + 1)), height - h),
                min(int(uniform[21] * (width - w + 1)), width - w),
                h,
                w,
            )
    if width / height < min(ratio):
        w, h = width, round(width / min(ratio))
    elif width / height > max(ratio):
        h, w = height, round(height * max(ratio))
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    ("height", "width", "area", "ratio"),
    [
        (50, 60, (0.08, 1.0), (3 / 4, 4 / 3)),
        (20, 200, (0.5, 1.0), (3 / 4, 4 / 3)),
        (200, 20, (0.9, 1.0), (0.5, 2.0)),
        (30, 30, (1.0, 1.0), (0.9, 1.5)),
        (2, 2, (0.01, 0.02), (1.0, 1.0)),
    ],
)
def test_the_window_of_a_resized_crop_is_torchvisions(height, width, area, ratio):
    (top, left, tall, wide), uniform = windows_of(RandomResizedCrop(8, area, ratio), 400, height, width)
    expected = np.array([torchvision_window(u, height, width, area, ratio) for u in np.float32(uniform)])
    wrong = np.any(np.stack([top, left, tall, wide], 1) != expected, axis=1)
    # A product that lies on a half within float32's last bits may be rounded to either side.
    assert wrong.mean() < 0.01


def test_area_and_ratio_of_a_resized_crop_are_uniform_and_log_uniform():
    transform = RandomResizedCrop(8, (0.1, 0.4), (0.5, 2.0))
    (top, left, tall, wide), _ = windows_of(transform, 3000, 4000, 4000)
    assert stats.kstest(tall * wide / 4000**2, stats.uniform(0.1, 0.3).cdf).pvalue > 1e-3
    logs = np.log(wide / tall)
    assert stats.kstest(logs, stats.uniform(-math.log(2), 2 * math.log(2)).cdf).pvalue > 1e-3
    assert stats.kstest(top / (4000 - tall), "uniform").pvalue > 1e-3
    assert stats.kstest(left / (4000 - wide), "uniform").pvalue > 1e-3


def test_a_resized_crop_is_the_resized_window():
    images = random_images(5, 20, 24)
    transform = RandomResizedCrop((30, 26), (0.3, 0.8))
    pipeline = Pipeline([transform], seed=3)
    out = pipeline(images, draw=0).numpy()
    uniform = drawn(pipeline, 5)[:, 1:]
    boxes = [x.numpy().astype(int) for x in transform.window(uniform, tf.constant(20.0), tf.constant(24.0))]
    for image, result, top, left, tall, wide in zip(images, out, *boxes, strict=True):
        expected = tf.image.resize(image[top : top + tall, left : left + wide], (30, 26)).numpy()
        # At the window's rim we see the image beyond, and tf.image does not.
        np.testing.assert_allclose(result[3:-3, 3:-3], expected[3:-3, 3:-3], atol=0.02)


def test_an_image_without_a_window_is_resized_whole():
    images = random_images(2, 12, 16)
    out = first_draw([RandomResizedCrop((10, 20), probability=0)], images, fill_mode="constant")
    np.testing.assert_allclose(out, tf.image.resize(images, (10, 20)), atol=0.02)


def test_corners_of_a_perspective_are_uniform_and_land_in_the_picture():
    transform = RandomPerspective(0.6)
    uniform = tf.constant(RNG.random((2000, 8)), tf.float32)
    corners = transform.corners(uniform).numpy()
    for sign, corner in zip([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.moveaxis(corners, 1, 0), strict=True):
        for k in (0, 1):
            assert stats.kstest(corner[:, k] * sign[k], stats.uniform(0.4, 0.6).cdf).pvalue > 1e-3
    matrices = transform.matrix(uniform, tf.constant(30.0), tf.constant(40.0)).numpy()
    there = np.concatenate([corners * [20, 15], np.ones((2000, 4, 1))], axis=2)
    x, y, w = np.moveaxis(np.einsum("bij,bkj->bki", matrices, there), 2, 0)
    frame = np.array([[-20, -15], [20, -15], [20, 15], [-20, 15]])
    np.testing.assert_allclose(np.stack([x / w, y / w], 2), np.broadcast_to(frame, (2000, 4, 2)), atol=0.02)


def test_fused_sizes_and_perspectives_are_the_composed_matrix():
    transforms = [
        RandomPerspective(0.4, probability=1),
        RandomRotation(30),
        RandomCrop((16, 20)),
        RandomFlip(),
        RandomResizedCrop((11, 14), (0.4, 1.0)),
        RandomZoom(0.2),
    ]
    images = random_images(4, 24, 30)
    pipeline = Pipeline(transforms, seed=5)
    plan = pipeline.explain((24, 30))
    assert len(plan.segments) == 1
    text = str(plan)
    assert "one bilinear projective warp, fill reflect" in text
    assert "size: 24x30 -> 16x20 -> 11x14" in text
    uniform = drawn(pipeline, 4)
    alone, size = tf.eye(3, batch_shape=[4]), (24, 30)
    for step in plan.steps:
        alone = alone @ step.matrix(uniform, *(tf.constant(float(side)) for side in size))
        size = getattr(step.transform, "size", size)
    matrices = chain_matrix(plan.geometry, uniform, 24, 30).numpy()
    np.testing.assert_allclose(matrices, alone, atol=1e-5)
    out = pipeline(images, draw=0).numpy()
    assert out.shape == (4, 11, 14, 3)
    for image, matrix, result in zip(images, matrices, out, strict=True):
        np.testing.assert_allclose(
            result, resampled(image, matrix, "reflect", (11, 14), "bilinear")[0], atol=0.05
        )


def test_contrast_behind_a_crop_knows_the_whole_image():
    images = random_images(2)
    steps = [RandomCrop((4, 4), probability=0), RandomContrast((0.5, 0.5))]
    mean = images.mean((1, 2), keepdims=True)
    expected = (mean + 0.5 * (images - mean))[:, 2:6, 4:8]
    np.testing.assert_allclose(first_draw(steps, images), expected, atol=1e-3)
    assert "measured once, before the move" in str(Pipeline(steps).explain())
    inner = images[:, 2:6, 4:8]
    mean = inner.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(first_draw(steps, images, exact=True), mean + 0.5 * (inner - mean), atol=1e-3)


def test_a_constant_fill_is_coloured_by_what_comes_after_it():
    images = random_images(1)
    steps = [RandomBrightness((0.1, 0.1)), RandomCrop((13, 16), padding=2), RandomContrast((0.5, 0.5))]
    out = first_draw(steps, images, fill_mode="constant", fill_value=60)
    mean = (images + 25.5).mean((1, 2), keepdims=True)
    padded = np.pad(images + 25.5, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=60)
    np.testing.assert_allclose(out, mean + 0.5 * (padded - mean), atol=1e-3)


def test_stencils_and_cut_outs_see_the_cropped_image():
    images = random_images(3, 20, 20)
    steps = [RandomCrop((8, 6)), augment.RandomSharpness((0, 0)), augment.RandomErasing(0.25, probability=1)]
    out = Pipeline(steps, fill_mode="constant")(images).numpy()
    assert out.shape == (3, 8, 6, 3)
    assert np.all(np.sum(out == 0, axis=(1, 2, 3)) >= 0.2 * 48 * 3)


def test_sizes_in_a_dataset_are_static_and_ragged_batches_agree():
    images = random_images(10, 20, 24)
    pipeline = Pipeline([RandomResizedCrop((6, 9)), RandomCrop(5), RandomPerspective()], seed=1)
    whole = tf.data.Dataset.from_tensor_slices(images)
    batched = whole.batch(4).apply(pipeline)
    assert batched.element_spec.shape.as_list() == [None, 5, 5, 3]
    single = whole.apply(pipeline)
    assert single.element_spec.shape.as_list() == [5, 5, 3]
    together = np.concatenate(list(batched.as_numpy_iterator()))
    assert together.shape == (10, 5, 5, 3)
    np.testing.assert_allclose(np.stack(list(single.as_numpy_iterator())), together, atol=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RandomCrop(0),
            "`size` of RandomCrop must be a whole number of at least 1 or a .height, width.",
        ),
        (lambda: RandomCrop(2.0), "got 2.0"),
        (lambda: RandomCrop((3, 4, 5)), "got .3, 4, 5."),
        (lambda: RandomCrop(3, padding=-1), "`padding` of RandomCrop must be a whole number of at least 0"),
        (lambda: RandomResizedCrop(8, area=(0.9, 0.5)), "low <= high"),
        (lambda: RandomResizedCrop(8, area=(0.0, 0.5)), "`area` of RandomResizedCrop must be above 0"),
        (lambda: RandomResizedCrop(8, area=1.5), "`area` of RandomResizedCrop"),
        (lambda: RandomResizedCrop(8, ratio=(0, 1)), "`ratio` of RandomResizedCrop must be above 0"),
        (lambda: RandomPerspective(0.7), r"`distortion` of RandomPerspective must be a number in \[0, 0.6\]"),
        (lambda: RandomRotation((5, 15), step=90), "`step` of RandomRotation must be such that"),
        (lambda: RandomRotation(90, step=0), "`step` of RandomRotation must be"),
        (lambda: RandomTranslation(0.1, whole_pixels=1), "`whole_pixels` of RandomTranslation must be True"),
    ],
)
def test_what_makes_no_window_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
