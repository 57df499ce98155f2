"""Gal's log likelihood against SciPy's densities."""

import numpy as np
import pytest
from scipy import stats

import kerasreg as kr

u = kr.uncertainty


@pytest.mark.parametrize("numbers", [1, 3])
@pytest.mark.parametrize("tau", [0.3, 4.0])
def test_it_is_the_log_of_the_mean_density(rng, numbers, tau):
    y, passes = rng.normal(size=(7, numbers)), rng.normal(size=(5, 7, numbers))
    noise = np.eye(numbers) / tau
    density = [
        np.mean([stats.multivariate_normal(m, noise).pdf(y[n]) for m in passes[:, n]]) for n in range(7)
    ]
    assert u.gaussian_mixture_log_likelihood(y, passes, tau) == pytest.approx(np.mean(np.log(density)))


def test_passes_far_away_do_not_underflow():
    found = u.gaussian_mixture_log_likelihood([0.0], [[1000.0], [1001.0]], tau=1.0)
    assert found == pytest.approx(-500_000 - np.log(2) - 0.5 * np.log(2 * np.pi))


def test_one_number_a_row_is_that_with_an_axis_of_its_own_or_without(rng):
    y, passes = rng.normal(size=6), rng.normal(size=(4, 6))
    found = {
        round(u.gaussian_mixture_log_likelihood(a, b, 2.0), 12)
        for a in (y, y[:, None])
        for b in (passes, passes[..., None])
    }
    assert len(found) == 1


def test_it_takes_the_passes_of_mc_predict(rng):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    x, y = rng.normal(size=(9, 4)).astype("float32"), rng.normal(size=9)
    passes = kr.mc_predict(model, x, samples=6, seed=0, return_samples=True).samples
    density = stats.norm.pdf(y, passes[:, :, 0], 0.5).mean(0)
    found = u.gaussian_mixture_log_likelihood(y, passes, tau=4.0)
    assert found == pytest.approx(np.log(density).mean(), rel=1e-5)


def test_the_precision_is_gals():
    # Of the paper's code: weight_decay = l^2 (1 - p) / (2 N tau).
    decay = 0.01**2 * (1 - 0.05) / (2 * 400 * 0.15)
    assert u.model_precision(0.05, 0.01, 400, decay) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("y", "samples", "tau", "argument", "shown"),
    [
        (np.zeros(3), np.zeros((2, 4)), 1.0, "y_true", "shape (3,)"),
        (np.zeros((3, 2)), np.zeros((5, 3)), 1.0, "y_true", "shape (3, 2)"),
        (np.zeros(3), np.zeros((5, 3, 2)), 1.0, "y_true", "shape (3,)"),
        (np.zeros(3), np.zeros(3), 1.0, "samples", "shape (3,)"),
        (np.zeros(3), None, 1.0, "samples", "a NoneType"),
        (np.zeros(3), np.zeros((0, 3)), 1.0, "samples", "shape (0, 3)"),
        (np.full(3, np.nan), np.zeros((2, 3)), 1.0, "y_true", "3 of 3 numbers NaN"),
        (np.zeros(3), np.full((2, 3), np.inf), 1.0, "samples", "6 of 6 numbers NaN or infinite"),
        (np.zeros(3), np.zeros((2, 3)), 0, "tau", "0"),
        (np.zeros(3), np.zeros((2, 3)), np.nan, "tau", "nan"),
    ],
)
def test_what_does_not_fit_is_refused(y, samples, tau, argument, shown):
    with pytest.raises(ValueError, match=f"`{argument}` of gaussian_mixture_log_likelihood") as caught:
        u.gaussian_mixture_log_likelihood(y, samples, tau)
    assert shown in str(caught.value).partition(", got ")[2]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"rate": 1}, "1"),
        ({"length_scale": 0}, "0"),
        ({"num_examples": 1.5}, "1.5"),
        ({"weight_decay": 0}, "0"),
    ],
)
def test_a_precision_of_nothing_is_refused(change, shown):
    good = {"rate": 0.1, "length_scale": 1.0, "num_examples": 10, "weight_decay": 1e-3}
    with pytest.raises(ValueError, match=f"`{next(iter(change))}` of model_precision") as caught:
        u.model_precision(**{**good, **change})
    assert shown in str(caught.value).partition(", got ")[2]
