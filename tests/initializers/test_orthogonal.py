"""Orthogonal kernels: what their layers do to norms, and that the mean square is the variance."""

import math

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr
from kerasreg.initializers.orthogonal import orthogonal_matrices

CASES = {
    "dense, tall": ((12, 5), {}),
    "dense, wide": ((5, 12), {}),
    "einsum": ((6, 2, 4), {"input_axes": (0,)}),
    "einsum, shared": ((4, 6, 3), {"input_axes": (1,), "batch_axes": (0,)}),
    "conv": ((3, 3, 4, 8), {"kind": "conv"}),
    "conv, groups": ((3, 3, 2, 8), {"kind": "conv", "groups": 4}),
    "depthwise": ((3, 3, 8, 2), {"kind": "depthwise"}),
    "transpose": ((2, 2, 3, 8), {"kind": "transpose", "strides": 2}),
    "embedding": ((20, 8), {"kind": "embedding"}),
    "recurrent": ((6, 24), {"kind": "recurrent"}),
}


def blocks(case, kernel):
    """The matrices that should be orthogonal, by NumPy alone."""
    if case == "einsum":
        return [kernel.reshape(6, 8)]
    if case == "einsum, shared":
        return list(kernel)
    if case == "conv, groups":
        return np.split(kernel.reshape(18, 8), 4, axis=1)
    if case == "depthwise":
        return [kernel.reshape(9, 8, 2)[:, i] for i in range(8)]
    if case == "transpose":
        return [kernel.reshape(12, 8)]
    if case == "recurrent":
        return np.split(kernel, 4, axis=1)
    return [kernel.reshape(-1, kernel.shape[-1])]


@pytest.mark.parametrize("case", CASES)
def test_each_block_is_a_multiple_of_an_orthogonal_matrix_with_the_right_mean_square(case):
    shape, arguments = CASES[case]
    initializer = kr.initializers.Calibrated("relu", distribution="orthogonal", seed=1, **arguments)
    kernel = array(initializer(shape)).astype("float64")
    assert kernel.shape == shape
    assert np.square(kernel).mean() == pytest.approx(initializer.variance(shape), rel=1e-5)
    for block in blocks(case, kernel):
        tall = block if block.shape[0] >= block.shape[1] else block.T
        gram = tall.T @ tall
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-5 * gram[0, 0])
        assert gram[0, 0] == pytest.approx(np.trace(tall.T @ tall) / len(gram))


def test_a_square_dense_kernel_keeps_every_norm_times_the_gain(rng):
    layer = keras.layers.Dense(
        16, kernel_initializer=kr.initializers.Calibrated("relu", distribution="orthogonal")
    )
    x = rng.normal(size=(8, 16)).astype("float32")
    norms = np.linalg.norm(array(layer(x)), axis=1) / np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(norms, math.sqrt(2), rtol=1e-5)


def test_the_draw_is_uniform_among_orthogonal_matrices():
    # Without the signs of R's diagonal, QR gives an upper-left entry of one sign only.
    signs = np.sign(array(orthogonal_matrices(200, 3, 3, seed=0))[:, 0, 0])
    assert 60 < (signs > 0).sum() < 140


@pytest.mark.parametrize("window", [(3,), (4,), (3, 2), (1, 5), (3, 3, 3)])
def test_a_delta_orthogonal_convolution_keeps_every_norm(window, rng):
    rank = len(window)
    conv = getattr(keras.layers, f"Conv{rank}D")
    layer = conv(
        6, window, padding="same", use_bias=False, kernel_initializer=kr.initializers.DeltaOrthogonal(3.0)
    )
    x = rng.normal(size=(2, *[5] * rank, 4)).astype("float32")
    y = array(layer(x))
    # Not only the whole norm: each position's.
    norms = np.linalg.norm(y, axis=-1) / np.linalg.norm(x, axis=-1)
    np.testing.assert_allclose(norms, 3.0, rtol=1e-5)
    assert np.count_nonzero(np.abs(array(layer.kernel)).sum(axis=(-2, -1))) == 1


def test_fifty_tanh_convolutions_hand_on_what_they_get(rng):
    x = rng.normal(size=(1, 8, 8, 8)).astype("float32") * 0.01
    y = x
    for _ in range(50):
        start = kr.initializers.DeltaOrthogonal()
        y = keras.layers.Conv2D(8, 3, padding="same", activation="tanh", kernel_initializer=start)(y)
    assert np.linalg.norm(array(y)) == pytest.approx(np.linalg.norm(x), rel=0.02)


@pytest.mark.parametrize("shape", [(4, 4), (3, 8, 4)])
def test_delta_orthogonal_refuses_a_kernel_that_shrinks_or_is_none_of_a_convolution(shape):
    with pytest.raises(ValueError, match=r"`shape` of DeltaOrthogonal.*in <= out.*distribution='orthogonal'"):
        kr.initializers.DeltaOrthogonal()(shape)


@pytest.mark.parametrize(
    "make", [lambda s: kr.initializers.Calibrated(seed=s), lambda s: kr.initializers.DeltaOrthogonal(seed=s)]
)
def test_a_seed_generator_gives_new_weights_each_time_and_the_same_series_again(make):
    first = make(keras.random.SeedGenerator(5))
    series = [array(first((3, 4, 4))) for _ in range(2)]
    assert (series[0] != series[1]).any()
    again = make(keras.random.SeedGenerator(5))
    np.testing.assert_array_equal(series[0], array(again((3, 4, 4))))
    config = first.get_config()
    assert type(first).from_config(config).get_config() == config


def test_input_axes_that_the_kernel_has_not_are_refused():
    with pytest.raises(ValueError, match=r"`input_axes` of Calibrated.*rank 2.*\[3\].*\(4, 4\)"):
        kr.initializers.Calibrated(input_axes=(3,))((4, 4))
