"""The loss under random steps, against NumPy, and what normalisation does to it."""

import json
import math

import keras
import numpy as np
import pytest
from backend_tools import array
from model_zoo import hidden, mlp, rows

import kerasreg as kr
from kerasreg.diagnostics.loss_sensitivity import _filters, _step

L = keras.layers
sensitivity = kr.diagnostics.loss_sensitivity


def regression():
    model = keras.Sequential([keras.Input((16,)), L.Dense(4, use_bias=False)])
    model.compile("sgd", "mse")
    x, _ = rows()
    return model, x, np.ones((64, 4), "float32")


def test_the_changes_are_those_of_the_loss_in_numpy():
    model, x, y = regression()
    found = sensitivity(model, x, y, scale=0.2, repeats=3, seed=5)
    kernel = array(model.layers[0].kernel).astype("float64")
    base = np.square(x @ kernel - y).mean()
    assert found.loss == pytest.approx(base, rel=1e-5)
    for repeat, change in enumerate(found.changes):
        noise = np.random.default_rng([5, repeat, 0]).normal(size=kernel.shape)
        step = noise / np.linalg.norm(noise, axis=0) * np.linalg.norm(kernel, axis=0)
        moved = np.square(x @ (kernel + 0.2 * step) - y).mean()
        assert change == pytest.approx(abs(moved - base) / base, rel=1e-3)
    assert found.mean == pytest.approx(np.mean(found.changes))
    assert found.std == pytest.approx(np.std(found.changes, ddof=1))
    assert found.error == pytest.approx(found.std / math.sqrt(3))


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (lambda: L.Conv2D(6, 3), (None, 8, 8, 4), (0, 1, 2)),
        (lambda: L.DepthwiseConv2D(3), (None, 8, 8, 4), (0, 1)),
        (lambda: L.Conv2DTranspose(6, 3), (None, 8, 8, 4), (0, 1, 3)),
        (lambda: L.Embedding(10, 4), (None, 5), (1,)),
        (lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3)), (None, 5, 4), (0,)),
    ],
)
def test_every_filter_is_moved_by_the_share_of_its_own_norm(layer, shape, axes):
    model = keras.Sequential([keras.Input(shape[1:]), layer()])
    ((variable, found),) = _filters(model)
    assert found == axes
    step = _step(variable, found, [0, 0, 0])
    norms = [np.sqrt(np.square(values).sum(axis=axes)) for values in (step, array(variable))]
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-5)


def test_the_size_of_a_rectifiers_weights_does_not_count():
    def relative(factor):
        model = mlp([hidden("h0"), hidden("h1")])
        keras.utils.set_random_seed(3)
        kr.initializers.reinitialize(model, seed=2)
        model.get_layer("h0").kernel.assign(model.get_layer("h0").kernel * factor)
        model.get_layer("h1").kernel.assign(model.get_layer("h1").kernel / factor)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return sensitivity(model, *rows(), scale=0.3, repeats=4).changes

    np.testing.assert_allclose(relative(1.0), relative(7.0), rtol=1e-3)


def test_normalisation_calms_the_loss_of_a_badly_scaled_net():
    wild = keras.initializers.RandomNormal(stddev=0.6, seed=1)

    def changed(norm):
        layers = []
        for i in range(6):
            layers += [
                hidden(f"h{i}", wild, activation=None),
                *([L.BatchNormalization()] if norm else []),
                L.ReLU(),
            ]
        model = mlp(layers)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return sensitivity(model, *rows(), scale=0.1, repeats=8, training=True)

    assert changed(True).mean * 2 < changed(False).mean


def test_nothing_is_changed_and_a_seed_repeats():
    model = mlp([hidden("h0"), L.BatchNormalization(), L.Dropout(0.5)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = rows()
    before = [array(v) for v in model.variables]
    first, second = (sensitivity(model, x, y, repeats=3, seed=1, training=t) for t in (True, True))
    assert first == second
    assert sensitivity(model, x, y, repeats=3, seed=2).changes != sensitivity(model, x, y, repeats=3).changes
    for variable, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), old)


def test_several_scales_are_a_curve_in_words_numbers_and_a_picture(tmp_path):
    model, x, y = regression()
    curve = sensitivity(model, x, y, scale=[0.01, 0.1, 1.0], repeats=4)
    assert [point.scale for point in curve] == [0.01, 0.1, 1.0]
    assert curve[0].mean < curve[1].mean < curve[2].mean
    assert "+-" in str(curve[0])
    assert json.loads(json.dumps(curve[0].to_dict()))["mean"] == curve[0].mean
    figure = kr.diagnostics.plot_loss_sensitivity({"net": curve, "one": curve[1]}, tmp_path / "s.png")
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [point.mean for point in curve])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    for point in curve:
        edges = band[np.isclose(band[:, 0], point.scale), 1]
        assert (edges.min(), edges.max()) == pytest.approx(tuple(np.quantile(point.changes, (0.1, 0.9))))
    assert (tmp_path / "s.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "argument", "shown"),
    [
        ({"scale": 0}, "scale", "0"),
        ({"scale": [0.1, -1]}, "scale", "-1"),
        ({"repeats": 1}, "repeats", "1"),
        ({"seed": -1}, "seed", "-1"),
        ({"y": None}, "y", "None"),
        ({"model": keras.Sequential([keras.Input((16,)), L.Dense(4)])}, "model", "Sequential"),
    ],
)
def test_bad_arguments_are_refused(change, argument, shown):
    model, x, y = regression()
    with pytest.raises(ValueError, match=f"Argument `{argument}` of loss_sensitivity") as caught:
        sensitivity(**{"model": model, "x": x, "y": y, **change})
    assert shown in str(caught.value).partition(", got ")[2]


def test_a_loss_of_zero_has_no_relative_change():
    model, x, y = regression()
    model.layers[0].kernel.assign(model.layers[0].kernel * 0)
    with pytest.raises(ValueError, match=r"finite loss other than 0, got 0\.0"):
        sensitivity(model, x, y * 0)
