"""AugMix against its formula, and the shares that it draws."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, first_draw, random_images
from scipy import stats

from kerasreg import augment
from kerasreg.augment import AugMix, Pipeline
from kerasreg.augment.draws import uniforms
from kerasreg.augment.execute import execute

IMAGES = random_images(8, 9, 12) // 2 + 30


def numbers_of(pipeline, count):
    lanes = pipeline.explain().lanes
    return uniforms(0, lanes, tf.constant(0, tf.int64), tf.range(count, dtype=tf.int64))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("width", [1, 3])
def test_it_is_the_formula(width, exact):
    pipeline = Pipeline([AugMix(severity=8, width=width, alpha=0.7)], exact=exact)
    segment = pipeline.explain().segments[0]
    uniform = drawn(pipeline, 8)
    step = segment.steps[0]
    shares = step.transform.shares(step.numbers(uniform))
    m = 1 - np.asarray(shares["image"])
    w = np.asarray(shares["chains"]) / m[:, None]
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-4)
    mixed, size, chains = 0.0, len(segment.chain.lanes), []
    for k in range(width):
        first = segment.chain_lane + k * size
        chains.append(execute(segment.chain, IMAGES, uniform[:, first : first + size]).numpy())
        mixed = mixed + w[:, k, None, None, None] * chains[-1]
    m = m[:, None, None, None]
    out = first_draw(pipeline.transforms, IMAGES, exact=exact)
    np.testing.assert_allclose(out, (1 - m) * IMAGES + m * mixed, atol=0.01)
    # The chains are several, and something else than the image.
    assert all(np.abs(chain - IMAGES).mean() > 3 for chain in chains)
    assert all(np.abs(chain - chains[0]).mean() > 3 for chain in chains[1:])


def test_compiled_it_is_the_same():
    transforms = [augment.RandomBrightness((0.4, 0.5)), AugMix(width=2)]
    np.testing.assert_allclose(
        Pipeline(transforms)(IMAGES, draw=0), first_draw(transforms, IMAGES), atol=1e-2
    )


def test_shares_follow_their_distributions():
    pipeline = Pipeline([AugMix(alpha=0.4, probability=0.5)])
    step = pipeline.explain().steps[0]
    shares = step.transform.shares(step.numbers(numbers_of(pipeline, 6000)))
    image, chains = np.float64(shares["image"]), np.float64(shares["chains"])
    np.testing.assert_allclose(image + chains.sum(1), 1, atol=1e-5)
    fires = image < 1
    assert abs(fires.sum() - 3000) < 200
    # What is so near to 1 that float32 does not tell it apart counts as not drawn.
    assert stats.kstest(image[fires], stats.beta(0.4, 0.4).cdf).statistic < 0.03
    weights = chains[fires] / (1 - image[fires])[:, None]
    exact = stats.dirichlet([0.4] * 3)
    np.testing.assert_allclose(weights.mean(0), exact.mean(), atol=0.03)
    np.testing.assert_allclose(np.cov(weights.T), exact.cov(), atol=0.02)


@pytest.mark.parametrize(("depth", "expected"), [(-1, [1, 2, 3]), (2, [2]), (4, [4])])
def test_chains_are_as_deep_as_they_say(depth, expected):
    pipeline = Pipeline([AugMix(width=2, depth=depth)])
    segment = pipeline.explain().segments[0]
    uniform = numbers_of(pipeline, 3000)
    size = len(segment.chain.lanes)
    depths = []
    for k in range(2):
        columns = uniform[:, segment.chain_lane + k * size :][:, :size]
        steps = segment.chain.steps
        depths.append(sum(np.int32(step.fires(columns)) for step in steps))
    counts = np.bincount(depths[0], minlength=5)
    assert sorted(set(depths[0])) == expected
    if depth == -1:
        assert stats.chisquare(counts[expected]).pvalue > 1e-3
        assert abs(np.corrcoef(depths)[0, 1]) < 0.08


def test_the_operations_are_the_nine_that_imagenet_c_does_not_have():
    names = {step.name.split("/")[-1] for step in Pipeline([AugMix()]).explain().segments[0].chain.steps}
    assert names == {
        *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
        *("Posterize", "Solarize", "AutoContrast", "Equalize"),
    }


def test_a_chain_that_is_added_leaves_the_others_as_they_are():
    few, many = (Pipeline([AugMix(width=width)]) for width in (2, 3))
    segments = [pipeline.explain().segments[0] for pipeline in (few, many)]
    size = len(segments[0].chain.lanes)
    columns = [
        np.asarray(numbers_of(pipeline, 5))[:, segment.chain_lane :][:, : 2 * size]
        for pipeline, segment in zip((few, many), segments, strict=True)
    ]
    np.testing.assert_array_equal(*columns)


def test_a_severity_of_zero_only_stretches_and_evens():
    policy = AugMix(severity=0, operations=["ShearX", "Rotate", "TranslateY", "Solarize"])
    out = first_draw([policy], IMAGES)
    np.testing.assert_allclose(out, IMAGES, atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"severity": 11}, ["severity", "11"]),
        ({"width": 0}, ["width", "0"]),
        ({"depth": 0}, ["depth", "0"]),
        ({"depth": -2}, ["depth", "-2"]),
        ({"alpha": 0}, ["alpha", "0"]),
        ({"alpha": float("nan")}, ["alpha", "nan"]),
        ({"operations": ["Blur"]}, ["operations", "'Blur'"]),
    ],
)
def test_bad_input_is_one_sentence(arguments, words):
    with pytest.raises(ValueError, match="Argument `") as caught:
        AugMix(**arguments)
    for word in words:
        assert word in str(caught.value)


def test_marks_have_no_place_in_a_mixture():
    element = {"images": IMAGES, "keypoints": np.zeros((8, 1, 2), np.float32)}
    with pytest.raises(ValueError, match="'keypoints' for AugMix"):
        Pipeline([AugMix()])(element)
