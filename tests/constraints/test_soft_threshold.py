"""Proximal steps: at the minimum by its own conditions, at scikit-learn's, and in every optimizer."""

import keras
import numpy as np
import pytest
from backend_tools import array, compiled, wide_numbers

import kerasreg as kr

Soft, Group = kr.constraints.SoftThreshold, kr.constraints.GroupSoftThreshold
O = keras.optimizers  # noqa: E741


def distance_from_minimum(x, w, steps, strength, axes, l1_ratio=0.0, beta=0.0):
    """How far 0 is from the subdifferential at x, in units of w / s and group by group."""
    pull = (w - x) / steps - 2 * strength * beta * x
    single, group = strength * l1_ratio, strength * (1 - l1_ratio)
    norm = np.sqrt(np.square(x).sum(axis=axes, keepdims=True))
    direction = x / np.where(norm > 0, norm, 1.0)
    rest = pull - np.where(norm > 0, group * direction, 0.0)
    # What a single weight's |x| can take up.
    rest = np.where(
        x != 0, rest - single * np.sign(x), np.sign(rest) * np.maximum(np.abs(rest) - single, 0.0)
    )
    left = np.sqrt(np.square(rest).sum(axis=axes, keepdims=True))
    left = np.where(norm > 0, left, np.maximum(left - group, 0.0))
    size = np.sqrt(np.square(w / steps).sum(axis=axes, keepdims=True))
    return left / np.maximum(size, 1e-300)


def solved(constraint, w, steps):
    with wide_numbers():
        return array(constraint.prox(keras.ops.convert_to_tensor(w), steps))


@pytest.mark.parametrize("decades", [None, 1.0, 6.0])
@pytest.mark.parametrize(("l1_ratio", "beta"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.5, 0.2), (1.0, 0.0)])
def test_a_group_step_is_at_the_minimum_in_every_metric(decades, l1_ratio, beta, rng):
    w = rng.normal(size=(7, 300)) * np.linspace(0.0, 2.0, 300)
    steps = 0.3 if decades is None else 10 ** rng.uniform(-decades, decades, size=w.shape)
    # Half of the groups would vanish without the rest of the penalty.
    strength = float(np.median(np.sqrt(np.square(w / steps).sum(axis=0))))
    constraint = Group(strength, axis=0, l1_ratio=l1_ratio, beta=beta)
    x = solved(constraint, w, steps)
    assert distance_from_minimum(x, w, steps, strength, 0, l1_ratio, beta).max() < 1e-6
    if l1_ratio < 1:
        assert 30 < (x == 0).all(axis=0).sum() < 270


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_single_step_is_at_the_minimum_in_every_metric(beta, rng):
    w, steps = rng.normal(size=(40, 3)), rng.uniform(0.1, 2.0, (40, 3))
    x = solved(Soft(0.8, beta=beta), w, steps)
    assert 0.1 < (x == 0).mean() < 0.9
    assert distance_from_minimum(x, w, steps, 0.8, (), 1.0, beta).max() < 1e-12


def test_groups_of_a_convolution_are_its_filters(rng):
    w = rng.normal(size=(3, 3, 4, 6)) * np.linspace(0.01, 2.0, 6)
    steps = rng.uniform(0.5, 2.0, w.shape)
    x = solved(Group(4.0), w, steps)
    dead = (x == 0).all(axis=(0, 1, 2))
    assert 0 < dead.sum() < 6
    assert (x[..., ~dead] != 0).all()
    assert distance_from_minimum(x, w, steps, 4.0, (0, 1, 2)).max() < 1e-5


def test_a_metric_of_one_number_is_that_number(rng):
    w = rng.normal(size=(6, 5))
    for constraint in (Group(2.0, l1_ratio=0.2, beta=0.1), Soft(2.0, beta=0.1)):
        np.testing.assert_allclose(
            solved(constraint, w, np.full(w.shape, 0.3)), solved(constraint, w, 0.3), atol=1e-9
        )


def test_float32_is_right_at_the_edges():
    # A weight that no gradient ever reached has a giant step size; 0 stays; no step changes nothing.
    w = np.array([[1.0, 1.0, 0.0], [1.0, 1e-20, 0.0]], "float32")
    steps = np.array([[0.01, 0.01, 0.01], [1e4, 1e4, 1e4]], "float32")
    x = array(Group(0.1).prox(w, steps))
    np.testing.assert_allclose(x[0], [0.999, 0.999, 0.0], rtol=1e-4)
    assert 0 < x[1, 0] < 1e-2
    np.testing.assert_array_equal(array(Group(0.1).prox(w, 0.0 * steps)), w)
    half = array(Group(0.1).prox(np.full((4, 1), 300.0, "float16"), 0.5))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, 300.0, rtol=1e-3)
    assert np.isnan(array(Group(0.1).prox(np.full((2, 1), np.nan, "float32"), steps[:, :1]))).all()


# Each with a step that is proportional to the gradient where that is the same in every step.
STEADY = {
    "sgd": lambda: O.SGD(0.1),
    "momentum": lambda: O.SGD(0.1, momentum=0.8),
    "nesterov": lambda: O.SGD(0.1, momentum=0.8, nesterov=True),
    "adam": lambda: O.Adam(0.1),
    "adam epsilon": lambda: O.Adam(0.1, epsilon=0.1),
    "amsgrad": lambda: O.Adam(0.1, amsgrad=True),
    "adamw": lambda: O.AdamW(0.1, weight_decay=0.0),
    "adamax": lambda: O.Adamax(0.1),
    "rmsprop": lambda: O.RMSprop(0.1),
    "rmsprop momentum": lambda: O.RMSprop(0.1, rho=0.0, momentum=0.5, epsilon=0.01),
    "centered": lambda: O.RMSprop(0.1, centered=True, epsilon=0.01),
    "adagrad": lambda: O.Adagrad(0.1),
    "scheduled": lambda: O.SGD(O.schedules.PiecewiseConstantDecay([1], [0.1, 0.02])),
    "accumulated": lambda: O.SGD(0.1, gradient_accumulation_steps=2),
    "accumulated adam": lambda: O.Adam(0.1, gradient_accumulation_steps=2),
    "scaled": lambda: O.LossScaleOptimizer(O.Adam(0.1), initial_scale=1.0),
}


def path(optimizer, constraint, gradient, steps, start=50.0):
    """The weights after each step of an optimizer under a constant gradient."""
    variable = keras.Variable(np.full(gradient.shape, start), dtype="float32")
    variable.constraint = constraint
    optimizer.build([variable])
    seen, gradient = [array(variable)], keras.ops.convert_to_tensor(gradient)
    # Keras' LossScaleOptimizer knows no other way on JAX.
    stateless = keras.backend.backend() == "jax" and compiled(optimizer.stateless_apply)
    for _ in range(steps):
        if stateless:
            state = [v.value for v in optimizer.variables]
            (value,), state = stateless(state, [gradient], [variable.value])
            variable.assign(value)
            for v, new in zip(optimizer.variables, state, strict=True):
                v.assign(new)
        else:
            optimizer.apply([gradient], [variable])
        seen.append(array(variable))
    return np.diff(np.array(seen, "float64"), axis=0)


@pytest.mark.parametrize("name", STEADY)
def test_the_threshold_is_the_step_that_a_gradient_of_lambda_would_have_made(name):
    gradient = np.array([[0.5, -2.0], [0.25, 1.0]], "float32")
    plain = path(STEADY[name](), None, gradient, 4)
    moved = path(STEADY[name](), Soft(3.0), gradient, 4)
    np.testing.assert_allclose(moved - plain, 3.0 * plain / gradient, rtol=2e-3, atol=1e-4)
    assert (plain[-1] != 0).all()
    if "accumulated" in name:
        assert (moved[::2] == 0).all()


def test_a_skipped_step_shrinks_nothing():
    optimizer = O.LossScaleOptimizer(O.SGD(0.1), initial_scale=2.0)
    gradient = np.array([np.inf], "float32")
    assert (path(optimizer, Soft(3.0), gradient, 2) == 0).all()
    optimizer = O.LossScaleOptimizer(O.SGD(0.1), initial_scale=2.0)
    np.testing.assert_allclose(path(optimizer, Soft(3.0), 0 * np.ones(1, "float32"), 2), -0.3, rtol=1e-4)


def test_several_optimizers_have_their_own_rates():
    if not hasattr(O, "MultiOptimizer"):
        pytest.skip("newer than this Keras")
    fast, slow = O.SGD(0.1), O.SGD(0.01)
    a, b = (keras.Variable([5.0], name=name) for name in "ab")
    a.constraint = b.constraint = Soft(1.0)
    optimizer = O.MultiOptimizer(lambda variable: fast if variable is a else slow)
    optimizer.apply([keras.ops.zeros(1), keras.ops.zeros(1)], [a, b])
    np.testing.assert_allclose([array(a)[0], array(b)[0]], [4.9, 4.99], rtol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "shown"),
    [
        (lambda: O.Lion(0.1), "Lion"),
        (lambda: O.LossScaleOptimizer(O.Adafactor(0.1)), "Adafactor"),
        (lambda: O.SGD(0.1, use_ema=True), "use_ema"),
    ],
)
def test_an_optimizer_whose_metric_is_not_known_is_told(optimizer, shown):
    model = regression_model(Group(0.1), optimizer())
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"`optimizer` of a model with GroupSoftThreshold must be") as caught:
        model.fit(np.ones((4, 3)), np.ones(4), verbose=0)
    assert shown in str(caught.value)
    # On JAX an error inside a step would have left the model without weights.
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_subclass_that_steps_as_its_parent_does_is_known_and_another_is_not():
    class Renamed(O.Adam):
        pass

    class Other(O.Adam):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient)

    gradient = np.array([1.0], "float32")
    np.testing.assert_allclose(
        path(Renamed(0.1), Soft(1.0), gradient, 2), path(O.Adam(0.1), Soft(1.0), gradient, 2)
    )
    with pytest.raises(ValueError, match="got Other"):
        path(Other(0.1), Soft(1.0), gradient, 1)


@pytest.mark.parametrize("constraint", [Soft(0.1), Group(0.1)])
def test_without_an_optimizer_there_is_no_step_size(constraint):
    with pytest.raises(ValueError, match=r"`w` of .*SoftThreshold .*no learning rate; by hand, call .*prox"):
        constraint(np.ones((3, 2), "float32"))


def test_an_axis_that_the_weights_do_not_have_is_refused():
    with pytest.raises(ValueError, match=r"`axis` of GroupSoftThreshold .*\(3, 2\), got \[2\]"):
        Group(0.1, axis=2).prox(np.ones((3, 2), "float32"), 0.1)


def regression_model(constraint, optimizer, inputs=3, **options):
    model = keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(1, use_bias=False, kernel_constraint=constraint)]
    )
    model.compile(optimizer, "mse", **options)
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 20)) * np.linspace(0.5, 2.0, 20)
    x -= x.mean(axis=0)
    w = np.where(np.arange(20) % 4 == 0, rng.normal(size=20) * 2, 0.0)
    y = x @ w + 0.5 * rng.normal(size=64)
    return x.astype("float32"), (y - y.mean()).astype("float32")


DECAY = dict(decay_steps=1500, alpha=0.01)  # noqa: C408 (keyword arguments)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: O.SGD(0.05),
        lambda: O.SGD(0.02, momentum=0.9),
        lambda: O.SGD(0.02, momentum=0.9, nesterov=True),
        lambda: O.Adam(O.schedules.CosineDecay(0.1, **DECAY)),
        lambda: O.Nadam(O.schedules.CosineDecay(0.1, **DECAY)),
        lambda: O.Adamax(O.schedules.CosineDecay(0.2, **DECAY)),
        lambda: O.RMSprop(O.schedules.CosineDecay(0.05, **DECAY)),
        lambda: O.Adagrad(0.5),
    ],
)
def test_every_optimizer_finds_the_elastic_net_of_scikit_learn(optimizer, data):
    from sklearn.linear_model import ElasticNet

    x, y = data
    # Keras' mean squared error is twice scikit-learn's.
    alpha, l1_ratio = 0.3, 0.8
    truth = ElasticNet(alpha, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y)
    constraint = Soft(2 * alpha * l1_ratio, beta=(1 - l1_ratio) / (2 * l1_ratio))
    model = regression_model(constraint, optimizer(), 20, steps_per_execution=50)
    repeated = np.tile(x, (50, 1)), np.tile(y, 50)
    model.fit(*repeated, batch_size=64, epochs=30, shuffle=False, verbose=0)
    found = model.get_weights()[0].ravel()
    np.testing.assert_allclose(found, truth.coef_, atol=1e-3)
    np.testing.assert_array_equal(found == 0, truth.coef_ == 0)
    assert 3 < (found == 0).sum() < 18


def test_the_group_lasso_is_found_with_and_without_a_metric(data):
    """Rows of a kernel with three outputs: the minimum's own conditions are the oracle."""
    x = data[0]
    y = np.random.default_rng(1).normal(size=(64, 3)) + x[:, :1] * [1.0, -1.0, 0.5] + x[:, 7:8]
    strength, found = 0.3, []
    for optimizer in (O.SGD(0.1), O.Adam(O.schedules.CosineDecay(0.1, **DECAY))):
        layer = keras.layers.Dense(3, use_bias=False, kernel_constraint=Group(strength, axis=1))
        model = keras.Sequential([keras.Input((20,)), layer])
        model.compile(optimizer, "mse", steps_per_execution=50)
        model.fit(
            np.tile(x, (50, 1)), np.tile(y, (50, 1)), batch_size=64, epochs=30, shuffle=False, verbose=0
        )
        found.append(array(layer.kernel).astype("float64"))
    w = found[0]
    gradient = 2 * x.T.astype("float64") @ (x @ w - y) / y.size
    assert distance_from_minimum(w, w - gradient, 1.0, strength, 1).max() < 1e-3
    np.testing.assert_allclose(found[1], w, atol=1e-3)
    dead = (w == 0).all(axis=1)
    assert 5 < dead.sum() < 19
    np.testing.assert_array_equal(dead, (found[1] == 0).all(axis=1))


def test_a_callback_that_sets_the_rate_sets_the_threshold():
    model = regression_model(Soft(1.0), O.SGD(0.5))
    x, y = np.zeros((4, 3), "float32"), np.zeros(4, "float32")
    model.set_weights([np.full((3, 1), 10.0)])
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: [0.1, 0.4][epoch])
    model.fit(x, y, batch_size=4, epochs=2, callbacks=[rates], verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], 9.5, rtol=1e-6)


@keras.saving.register_keras_serializable("tests")
def twice_the_step(step):
    return 2.0 * step


@pytest.mark.parametrize(
    "strength",
    [kr.regularizers.Schedule(twice_the_step), O.schedules.PolynomialDecay(0.0, 10, 20.0)],
)
def test_a_strength_may_follow_the_updates_and_goes_on_after_a_reload(strength, tmp_path):
    model = regression_model(Soft(strength), O.SGD(0.1))
    x, y = np.zeros((6, 3), "float32"), np.zeros(6, "float32")
    model.set_weights([np.full((3, 1), 10.0)])
    model.fit(x, y, batch_size=2, verbose=0)
    # 0.1 times 0, 2 and 4.
    np.testing.assert_allclose(model.get_weights()[0], 9.4, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.fit(x[:2], y[:2], batch_size=2, verbose=0)
    np.testing.assert_allclose(loaded.get_weights()[0], 8.8, rtol=1e-5)


def test_a_compiled_step_of_ones_own_reads_the_optimizer_too():
    optimizer = O.Adam(0.1)
    variable = keras.Variable([5.0, -5.0])
    variable.constraint = Soft(2.0)
    optimizer.build([variable])
    if keras.backend.backend() == "jax":
        step = compiled(lambda state, weights, g: optimizer.stateless_apply(state, [g], weights))
        (weights,), _ = step(
            [v.value for v in optimizer.variables], [variable.value], np.array([1.0, 1.0], "float32")
        )
    else:
        compiled(lambda g: optimizer.apply([g], [variable]))(keras.ops.ones(2))
        weights = variable
    np.testing.assert_allclose(array(weights), [4.7, -4.9], rtol=1e-5)
