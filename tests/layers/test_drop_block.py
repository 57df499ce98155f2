"""DropBlock2D: the right share of units for every size of map and block, dropped as blocks."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg.layers.drop_block import block_start_rate, kept_units

DropBlock2D = kr.layers.DropBlock2D


def draws(rate, block, size, maps=6000, seed=0, **kwargs):
    """What is dropped in many maps, of shape (maps, height, width)."""
    layer = DropBlock2D(rate, block, seed=seed, mc=True, data_format="channels_last", **kwargs)
    y = array(layer(np.ones((maps // 4, *size, 4), "float32")))
    return np.moveaxis(y, -1, 1).reshape(-1, *size)


@pytest.mark.parametrize(
    ("block", "size"),
    [
        (1, (6, 6)),
        (3, (7, 9)),
        (4, (7, 7)),
        (2, (5, 8)),
        ((2, 5), (6, 6)),
        (7, (7, 7)),
        (9, (4, 6)),
        (20, (3, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_every_unit_is_dropped_with_the_rate_whatever_the_sizes(rate, block, size):
    y = draws(rate, block, size)
    maps = len(y)
    dropped = y == 0
    # Each place by itself, corners too: a binomial share, six standard errors for the many places.
    error = 6 * np.sqrt(rate * (1 - rate) / maps)
    assert np.abs(dropped.mean(axis=0) - rate).max() < error
    np.testing.assert_allclose(y[~dropped], 1 / (1 - rate), rtol=1e-6)
    # Then E[y] = x for each unit.
    assert np.abs(y.mean(axis=0) - 1.0).max() < error / (1 - rate)


@pytest.mark.parametrize(("high", "wide"), [(3, 3), (2, 4), (1, 1), (5, 2)])
def test_blocks_are_those_that_start_where_the_numbers_say(high, wide, rng):
    rate, (height, width) = 0.4, (6, 7)
    u = rng.uniform(size=(3, height + high - 1, width + wide - 1, 2)).astype("float32")
    keep = array(kept_units((3, height, width, 2), rate, (high, wide), lambda shape: u.reshape(shape)))
    expected = np.ones((3, height, width, 2))
    gamma = 1 - (1 - rate) ** (1 / (high * wide))
    for b, i, j, c in np.argwhere(u < gamma):
        # A block reaches up and left of where its number stands.
        expected[b, max(0, i - high + 1) : i + 1, max(0, j - wide + 1) : j + 1, c] = 0
    np.testing.assert_array_equal(keep, expected)
    assert 0 < expected.mean() < 1


def test_a_block_of_1_is_dropout_and_a_rate_has_its_start_rate():
    assert block_start_rate(0.3, (1, 1)) == pytest.approx(0.3)
    gamma = block_start_rate(0.1, (7, 7))
    assert 1 - (1 - gamma) ** 49 == pytest.approx(0.1)
    # To the first order it is the paper's, for a map so large that its border does not matter.
    assert gamma == pytest.approx(0.1 / 49, rel=0.06)


def test_neighbours_go_together_and_maps_do_not():
    dropped = draws(0.2, 4, (12, 12)) == 0
    assert np.corrcoef(dropped[:, 5, 5], dropped[:, 5, 6])[0, 1] > 0.6
    assert abs(np.corrcoef(dropped[:, 2, 2], dropped[:, 2, 9])[0, 1]) < 0.06
    assert abs(np.corrcoef(dropped[0::4].ravel(), dropped[1::4].ravel())[0, 1]) < 0.02


def test_channels_share_their_blocks_where_asked_to():
    x = np.ones((20, 6, 6, 5), "float32")
    y = array(DropBlock2D(0.3, 2, per_channel=False, seed=0, mc=True, data_format="channels_last")(x))
    np.testing.assert_array_equal(y, np.repeat(y[..., :1], 5, axis=-1))
    assert 0 < (y == 0).mean() < 1


def test_the_papers_normalisation_keeps_the_mean_of_each_map():
    y = draws(0.3, 3, (8, 8), normalize="count")
    whole = (y == 0).all(axis=(1, 2))
    np.testing.assert_allclose(y[~whole].mean(axis=(1, 2)), 1.0, rtol=1e-5)
    # count(m) / sum(m), other from map to map.
    kept = (y[~whole] != 0).mean(axis=(1, 2))
    np.testing.assert_allclose(y[~whole].max(axis=(1, 2)), 1 / kept, rtol=1e-5)
    assert kept.std() > 0.05


def test_a_map_dropped_whole_is_zero_in_either_normalisation():
    for normalize in ("rate", "count"):
        y = draws(0.5, 9, (3, 3), normalize=normalize)
        whole = (y == 0).all(axis=(1, 2))
        assert 0 < whole.mean() < 0.5
        assert np.isfinite(y).all()


@pytest.mark.parametrize("normalize", ["rate", "count"])
def test_data_formats_are_transposes(normalize, rng):
    x = rng.normal(size=(3, 5, 6, 4)).astype("float32")
    settings = {"rate": 0.3, "block_size": (2, 3), "normalize": normalize, "seed": 7, "mc": True}
    last = array(DropBlock2D(**settings, data_format="channels_last")(x))
    first = array(DropBlock2D(**settings, data_format="channels_first")(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(first.transpose(0, 2, 3, 1), last, rtol=1e-6)
    assert (last == 0).any()


def test_what_is_dropped_may_be_infinite():
    y = array(DropBlock2D(0.3, 2, seed=0, mc=True)(np.full((2, 8, 8, 3), np.inf, "float32")))
    assert set(y.ravel().tolist()) == {0.0, np.inf}


def test_a_size_that_is_not_known_beforehand():
    model = keras.Sequential(
        [keras.Input((None, None, 2)), DropBlock2D(0.5, 2, data_format="channels_last", mc=True)]
    )
    assert model.output_shape == (None, None, None, 2)
    for size in (5, 9):
        y = model.predict(np.ones((4, size, size, 2)), verbose=0)
        assert y.shape == (4, size, size, 2)
        assert set(np.unique(y).tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("data_format", "order"),
    [("channels_last", "height, width, channels"), ("channels_first", "channels, height, width")],
)
def test_inputs_without_height_and_width_are_refused_in_one_sentence(data_format, order):
    layer = DropBlock2D(0.1, data_format=data_format)
    for use in (
        lambda: layer(np.ones((2, 5, 3))),
        lambda: layer(keras.Input((5, 3))),
        lambda: layer.noisy(np.ones((2, 5, 3)), None),
    ):
        with pytest.raises(ValueError, match="`inputs` of DropBlock2D must be") as caught:
            use()
        sentence = str(caught.value)
        assert f"of shape (batch, {order}), got shape (" in sentence
        assert ", 5, 3)" in sentence
