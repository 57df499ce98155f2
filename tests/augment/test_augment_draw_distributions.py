"""Every draw has the distribution that its transform states, and none tells anything of another.

What is tested is what acts: the magnitude is read back from the matrix, the colour map or the numbers of a
transform, placed in one pipeline with all others. P-values are compared with 1e-4: with these seeds nothing
is left to luck, and a range that is a per cent off or a probability that is a tenth off shows.
"""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn
from scipy import stats

from kerasreg.augment import (
    ColorJitter,
    Pipeline,
    RandomAutoContrast,
    RandomBrightness,
    RandomContrast,
    RandomEqualize,
    RandomErasing,
    RandomFlip,
    RandomGaussianBlur,
    RandomGaussianNoise,
    RandomGrayscale,
    RandomHue,
    RandomInvert,
    RandomPosterize,
    RandomRotation,
    RandomSaturation,
    RandomSharpness,
    RandomShear,
    RandomSolarize,
    RandomTranslation,
    RandomZoom,
)
from kerasreg.augment.hue import YIQ
from kerasreg.augment.noise import standard_normal

COUNT = 4000
HEIGHT, WIDTH = 1000.0, 800.0
LEAST = 1e-4

# Never the symmetric range about the neutral value: a sign or an end that is lost shows.
TRANSFORMS = [
    RandomRotation((-30, 50), name="rotation"),
    RandomZoom((-0.4, 0.7), width_factor=(-0.2, 0.1), name="zoom"),
    RandomTranslation((-0.1, 0.3), (0.2, 0.5), name="translation"),
    RandomShear((-0.3, 0.6), (0.1, 0.4), name="shear"),
    RandomBrightness((-0.1, 0.4), name="brightness"),
    RandomContrast((0.3, 1.1), name="contrast"),
    RandomSaturation((0.2, 1.9), name="saturation"),
    RandomHue((-20, 90), name="hue"),
    ColorJitter((-0.3, 0.1), (0.5, 1.7), name="jitter"),
    ColorJitter(saturation=(0.4, 1.2), hue=(5, 60), name="tint"),
    RandomSolarize((0.2, 0.9), probability=1, name="solarize"),
    RandomSharpness((0.1, 2.5), name="sharpness"),
    RandomGaussianBlur((0.3, 2.1), name="blur"),
    RandomGaussianNoise((0.01, 0.2), name="noise"),
    RandomErasing((0.05, 0.3), ratio=(0.4, 2), probability=1, name="erasing"),
]


@pytest.fixture(scope="module")
def steps():
    return placed(TRANSFORMS)


def placed(transforms, seed=7):
    """By name, each transform in its place in a pipeline, with the pipeline's numbers."""
    pipeline = Pipeline(transforms, seed=seed)
    uniform = drawn(pipeline, COUNT)
    return {step.name: (step, uniform) for step in pipeline.explain().steps}


def matrices(step, uniform):
    return step.matrix(uniform, tf.constant(HEIGHT), tf.constant(WIDTH)).numpy().astype("float64")


def maps(step, uniform):
    gain, bias = step.color_map(uniform, tf.zeros([COUNT, 3]))
    return gain.numpy().astype("float64"), bias.numpy().astype("float64")


def measured(step, uniform):
    found = step.measure(tf.zeros([COUNT, 1, 1, 1]), uniform)
    return {key: np.asarray(value, "float64") for key, value in found.items()}


def angle(step, uniform):
    m = matrices(step, uniform)
    return np.degrees(np.arctan2(m[:, 1, 0], m[:, 0, 0]))


def slopes(step, uniform):
    return np.linalg.inv(matrices(step, uniform))


def saturation(gain):
    """f of f I + (1 - f) G, where the rows of G are equal."""
    return gain[:, 0, 0] - gain[:, 1, 0]


def hue(gain):
    turned = YIQ @ gain @ np.linalg.inv(YIQ)
    return np.degrees(np.arctan2(turned[:, 1, 2] - turned[:, 2, 1], turned[:, 1, 1] + turned[:, 2, 2]))


def chroma(gain):
    """The factor on I and Q of a saturation and a turn of hue together."""
    turned = YIQ @ gain @ np.linalg.inv(YIQ)
    return np.hypot(turned[:, 1, 1], turned[:, 1, 2])


def erased(step, uniform):
    # Of the pixels only the size is looked at.
    numbers = step.measure(tf.zeros([1, int(HEIGHT), int(WIDTH), 1]), uniform)
    found = {key: np.asarray(value) for key, value in numbers.items()}
    return found, found["bottom"] - found["top"], found["right"] - found["left"]


# For each magnitude: whose it is, the ends of its range, and how it is read back.
UNIFORM = {
    "rotation": ("rotation", (-30, 50), angle),
    "zoom of heights": ("zoom", (-0.4, 0.7), lambda *a: 1 / matrices(*a)[:, 1, 1] - 1),
    "zoom of widths": ("zoom", (-0.2, 0.1), lambda *a: 1 / matrices(*a)[:, 0, 0] - 1),
    "translation down": ("translation", (-0.1, 0.3), lambda *a: -matrices(*a)[:, 1, 2] / HEIGHT),
    "translation right": ("translation", (0.2, 0.5), lambda *a: -matrices(*a)[:, 0, 2] / WIDTH),
    "shear of rows": ("shear", (-0.3, 0.6), lambda *a: slopes(*a)[:, 0, 1]),
    "shear of columns": ("shear", (0.1, 0.4), lambda *a: slopes(*a)[:, 1, 0]),
    "brightness": ("brightness", (-0.1, 0.4), lambda *a: maps(*a)[1][:, 0] / 255),
    "contrast": ("contrast", (0.3, 1.1), lambda *a: maps(*a)[0][:, 0]),
    "saturation": ("saturation", (0.2, 1.9), lambda *a: saturation(maps(*a)[0])),
    "hue": ("hue", (-20, 90), lambda *a: hue(maps(*a)[0])),
    "brightness of a jitter": ("jitter", (-0.3, 0.1), lambda *a: maps(*a)[1][:, 0] / 255),
    "contrast of a jitter": ("jitter", (0.5, 1.7), lambda *a: maps(*a)[0][:, 0]),
    "saturation of a jitter": ("tint", (0.4, 1.2), lambda *a: chroma(maps(*a)[0])),
    "hue of a jitter": ("tint", (5, 60), lambda *a: hue(maps(*a)[0])),
    "threshold": ("solarize", (0.2, 0.9), lambda *a: measured(*a)["threshold"]),
    "sharpness": ("sharpness", (0.1, 2.5), lambda *a: measured(*a)["factor"]),
    "sigma": ("blur", (0.3, 2.1), lambda *a: measured(*a)["sigma"]),
    "noise": ("noise", (0.01, 0.2), lambda *a: measured(*a)["std"]),
    "erased area": ("erasing", (0.05, 0.3), lambda *a: erased(*a)[1] * erased(*a)[2] / (HEIGHT * WIDTH)),
    "log of erased height over width": (
        "erasing",
        (np.log(0.4), np.log(2)),
        lambda *a: np.log(erased(*a)[1] / erased(*a)[2]),
    ),
    "erased from above": ("erasing", (0, 1), lambda *a: erased(*a)[0]["top"] / (HEIGHT - erased(*a)[1])),
    "erased from the left": ("erasing", (0, 1), lambda *a: erased(*a)[0]["left"] / (WIDTH - erased(*a)[2])),
}


@pytest.fixture(scope="module")
def magnitudes(steps):
    return {name: read(*steps[whose]) for name, (whose, _, read) in UNIFORM.items()}


@pytest.mark.parametrize("name", UNIFORM)
def test_a_magnitude_is_uniform_on_its_range(name, magnitudes):
    low, high = UNIFORM[name][1]
    found = magnitudes[name]
    assert found.shape == (COUNT,)
    # Read back in float32, erased rectangles to whole pixels.
    slack = (0.01 if "erased" in name else 1e-5) * (high - low)
    assert low - slack <= found.min() < low + 0.01 * (high - low) + slack
    assert high - 0.01 * (high - low) - slack < found.max() <= high + slack
    assert stats.kstest(found, "uniform", args=(low, high - low)).pvalue > LEAST


def test_no_magnitude_tells_of_another(magnitudes):
    table = np.stack(list(magnitudes.values()), axis=1)
    ranks = stats.spearmanr(table).statistic
    # 253 pairs at once: 4.5 standard deviations.
    assert np.abs(ranks - np.eye(len(ranks))).max() < 4.5 / np.sqrt(COUNT)
    # The place in the unit square, for what a rank correlation does not see.
    for first, second in zip(table.T, table.T[1:], strict=False):
        cells, _, _ = np.histogram2d(stats.rankdata(first), stats.rankdata(second), bins=8)
        assert stats.chi2_contingency(cells).pvalue > LEAST


def test_no_image_tells_of_the_next(magnitudes):
    for name, found in magnitudes.items():
        assert len(np.unique(found)) > 0.6 * COUNT, name
        for distance in (1, 2, 64):
            correlation = stats.spearmanr(found[distance:], found[:-distance]).statistic
            assert abs(correlation) < 4.5 / np.sqrt(COUNT), name


@pytest.mark.parametrize("what", ["seed", "name"])
def test_another_seed_or_name_is_another_draw(what, magnitudes):
    second = RandomRotation((-30, 50), name="rotation" if what == "seed" else "other")
    others = placed([second], seed=8 if what == "seed" else 7)
    found = angle(*others[second.name])
    assert abs(stats.spearmanr(found, magnitudes["rotation"]).statistic) < 4.5 / np.sqrt(COUNT)
    alone = placed([RandomRotation((-30, 50), name="rotation")])
    np.testing.assert_allclose(angle(*alone["rotation"]), magnitudes["rotation"], atol=1e-3)


def test_two_of_a_class_draw_on_their_own():
    twins = placed([RandomRotation(20), RandomRotation(20)])
    first, second = (angle(*twins[name]) for name in ("RandomRotation", "RandomRotation_1"))
    assert abs(stats.spearmanr(first, second).statistic) < 4.5 / np.sqrt(COUNT)


def same_matrix(step, uniform):
    return np.all(matrices(step, uniform) == np.eye(3), axis=(1, 2))


def same_map(step, uniform):
    gain, bias = maps(step, uniform)
    return np.all(gain == (np.eye(3) if gain.ndim == 3 else 1), axis=tuple(range(1, gain.ndim))) & np.all(
        bias == 0, axis=1
    )


def idle(step, uniform):
    return measured(step, uniform)["fires"] == 0


GATED = [
    (RandomRotation((5, 9), probability=0.3), same_matrix),
    (RandomZoom((0.1, 0.2), probability=0.3), same_matrix),
    (RandomTranslation((0.1, 0.2), probability=0.3), same_matrix),
    (RandomShear((0.1, 0.2), probability=0.3), same_matrix),
    (RandomBrightness((0.1, 0.2), probability=0.3), same_map),
    (RandomContrast((0.1, 0.2), probability=0.3), same_map),
    (RandomSaturation((0.1, 0.2), probability=0.3), same_map),
    (RandomHue((10, 20), probability=0.3), same_map),
    (RandomGrayscale(0.3), same_map),
    (RandomInvert(0.3), same_map),
    (ColorJitter((0.1, 0.2), (0.3, 0.4), probability=0.3), same_map),
    (RandomPosterize(4, probability=0.3), idle),
    (RandomSolarize(0.5, probability=0.3), idle),
    (RandomEqualize(0.3), idle),
    (RandomAutoContrast(0.3), idle),
    (RandomSharpness(0.5, probability=0.3), idle),
    (RandomGaussianBlur(1, probability=0.3), idle),
    (RandomGaussianNoise(0.1, probability=0.3), idle),
    (RandomErasing(probability=0.3), idle),
]


@pytest.fixture(scope="module")
def gates():
    both = placed([transform for transform, _ in GATED])
    return np.stack([~same(*both[type(transform).__name__]) for transform, same in GATED], axis=1)


@pytest.mark.parametrize("place", range(len(GATED)), ids=lambda i: type(GATED[i][0]).__name__)
def test_as_many_images_are_changed_as_stated(place, gates):
    fires = gates[:, place]
    assert stats.binomtest(int(fires.sum()), COUNT, 0.3).pvalue > LEAST
    runs = 1 + int(np.sum(fires[1:] != fires[:-1]))
    # Wald and Wolfowitz: as many runs as independent images have.
    share = fires.mean()
    expected, deviation = 2 * COUNT * share * (1 - share), 2 * np.sqrt(COUNT) * share * (1 - share)
    assert abs(runs - expected) < 4.5 * deviation


def test_who_is_changed_by_one_is_not_by_another_more_often(gates):
    correlations = np.corrcoef(gates.T)
    assert np.abs(correlations - np.eye(len(correlations))).max() < 4.5 / np.sqrt(COUNT)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_never_and_always(probability):
    for step, uniform in placed([RandomInvert(probability), RandomBrightness(0.1, probability)]).values():
        assert np.all(same_map(step, uniform) != bool(probability))


def test_whether_an_image_is_changed_says_nothing_of_how_much():
    step, uniform = placed([RandomRotation((5, 9), probability=0.3)])["RandomRotation"]
    turned = angle(step, uniform)[~same_matrix(step, uniform)]
    assert stats.kstest(turned, "uniform", args=(5, 4)).pvalue > LEAST


@pytest.mark.parametrize("mode", ["horizontal", "vertical", "both"])
def test_flips_are_tosses_of_one_or_two_coins(mode):
    step, uniform = placed([RandomFlip(mode, probability=0.3)])["RandomFlip"]
    sides = matrices(step, uniform)[:, [0, 1], [0, 1]] < 0
    for axis, name in enumerate(("horizontal", "vertical")):
        if mode in (name, "both"):
            assert stats.binomtest(int(sides[:, axis].sum()), COUNT, 0.3).pvalue > LEAST
        else:
            assert not sides[:, axis].any()
    if mode == "both":
        assert stats.binomtest(int(sides.all(1).sum()), COUNT, 0.09).pvalue > LEAST


@pytest.mark.parametrize("bits", [(2, 7), (3, 3)])
def test_every_number_of_bits_is_as_likely(bits):
    step, uniform = placed([RandomPosterize(bits, probability=1)])["RandomPosterize"]
    kept = 8 - np.log2(measured(step, uniform)["step"])
    counts = [np.sum(kept == b) for b in range(bits[0], bits[1] + 1)]
    assert sum(counts) == COUNT
    assert len(counts) == 1 or stats.chisquare(counts).pvalue > LEAST


def test_noise_is_normal_and_white(steps):
    step, uniform = steps["noise"]
    keys = step.measure(tf.zeros([COUNT, 1, 1, 1]), uniform)["keys"][:40]
    found = standard_normal(keys, tf.constant([40, 20, 20, 3])).numpy()
    assert stats.kstest(found.ravel(), "norm").pvalue > LEAST
    for axis in range(4):
        a, b = np.moveaxis(found, axis, 0)[1:], np.moveaxis(found, axis, 0)[:-1]
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4.5 / np.sqrt(a.size)
