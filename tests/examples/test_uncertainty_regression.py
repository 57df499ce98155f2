"""The regression runs, its nets are independent, nothing peeks, and what we publish is what its run says."""

import json
import math
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

EXAMPLES = Path(__file__).parents[2] / "examples"


class Silent:
    def add(self, number):
        """Nobody looks."""


@pytest.fixture(scope="module")
def modules():
    """The example's two files, as `python examples/uncertainty_regression.py` would find them."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import regression_report
        import uncertainty_regression

        yield uncertainty_regression, regression_report
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def regression(modules):
    return modules[0]


@pytest.fixture
def report(modules):
    return modules[1]


def test_the_quick_run(regression, tmp_path, monkeypatch, capsys):
    # Two rates instead of four: each is a training.
    monkeypatch.setattr(regression, "RATES", (0.01, 0.1))
    monkeypatch.setattr(sys, "argv", ["uncertainty_regression.py", "--quick", "--output", str(tmp_path)])
    regression.main()
    said = capsys.readouterr().out
    for wanted in ("Monte Carlo dropout", "dropout off", "2.97 +- 0.19", "-2.40 +- 0.04", "What was learned"):
        assert wanted in said
    content = json.loads((tmp_path / "uncertainty_regression.json").read_text())
    assert [found["split"] for found in content["splits"]] == [0, 1]
    for found in content["splits"]:
        assert 2 < found["rmse"] < 9.2  # 9.2 is the deviation of the prices themselves.
        assert len(found["price"]) == 51
        assert min(found["std"]) > 0
    assert (tmp_path / "uncertainty_regression.png").read_bytes().startswith(b"\x89PNG")


def test_splits(regression):
    x, y = regression.boston()
    assert (x.shape, y.shape) == ((506, 13), (506, 1))
    both = [regression.split(506, seed) for seed in range(20)]
    for train, test in both:
        assert (len(train), len(test)) == (455, 51)
        assert sorted([*train, *test]) == list(range(506))
    assert len({tuple(test) for _, test in both}) == 20
    together = regression.stacked(x, [test for _, test in both])
    assert together.shape == (51, 20, 13)
    np.testing.assert_array_equal(together[:, 7], x[both[7][1]])


def test_the_search_sees_no_test_data_and_trains_on_no_validation_data(regression, monkeypatch):
    monkeypatch.setattr(regression, "RATES", (0.1,))
    x, y = regression.boston()
    train, test = regression.split(506, 3)
    seen = []
    honest = regression.train

    def watched(inputs, targets, *rest):
        seen.append(inputs)
        return honest(inputs, targets, *rest)

    monkeypatch.setattr(regression, "train", watched)
    x[test] = y[test] = np.nan
    setting = regression.Setting(1, (5,), 3, 10, 10)
    found = regression.search(x, y, [train], setting, 0, Silent())
    assert found.shape == (1, 1, 3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(seen[0][:, 0], x[train[:364]])


def test_choose(regression, monkeypatch):
    monkeypatch.setattr(regression, "RATES", (0.1, 0.2))
    monkeypatch.setattr(regression, "TAUS", (1.0, 2.0, 3.0))
    found = np.array([[[-9, -8, -7], [-6, -5, -8]], [[-1, -2, -3], [-4, -5, -6]]])
    assert regression.choose(found) == [(0.2, 2.0), (0.1, 1.0)]


def test_nets_are_independent_and_each_has_its_own_decay(regression):
    decay = np.array([0.5, 0.0, 2.0])
    model = regression.build(3, 4, (6,), 0.0, decay, seed=1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3, 4)).astype("float32"), rng.normal(size=(10, 3, 1)).astype("float32")
    first, second = (layer for layer in model.layers if layer.weights)
    kernels, biases = zip(
        *(map(ops.convert_to_numpy, layer.weights) for layer in (first, second)), strict=True
    )
    hidden = np.stack([x[:, n] @ kernels[0][n] + biases[0][n] for n in range(3)], axis=1)
    wanted = np.stack([np.maximum(hidden[:, n], 0) @ kernels[1][n] + biases[1][n] for n in range(3)], axis=1)
    found = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    # The loss is the sum of what each net would have alone, so that none trains at a third of its rate.
    alone = [((y[:, n] - wanted[:, n]) ** 2).mean() for n in range(3)]
    loss = ops.convert_to_numpy(regression.sum_of_losses(y, found)).mean()
    assert loss == pytest.approx(sum(alone), rel=1e-4)
    penalty = sum(float(ops.convert_to_numpy(part)) for part in model.losses)
    squares = sum((kernel**2).sum(axis=(1, 2)) for kernel in kernels)
    assert penalty == pytest.approx(float((decay * squares).sum()), rel=1e-4)


def test_initial_weights_are_glorots_for_each_net(regression):
    model = regression.build(20, 13, (50, 50), 0.1, np.zeros(20), seed=0)
    kernels = [ops.convert_to_numpy(layer.kernel) for layer in model.layers if layer.weights]
    for kernel, (inputs, units) in zip(kernels, ((13, 50), (50, 50), (50, 1)), strict=True):
        assert kernel.shape == (20, inputs, units)
        limit = math.sqrt(6 / (inputs + units))
        assert 0.97 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
        assert len(np.unique(kernel[:, 0, 0])) == 20
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.1] * 3


def test_weight_decay_is_gals(regression):
    found = regression.weight_decay(0.05, np.array([0.1597, 0.3194]), 455)
    np.testing.assert_allclose(found, [1e-4 * 0.95 / (2 * 455 * tau) for tau in (0.1597, 0.3194)])


def test_prices_come_back_in_their_own_units(regression):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1e3, (80, 2, 3)).astype("float32")
    y = (x[:, :, :1] * [[[0.01], [-0.02]]] + [[[20.0], [500.0]]]).astype("float32")
    setting = regression.Setting(2, (8,), 600, 10, 10)
    model = regression.train(x, y, 0.0, np.ones(2), setting, 0, Silent())
    gaps = np.abs(model.predict(x, verbose=0) - y).mean(axis=(0, 2))
    assert (gaps < 0.3 * y.std(axis=(0, 2))).all()


def test_record(regression):
    y, drawn = np.array([[1.0], [4.0]]), np.array([[[0.0], [4.0]], [[2.0], [6.0]]])
    found = regression.record(3, (0.1, 0.5), y, drawn, np.array([[[1.0], [2.0]]]))
    assert found["rmse"] == pytest.approx(math.sqrt(0.5))
    assert found["rmse_dropout_off"] == pytest.approx(math.sqrt(2))

    def density(gap, tau):
        return math.sqrt(tau / (2 * math.pi)) * math.exp(-tau / 2 * gap**2)

    mixed = [math.log(density(1, 0.5)), math.log((density(0, 0.5) + density(2, 0.5)) / 2)]
    assert found["log_likelihood"] == pytest.approx(np.mean(mixed))
    off = [math.log(density(0, 0.5)), math.log(density(2, 0.5))]
    assert found["log_likelihood_dropout_off"] == pytest.approx(np.mean(off))
    assert (found["mean"], found["std"]) == ([1.0, 5.0], [1.0, 1.0])


def test_report_figures(report):
    assert report.with_error([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, math.sqrt(14 / 3) / 2))
    far = {"tau": 1 / 3, "std": [1.0] * 4, "mean": [0.0] * 4, "price": [1.34, 1.36, -3.28, 3.30]}
    assert report.coverage([far]) == {0.5: 0.25, 0.9: 0.75}
    std, error = report.by_doubt([{"std": [3, 1, 2, 4], "mean": [0] * 4, "price": [5, 1, 1, 5]}], 2)
    assert (std.tolist(), error.tolist()) == ([1.5, 3.5], [1, 5])


def test_the_published_figures_are_what_the_run_says_and_lie_where_the_papers_do(regression, report):
    content = json.loads((EXAMPLES / "results" / "uncertainty_regression.json").read_text())
    assert content["setting"] == json.loads(json.dumps(regression.FULL._asdict()))
    assert len(content["splits"]) == 20
    text = report.report(content, regression.PUBLISHED)
    assert f"```text\n{text}\n```" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    # Two standard errors of the difference.
    ours, (rmse, rmse_error, ll, ll_error) = (
        report.summarize(content["splits"]),
        list(regression.PUBLISHED.values())[1],
    )
    for (mean, error), (their_mean, their_error) in (
        (ours["rmse"], (rmse, rmse_error)),
        (ours["log_likelihood"], (ll, ll_error)),
    ):
        assert abs(mean - their_mean) < 2 * math.hypot(error, their_error)
    for found in content["splits"]:
        error = np.sqrt(np.mean(np.square(np.subtract(found["price"], found["mean"]))))
        assert found["rmse"] == pytest.approx(error, abs=5e-3)
        on = np.array(content["validation"][found["split"]])
        i, j = np.unravel_index(on.argmax(), on.shape)
        assert (found["rate"], found["tau"]) == (content["rates"][i], content["taus"][j])
