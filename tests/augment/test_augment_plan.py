"""Fusion: what one step computes equals what the transforms compute one at a time."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, first_draw, fixed, random_images, scipy_warp
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.color import compose
from kerasreg.augment.execute import chain_map, chain_matrix
from kerasreg.augment.geometry import rotation_matrix, translation_matrix
from kerasreg.augment.plan import make_plan


def names_of(segment):
    return [step.name for step in segment.steps]


@pytest.mark.parametrize("fill_mode", ["reflect", "nearest", "wrap"])
def test_a_mixed_run_is_one_step(fill_mode):
    pipeline = Pipeline(
        [
            augment.RandomFlip(),
            augment.RandomBrightness(0.1),
            augment.RandomRotation(10),
            augment.RandomContrast(0.2),
            augment.RandomZoom(0.1),
            augment.RandomTranslation(0.1),
        ],
        fill_mode=fill_mode,
    )
    plan = pipeline.explain()
    assert len(plan.segments) == 1
    assert plan.resamples == 1
    text = str(plan)
    assert "6 transforms in 1 step" in text
    assert "resamples per image: 1 (one transform at a time: 3)" in text
    assert fill_mode in text
    assert "float32" in text
    assert "RandomFlip, RandomRotation, RandomZoom, RandomTranslation -> one bilinear warp" in text
    assert "RandomBrightness, RandomContrast -> one affine map" in text
    assert "before the warp" in text


def test_a_constant_fill_ends_a_step_only_where_it_must():
    rotation, flip = augment.RandomRotation(10), augment.RandomFlip()
    zoom, bright = augment.RandomZoom(0.1), augment.RandomBrightness(0.1)

    def groups(*transforms):
        names = [f"{type(t).__name__[6:]}{i}" for i, t in enumerate(transforms)]
        plan = make_plan(transforms, names, "constant", 0.0, (0, 255), "float32")
        return [names_of(segment) for segment in plan.segments]

    assert groups(bright, rotation, zoom, bright, flip) == [
        ["Brightness0", "Rotation1", "Zoom2", "Brightness3", "Flip4"]
    ]
    assert groups(rotation, bright, zoom) == [["Rotation0", "Brightness1"], ["Zoom2"]]
    assert groups(flip, bright, flip, rotation) == [["Flip0", "Brightness1", "Flip2", "Rotation3"]]


def test_flips_alone_do_not_resample():
    plan = Pipeline([augment.RandomFlip("both")]).explain()
    assert plan.resamples == 0
    assert "whole pixels" in str(plan)
    assert "clipped" not in str(plan)


@pytest.mark.parametrize("fill_mode", ["reflect", "nearest", "wrap", "constant"])
def test_the_pipeline_is_its_composed_matrix(fill_mode):
    pipeline = Pipeline(
        [
            augment.RandomRotation(40),
            augment.RandomFlip("both"),
            augment.RandomZoom(0.4),
            augment.RandomTranslation(0.3),
        ],
        fill_mode=fill_mode,
        seed=3,
    )
    images = random_images(6, 20, 15)
    uniform = drawn(pipeline, 6)
    matrices = chain_matrix(pipeline.explain().steps, uniform, tf.constant(20.0), tf.constant(15.0)).numpy()
    out = pipeline(images, draw=0).numpy()
    for image, matrix, result in zip(images, matrices, out, strict=True):
        np.testing.assert_allclose(result, scipy_warp(image, matrix, fill_mode), atol=0.02)
    assert len({matrix.tobytes() for matrix in matrices}) == 6


def test_first_then_second_is_the_product_in_that_order():
    steps = [fixed("RandomRotation", 90.0), augment.RandomTranslation((0.0, 0.0), (0.5, 0.5))]
    plan = make_plan(steps, ["a", "b"], "reflect", 0.0, (0, 255), "float32")
    chain = chain_matrix(plan.steps, tf.zeros([1, 5]), tf.constant(8.0), tf.constant(8.0))
    expected = rotation_matrix(tf.constant([90.0])) @ translation_matrix(
        tf.constant([4.0]), tf.constant([0.0])
    )
    np.testing.assert_allclose(chain, expected, atol=1e-6)
    # In the picture: turned by 90 degrees, and only then moved by 4 pixels to the right.
    images = random_images(1, 8, 8)
    out = first_draw(steps, images, fill_mode="constant")
    np.testing.assert_allclose(out[0, :, 4:], np.rot90(images[0])[:, :4], atol=0.01)


def test_four_rotations_that_compose_to_the_identity_return_the_image():
    images = random_images(2, 33, 32)
    angles = [13.0, 29.0, -31.0, -11.0]
    fused = first_draw([fixed("RandomRotation", angle) for angle in angles], images)
    np.testing.assert_allclose(fused, images, atol=0.01)
    chained = images
    for angle in angles:
        chained = first_draw([fixed("RandomRotation", angle)], chained)
    assert np.abs(chained - images).mean() > 10


def reference(transforms, image, fill_value):
    """The chain one transform at a time in float64; geometry by SciPy, contrast by the unwarped mean."""
    mean = image.mean((0, 1))
    for transform in transforms:
        kind, config = type(transform).__name__, transform.get_config()
        if kind == "RandomBrightness":
            added = config["factor"][0] * 255
            image, mean = image + added, mean + added
        elif kind == "RandomContrast":
            image = mean + config["factor"][0] * (image - mean)
        else:
            if kind == "RandomRotation":
                matrix = rotation_matrix(tf.constant([config["degrees"][0]])).numpy()[0]
            else:
                matrix = np.diag([-1.0, 1.0, 1.0])
            mode = "reflect" if fill_value is None else "constant"
            image = scipy_warp(image, matrix, mode)
            if fill_value is not None:
                image += fill_value * (1 - scipy_warp(np.ones_like(image), matrix, mode))
    return image


RUNS = {
    "colour first": [("RandomBrightness", 0.1), ("RandomContrast", 0.7), ("RandomRotation", 20.0)],
    "warp first": [("RandomRotation", 20.0), ("RandomContrast", 0.7), ("RandomBrightness", 0.1)],
    "between": [
        ("RandomContrast", 0.5),
        ("RandomRotation", -33.0),
        ("RandomBrightness", 0.2),
        ("RandomContrast", 0.6),
    ],
    "mixed": [("RandomBrightness", 0.1), "flip", ("RandomContrast", 0.6), ("RandomRotation", 20.0), "flip"],
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("fill_value", [None, 0.0, 90.0])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_fused_steps_equal_the_chain(run, fill_value, channels):
    transforms = [augment.RandomFlip(probability=1) if step == "flip" else fixed(*step) for step in RUNS[run]]
    images = np.random.default_rng(1).integers(80, 150, (2, 11, 14, channels), np.uint8)
    fill = {} if fill_value is None else {"fill_mode": "constant", "fill_value": fill_value}
    assert len(Pipeline(transforms, **fill).explain().segments) == 1
    out = first_draw(transforms, images, **fill)
    for image, result in zip(images, out, strict=True):
        np.testing.assert_allclose(result, reference(transforms, image.astype(float), fill_value), atol=0.02)


def test_a_split_constant_fill_equals_the_chain():
    transforms = [
        fixed("RandomRotation", 30.0),
        fixed("RandomBrightness", 0.2),
        fixed("RandomRotation", 25.0),
    ]
    images = np.random.default_rng(1).integers(80, 150, (1, 11, 14, 3), np.uint8)
    fill = {"fill_mode": "constant", "fill_value": 10}
    assert Pipeline(transforms, **fill).explain().resamples == 2
    expected = reference(transforms, images[0].astype(float), 10)
    np.testing.assert_allclose(first_draw(transforms, images, **fill)[0], expected, atol=0.02)


@settings(max_examples=20, deadline=None)
@given(
    contrast=st.floats(0, 2),
    brightness=st.floats(-1, 1),
    contrast_first=st.booleans(),
    channels=st.sampled_from([1, 3, 4]),
)
def test_the_colour_map_is_its_formula(contrast, brightness, contrast_first, channels):
    images = random_images(3, 5, 6, channels)
    transforms = [fixed("RandomContrast", contrast), fixed("RandomBrightness", brightness)]
    transforms = transforms if contrast_first else transforms[::-1]
    x = images.astype(float)
    for transform in transforms:
        if isinstance(transform, augment.RandomContrast):
            mean = x.mean((1, 2), keepdims=True)
            x = mean + contrast * (x - mean)
        else:
            x = x + brightness * 255
    np.testing.assert_allclose(first_draw(transforms, images), np.clip(x, 0, 255), atol=2e-3)


@pytest.mark.parametrize("fill", [{}, {"fill_mode": "constant", "fill_value": 60}])
def test_transforms_that_mix_channels_equal_their_formulas(fill):
    images = random_images(3)
    grey = images @ np.array([0.299, 0.587, 0.114])[:, None]
    saturated = first_draw([fixed("RandomSaturation", 0.4)], images, **fill)
    np.testing.assert_allclose(saturated, grey + 0.4 * (images - grey), atol=1e-3)
    np.testing.assert_allclose(
        first_draw([augment.RandomGrayscale(1)], images, **fill), np.repeat(grey, 3, -1), atol=1e-3
    )
    # Contrast must be given the mean of the grey image; the fill stands after the flip, and is not seen.
    steps = [augment.RandomGrayscale(1), augment.RandomFlip(probability=1), fixed("RandomContrast", 0.5)]
    mean = grey.mean((1, 2), keepdims=True)
    expected = np.repeat(mean + 0.5 * (grey - mean), 3, -1)[:, :, ::-1]
    np.testing.assert_allclose(first_draw(steps, images, **fill), expected, atol=1e-3)


def test_the_fill_takes_the_colours_that_come_after_it():
    steps = [fixed("RandomSaturation", 0.4), fixed("RandomTranslation", 2.0), fixed("RandomBrightness", 0.1)]
    out = first_draw(steps, random_images(1), fill_mode="constant", fill_value=60)
    np.testing.assert_allclose(out, 85.5, atol=1e-3)


def test_a_shear_slants_rows():
    images = random_images(1, 9, 9)
    out = first_draw([augment.RandomShear((0.5, 0.5))], images, fill_mode="constant")
    np.testing.assert_array_equal(out[0, 4], images[0, 4])
    np.testing.assert_array_equal(out[0, 6, 1:], images[0, 6, :-1])
    np.testing.assert_array_equal(out[0, 0, :-2], images[0, 0, 2:])


def test_matrices_and_gains_compose_alike():
    rng = np.random.default_rng(0)
    gains = [tf.constant(rng.normal(size=(2, 3)), tf.float32) for _ in range(2)]
    biases = [tf.constant(rng.normal(size=(2, 3)), tf.float32) for _ in range(2)]
    full = [tf.linalg.diag(gain) for gain in gains]
    expected = compose((gains[0], biases[0]), (gains[1], biases[1]))
    for first in (gains[0], full[0]):
        matrix, bias = compose((first, biases[0]), (full[1], biases[1]))
        np.testing.assert_allclose(matrix, tf.linalg.diag(expected[0]), atol=1e-6)
        np.testing.assert_allclose(bias, expected[1], atol=1e-6)


def test_a_transform_that_mixes_channels_needs_one_method():
    swap = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)

    class Swap(augment.ColorTransform):
        def color_map(self, uniform, mean, width):
            return tf.zeros_like(mean)[..., None] + swap, tf.zeros_like(mean)

    images = random_images(2)
    out = first_draw([fixed("RandomBrightness", 0.1), Swap(), fixed("RandomContrast", 0.5)], images)
    x = np.minimum(images[..., [1, 2, 0]] + 25.5, 1e9)
    mean = x.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(out, np.clip(mean + 0.5 * (x - mean), 0, 255), atol=1e-3)


def test_a_new_geometric_transform_needs_one_method():
    class HalfTurn(augment.GeometricTransform):
        def matrix(self, uniform, height, width):
            return rotation_matrix(tf.zeros_like(uniform[:, 0]) + 180.0)

    images = random_images(2)
    np.testing.assert_allclose(first_draw([HalfTurn()], images), images[:, ::-1, ::-1], atol=0.01)
    half = first_draw([HalfTurn(probability=0.5)], random_images(200))
    turned = np.abs(half - random_images(200)).max((1, 2, 3)) > 1
    assert 60 < turned.sum() < 140


def test_contrast_and_rotation_commute_as_promised():
    images = random_images(2)
    rotation, contrast = fixed("RandomRotation", 25.0), fixed("RandomContrast", 0.5)
    np.testing.assert_allclose(
        first_draw([rotation, contrast], images), first_draw([contrast, rotation], images), atol=1e-3
    )


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: augment.RandomRotation((20, 30), probability=p),
        lambda p: augment.RandomZoom((0.2, 0.3), probability=p),
        lambda p: augment.RandomTranslation((0.2, 0.3), probability=p),
        lambda p: augment.RandomFlip(probability=p),
        lambda p: augment.RandomFlip("vertical", probability=p),
        lambda p: augment.RandomBrightness((0.2, 0.3), probability=p),
        lambda p: augment.RandomContrast((0.2, 0.3), probability=p),
    ],
)
def test_probability_is_the_share_of_changed_images(make, probability):
    images = random_images(600, 4, 5)
    changed = np.abs(first_draw([make(probability)], images) - images).max((1, 2, 3)) > 0.01
    # Four standard deviations of a binomial share of 600.
    assert abs(changed.mean() - probability) <= 4 * np.sqrt(probability * (1 - probability) / 600)


def steps_of(*transforms):
    return make_plan(
        transforms, [f"t{i}" for i in range(len(transforms))], "reflect", 0.0, (0, 255), "float32"
    ).steps


def column(values, lanes):
    """Uniform numbers whose magnitudes take these values, and whose gate is always open."""
    return tf.concat(
        [tf.zeros([len(values), 1]), tf.constant(np.repeat(values[:, None], lanes - 1, 1), tf.float32)], 1
    )


def test_magnitudes_span_their_range_evenly():
    grid = np.linspace(0, 1, 11)
    size = tf.constant(40.0), tf.constant(50.0)

    m = chain_matrix(steps_of(augment.RandomRotation((-10, 30))), column(grid, 2), *size).numpy()
    np.testing.assert_allclose(np.degrees(np.arctan2(m[:, 1, 0], m[:, 0, 0])), -10 + 40 * grid, atol=1e-3)

    m = chain_matrix(steps_of(augment.RandomZoom(0.5)), column(grid, 3), *size).numpy()
    np.testing.assert_allclose(1 / m[:, 0, 0], 0.5 + grid, atol=1e-5)
    np.testing.assert_allclose(m[:, 0, 0], m[:, 1, 1])

    m = chain_matrix(steps_of(augment.RandomZoom(0.0, (0.0, 1.0))), column(grid, 3), *size).numpy()
    np.testing.assert_allclose(1 / m[:, 0, 0], 1 + grid, atol=1e-5)
    np.testing.assert_allclose(m[:, 1, 1], 1)

    m = chain_matrix(steps_of(augment.RandomTranslation(0.1, (0, 0.2))), column(grid, 3), *size).numpy()
    np.testing.assert_allclose(-m[:, 1, 2], (-0.1 + 0.2 * grid) * 40, atol=1e-5)
    np.testing.assert_allclose(-m[:, 0, 2], 0.2 * grid * 50, atol=1e-5)

    mean = tf.fill([11, 1], 100.0)
    gain, bias = chain_map(steps_of(augment.RandomBrightness(0.2)), column(grid, 2), mean)
    np.testing.assert_allclose(gain, 1)
    np.testing.assert_allclose(bias[:, 0], (-0.2 + 0.4 * grid) * 255, atol=1e-4)

    gain, bias = chain_map(steps_of(augment.RandomContrast(0.5)), column(grid, 2), mean)
    np.testing.assert_allclose(gain[:, 0], 0.5 + grid, atol=1e-6)
    np.testing.assert_allclose(bias[:, 0], 100 * (0.5 - grid), atol=1e-4)


def test_flips_of_both_axes_are_decided_on_their_own():
    images = random_images(400, 3, 4)
    out = first_draw([augment.RandomFlip("both")], images)
    kinds = [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]
    counts = [int(np.all(out == kind, axis=(1, 2, 3)).sum()) for kind in kinds]
    assert sum(counts) == 400
    assert min(counts) > 65
