"""Spatial, Gaussian and alpha dropout: their support, structure and moments."""

import numpy as np
import pytest
from backend_tools import array
from scipy import stats

import kerasreg as kr

K = kr.layers
SELU_LOW = -1.6732632423543772 * 1.0507009873554805


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize(
    ("layer", "shape", "channel_axis"),
    [
        (K.SpatialDropout1D, (200, 5, 20), 2),
        (K.SpatialDropout2D, (200, 3, 4, 20), 3),
        (K.SpatialDropout2D, (200, 20, 3, 4), 1),
        (K.SpatialDropout3D, (200, 2, 3, 2, 20), 4),
        (K.SpatialDropout3D, (200, 20, 2, 3, 2), 1),
    ],
)
def test_feature_maps_are_dropped_whole(layer, shape, channel_axis, rate, rng):
    x = rng.uniform(1.0, 2.0, shape).astype("float32")
    data_format = (
        {} if len(shape) == 3 else {"data_format": "channels_first" if channel_axis == 1 else "channels_last"}
    )
    factor = array(layer(rate, seed=1, mc=True, **data_format)(x)) / x
    maps = np.moveaxis(factor, channel_axis, 1).reshape(200, 20, -1)
    np.testing.assert_allclose(maps.max(axis=2), maps.min(axis=2), rtol=1e-6)
    dropped = maps[..., 0] == 0
    np.testing.assert_allclose(maps[~dropped], 1 / (1 - rate), rtol=1e-6)
    assert abs(dropped.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / dropped.size)
    # Rows and channels on their own.
    assert 0 < np.abs(np.corrcoef(dropped.T)[~np.eye(20, dtype=bool)]).max() < 0.35


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_gaussian_dropout_multiplies_by_a_gaussian_of_dropouts_variance(rate, rng):
    x = rng.uniform(1.0, 2.0, (200, 100)).astype("float32")
    factor = (array(K.GaussianDropout(rate, seed=1, mc=True)(x)) / x).ravel()
    assert stats.kstest(factor, "norm", args=(1.0, np.sqrt(rate / (1 - rate)))).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance_and_drops_to_one_value(rate, rng):
    x = rng.normal(size=(400, 100)).astype("float32")
    y = array(K.AlphaDropout(rate, seed=1, mc=True)(x))
    scale = ((1 - rate) * (1 + rate * SELU_LOW**2)) ** -0.5
    shift = -scale * SELU_LOW * rate
    low = np.abs(y - (scale * SELU_LOW + shift)) < 1e-5
    np.testing.assert_allclose(y[~low], (scale * x + shift)[~low], rtol=1e-4, atol=1e-5)
    assert abs(low.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size) + 1e-4
    assert abs(y.mean()) < 5 / np.sqrt(x.size)
    assert abs(y.var() - 1.0) < 5 * np.sqrt(2 / x.size)


def test_alpha_dropouts_noise_shape_is_shared():
    y = array(
        K.AlphaDropout(0.5, noise_shape=(None, 1, None), seed=0, mc=True)(np.ones((20, 5, 10), "float32"))
    )
    np.testing.assert_array_equal(y, np.repeat(y[:, :1], 5, axis=1))
    assert len(np.unique(y)) == 2
