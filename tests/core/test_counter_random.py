"""Counter-based numbers: a function of their place, uniform, and unrelated across places."""

import keras
import numpy as np
import pytest
from scipy import stats

from kerasreg._core.counter_random import Where, normal, uniform


def draw(shape, seed=0, stream=0, sample=0, first_row=0, number=0, kind=uniform, **more):
    where = Where(seed, stream, sample, first_row, draw=number, **more)
    return keras.ops.convert_to_numpy(kind(shape, where))


@pytest.mark.parametrize("width", [1, 3, 4, 7])
def test_a_row_has_its_numbers_whatever_batch_it_is_in(width):
    whole = draw((11, width))
    np.testing.assert_array_equal(np.concatenate([draw((6, width)), draw((5, width), first_row=6)]), whole)


def test_every_part_of_the_place_matters():
    base = draw((50, 8))
    for other in ({"seed": 1}, {"stream": 1}, {"sample": 1}, {"first_row": 50}, {"number": 1}):
        changed = draw((50, 8), **other)
        assert abs(np.corrcoef(base.ravel(), changed.ravel())[0, 1]) < 0.2
        assert not np.intersect1d(base, changed).size > 4


def test_distributions():
    u = draw((4000, 25)).ravel()
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    n = draw((4000, 25), kind=normal).ravel()
    assert stats.kstest(n, "norm").pvalue > 1e-3


def test_no_axis_but_rows():
    assert draw((5,)).shape == (5,)


@pytest.mark.parametrize("width", [3, 4])
def test_samples_side_by_side_are_those_drawn_one_by_one(width):
    together = draw((15, width), sample=2, first_row=7, samples=3)
    alone = [draw((5, width), sample=2 + i, first_row=7) for i in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_several_draws_of_a_row_stay_with_it():
    whole = draw((12, 5), rows=4)
    np.testing.assert_array_equal(draw((6, 5), rows=2, first_row=2), whole[6:])
    assert len(np.unique(whole)) == 60


@pytest.mark.parametrize("kind", [uniform, normal])
def test_mirror_images(kind):
    plain = draw((6, 50), kind=kind)
    mirrored = draw((6, 50), kind=kind, mirror="all")
    np.testing.assert_allclose(plain + mirrored, 1.0 if kind is uniform else 0.0, atol=1e-3)
    assert plain.min() >= 0 or kind is normal
    assert mirrored.min() >= 0 or kind is normal
    both = draw((12, 50), kind=kind, samples=2, mirror="half")
    np.testing.assert_array_equal(both, np.concatenate([plain, mirrored]))
