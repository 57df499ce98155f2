"""Batch renormalisation: the paper's formulas, its warm-up, masks, and batches that cannot be used."""

import keras
import numpy as np
import pytest
from backend_tools import array
from keras_versions import HAS_RENORM

import kerasreg as kr

pytestmark = pytest.mark.skipif(not HAS_RENORM, reason="Keras has no renorm before 3.14")
EPSILON = 1e-3
CLIPPING = {"rmin": 0.5, "rmax": 2.0, "dmax": 1.0}
NAMES = ("gamma", "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev")


class Paper:
    """Algorithm 1 of the paper in NumPy, with Keras' five statistics."""

    def __init__(self, features, clipping, warmup=None, rate=0.01, renorm_rate=0.01):
        self.mean, self.stddev = np.zeros(features), np.ones(features)
        self.renorm_mean, self.renorm_stddev = np.zeros(features), np.ones(features)
        self.clipping, self.warmup, self.rates, self.step = clipping, warmup, (rate, renorm_rate), 0

    def __call__(self, x, kept=None):
        values = x.reshape(-1, x.shape[-1]) if kept is None else x[kept]
        mean, stddev = values.mean(0), np.sqrt(values.var(0) + EPSILON)
        limits = dict(self.clipping)
        if self.warmup:
            opened = np.clip((self.step - self.warmup[0]) / (self.warmup[1] - self.warmup[0]), 0, 1)
            limits = {k: (k != "dmax") * (1 - opened) + opened * v for k, v in limits.items()}
        r = np.clip(stddev / self.renorm_stddev, limits.get("rmin", 0), limits.get("rmax", np.inf))
        widest = limits.get("dmax", np.inf)
        d = np.clip((mean - self.renorm_mean) / self.renorm_stddev, -widest, widest)
        rate, renorm_rate = self.rates
        self.mean += rate * (mean - self.mean)
        self.stddev += rate * (stddev - self.stddev)
        self.renorm_mean += renorm_rate * (mean - self.renorm_mean)
        self.renorm_stddev += renorm_rate * (stddev - self.renorm_stddev)
        self.step += 1
        return (x - mean) / stddev * r + d


def statistics(layer):
    return [array(getattr(layer, name)) for name in NAMES[2:]]


def batches(rng, count, shape=(6, 5, 3)):
    return [rng.normal(rng.normal(size=3) * 2, 3.0, shape).astype("float32") for _ in range(count)]


@pytest.mark.parametrize("warmup", [None, (1, 4)])
@pytest.mark.parametrize("clipping", [{}, CLIPPING, {"rmax": 1.5}, {"dmax": 0.2}], ids=str)
def test_outputs_and_statistics_are_the_papers(clipping, warmup, rng):
    layer = kr.layers.BatchNormalization(
        update_rate=0.3,
        renorm=True,
        renorm_clipping=clipping,
        renorm_momentum=0.8,
        renorm_warmup=warmup if clipping else None,
    )
    paper = Paper(3, clipping, warmup if clipping else None, 0.3, 0.2)
    for x in batches(rng, 6):
        np.testing.assert_allclose(array(layer(x, training=True)), paper(x), rtol=1e-4, atol=1e-4)
    expected = (paper.mean, paper.stddev**2 - EPSILON, paper.stddev, paper.renorm_mean, paper.renorm_stddev)
    for got, wanted in zip(statistics(layer), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_mask_leaves_positions_out(rng):
    layer = kr.layers.BatchNormalization(renorm=True, renorm_clipping=CLIPPING)
    paper = Paper(3, CLIPPING)
    for x in batches(rng, 3):
        kept = rng.random(x.shape[:2]) < 0.6
        y = array(layer(x, training=True, mask=kept))
        np.testing.assert_allclose(y[kept], paper(x, kept)[kept], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(array(layer.renorm_mean), paper.renorm_mean, rtol=1e-4, atol=1e-5)


def test_it_computes_what_keras_computes_and_takes_its_weights(rng):
    arguments = {"renorm": True, "renorm_clipping": CLIPPING, "renorm_momentum": 0.7, "momentum": 0.9}
    theirs, ours = keras.layers.BatchNormalization(**arguments), kr.layers.BatchNormalization(**arguments)
    theirs.build((None, 5, 3))
    theirs.set_weights([np.abs(rng.normal(1, 0.2, w.shape)) for w in theirs.weights])
    ours.build((None, 5, 3))
    ours.set_weights(theirs.get_weights())
    for x in batches(rng, 3):
        np.testing.assert_allclose(
            array(ours(x, training=True)), array(theirs(x, training=True)), rtol=1e-4, atol=1e-4
        )
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_until_the_warm_up_starts_it_is_plain_batch_normalisation(rng):
    layer = kr.layers.BatchNormalization(renorm=True, renorm_warmup=(2, 4))
    plain = kr.layers.BatchNormalization()
    gaps = []
    for x in batches(rng, 6):
        gaps.append(np.abs(array(layer(x, training=True)) - array(plain(x, training=True))).max())
    # Steps 0, 1 and 2 are closed; from step 3 on the limits open.
    assert max(gaps[:3]) < 1e-5
    assert min(gaps[3:]) > 0.1
    assert layer.renorm_clipping == {"rmin": 1 / 3, "rmax": 3.0, "dmax": 5.0}


def test_the_warm_up_goes_on_after_a_reload(rng, tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 3)), kr.layers.BatchNormalization(renorm=True, renorm_warmup=(1, 5))]
    )
    data = batches(rng, 5)
    for x in data[:3]:
        model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[0].renorm_warmup == (1, 5)
    for x in data[3:]:
        np.testing.assert_array_equal(array(model(x, training=True)), array(again(x, training=True)))


def test_a_batch_that_cannot_be_used_changes_nothing(rng):
    layer = kr.layers.BatchNormalization(renorm=True, renorm_warmup=(0, 3))
    x = batches(rng, 1)[0]
    layer(x, training=True)
    before = layer.get_weights()
    dirty = x.copy()
    dirty[0, 0, 0] = np.nan
    y = array(layer(dirty, training=True))
    layer(x, training=True, mask=np.zeros(x.shape[:2], bool))
    assert layer.skipped_batches == 2
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(y[1:], array(layer(x, training=False))[1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"renorm": True, "renorm_clipping": {"rmaxx": 2.0}}, "rmaxx"),
        ({"renorm": True, "renorm_clipping": {"rmin": 3.0, "rmax": 2.0}}, "rmin at most rmax"),
        ({"renorm": True, "renorm_clipping": {"dmax": -1.0}}, "-1"),
        ({"renorm": True, "renorm_momentum": 1.5}, "1.5"),
        ({"renorm": True, "renorm_warmup": (5, 5)}, "start below end"),
        ({"renorm": True, "renorm_warmup": 5}, "two steps"),
        ({"renorm_warmup": (0, 5)}, "renorm=True"),
        ({"renorm": True, "virtual_batch_size": 2}, "virtual_batch_size"),
        ({"renorm": True, "averaging": "debiased"}, "debiased"),
    ],
    ids=str,
)
def test_contradictions_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        kr.layers.BatchNormalization(**arguments)
