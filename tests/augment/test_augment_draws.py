"""The generator against its published answers, and the distribution of what it yields."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kerasreg.augment.draws import call_epoch, lane_words, threefry2x32, uniforms, words


def u32(*values):
    return tuple(tf.constant(value, tf.uint32) for value in values)


def draw(seed=0, names=("A",), sizes=(1,), epoch=0, count=1000, first=0):
    index = tf.range(first, first + count, dtype=tf.int64)
    return uniforms(seed, lane_words(names, sizes), tf.constant(epoch, tf.int64), index).numpy()


# Known answers that Random123 ships with its reference implementation, threefry2x32-20.
@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_threefry_gives_the_published_answers(counter, key, answer, jit_compile):
    function = tf.function(threefry2x32, jit_compile=jit_compile)
    assert tuple(int(word) for word in function(u32(*key), u32(*counter))) == answer


def test_words_are_the_two_halves_of_an_integer():
    values = [0, 1, -1, 2**32, 2**40 + 7, -(2**63), 2**63 - 1]
    low, high = words(tf.constant(values, tf.int64))
    assert low.numpy().tolist() == [value & 0xFFFFFFFF for value in values]
    assert high.numpy().tolist() == [(value >> 32) & 0xFFFFFFFF for value in values]


def test_numbers_are_uniform_and_independent():
    numbers = draw(names=("A", "B"), sizes=(2, 1), count=20_000)
    assert numbers.shape == (20_000, 3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < 0.03
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"seed": 1 << 32}, {"names": ("B",)}, {"epoch": 1}, {"epoch": 1 << 32}]
)
def test_every_part_of_the_key_counts(change):
    assert abs(np.corrcoef(draw()[:, 0], draw(**change)[:, 0])[0, 1]) < 0.15
    assert np.mean(draw() == draw(**change)) < 0.01


def test_a_number_depends_on_its_own_image_and_transform_alone():
    np.testing.assert_array_equal(draw(count=10, first=5), draw(count=15)[5:])
    both = draw(names=("New", "A"), sizes=(3, 1))
    np.testing.assert_array_equal(both[:, 3:], draw())


def test_calls_and_datasets_draw_from_different_epochs():
    assert int(call_epoch(tf.constant(0, tf.int64))) < 0
    assert len({int(call_epoch(tf.constant(i, tf.int64))) for i in range(10)}) == 10


def test_negative_and_large_seeds_are_told_apart():
    seeds = [0, -1, 1, 2**63, 2**64 - 2]
    assert len({draw(seed=seed, count=1).item() for seed in seeds}) == len(seeds)
