"""What batch normalisation does beyond Keras' layer: averages, ghosts, masks, poison."""

import keras
import numpy as np
import pytest
from backend_tools import array, compiled, gradient, wide_numbers

import kerasreg as kr

BN = kr.layers.BatchNormalization
# torch.compile brings warnings of torch's own with it, and there is no XLA.
ON_TORCH = keras.backend.backend() == "torch"


def train(layer, *batches, **kwargs):
    return [array(layer(np.asarray(batch, "float32"), training=True, **kwargs)) for batch in batches]


def statistics(layer):
    return array(layer.moving_mean), array(layer.moving_variance)


@pytest.fixture
def batches(rng):
    return [rng.normal(i, 1 + i, (6, 3)).astype("float32") for i in range(5)]


@pytest.mark.parametrize("kind", [0, 1], ids=["mean", "variance"])
@pytest.mark.parametrize("averaging", ["debiased", "cumulative"])
def test_unbiased_averages_forget_the_initial_values(averaging, kind, batches):
    alpha = 0.2
    layer = BN(update_rate=alpha, averaging=averaging)
    seen = np.stack([[b.mean(0), b.var(0)][kind] for b in batches]).astype("float64")
    for t, batch in enumerate(batches, 1):
        train(layer, batch)
        # Weighted averages of what was seen, written out.
        weights = (1 - alpha) ** np.arange(t - 1, -1, -1.0) if averaging == "debiased" else np.ones(t)
        expected = np.average(seen[:t], axis=0, weights=weights)
        np.testing.assert_allclose(statistics(layer)[kind], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_debiased_average_at_the_ends_of_alpha(alpha, batches):
    layer = BN(update_rate=alpha, averaging="debiased")
    train(layer, *batches)
    expected = batches[-1].mean(0) if alpha else np.zeros(3)
    np.testing.assert_allclose(statistics(layer)[0], expected, rtol=1e-5)


def test_normalizing_with_the_moving_averages(batches):
    layer = BN(update_rate=0.3, normalize_with="moving", epsilon=1e-2)
    mu, variance = np.zeros(3), np.ones(3)
    for batch, y in zip(batches, train(layer, *batches), strict=True):
        mu, variance = 0.7 * mu + 0.3 * batch.mean(0), 0.7 * variance + 0.3 * batch.var(0)
        np.testing.assert_allclose(y, (batch - mu) / np.sqrt(variance + 1e-2), rtol=1e-4, atol=1e-5)


def test_with_alpha_1_moving_is_the_2015_algorithm_gradients_too(batches):
    moving, batch = BN(update_rate=1.0, normalize_with="moving"), BN()
    weight = np.arange(18.0).reshape(6, 3).astype("float32")
    gradients = [
        gradient(
            lambda x, layer=layer: keras.ops.sum(keras.ops.multiply(weight, layer(x, training=True) ** 2)),
            batches[1],
        )
        for layer in (moving, batch)
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-3)


def test_the_gradient_is_that_of_keras_layer(rng):
    x = rng.normal(2, 3, (5, 4, 3)).astype("float32")
    weight = rng.normal(size=x.shape).astype("float32")
    ours, theirs = (
        gradient(lambda x, layer=layer: keras.ops.sum(keras.ops.multiply(weight, layer(x, training=True))), x)
        for layer in (BN(), keras.layers.BatchNormalization())
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rows", [4, 6, 7, 2])
def test_ghost_batches_are_normalised_each_on_its_own(rows, rng):
    x = rng.normal(3, 2, (rows, 5, 3)).astype("float32")
    layer = BN(virtual_batch_size=2, update_rate=1.0, epsilon=1e-5)
    (y,) = train(layer, x)
    groups = [x[i : i + 2].reshape(-1, 3).astype("float64") for i in range(0, rows, 2)]
    expected = [(g - g.mean(0)) / np.sqrt(g.var(0) + 1e-5) for g in groups]
    np.testing.assert_allclose(y.reshape(-1, 3), np.concatenate(expected), rtol=1e-3, atol=1e-4)
    sizes = [len(g) for g in groups]
    for found, name in zip(statistics(layer), ("mean", "var"), strict=True):
        wanted = np.average([getattr(g, name)(0) for g in groups], axis=0, weights=sizes)
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_ghost_batches_in_fit_with_a_ragged_last_batch(rng):
    x = rng.normal(3, 2, (22, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), BN(virtual_batch_size=4, averaging="cumulative")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=8, shuffle=False, verbose=0)
    of_batches = [
        np.average([g.mean(0) for g in parts], axis=0, weights=[len(g) for g in parts])
        for parts in ([x[:4], x[4:8]], [x[8:12], x[12:16]], [x[16:20], x[20:]])
    ]
    np.testing.assert_allclose(statistics(model.layers[0])[0], np.mean(of_batches, axis=0), rtol=1e-4)


# A mask's shape for inputs (4, 5, 6, 3), the features' axis, and the same mask in full.
MASKS = {
    "rows": ((4,), -1, (4, 1, 1, 1)),
    "steps": ((4, 5), -1, (4, 5, 1, 1)),
    "positions": ((4, 5, 6), -1, (4, 5, 6, 1)),
    "one for all steps": ((4, 1, 6), -1, (4, 1, 6, 1)),
    "features in the middle": ((4, 6, 3), 1, (4, 1, 6, 3)),
    "features in the middle, rows": ((4,), 1, (4, 1, 1, 1)),
}


@pytest.mark.parametrize(("shape", "axis", "full"), MASKS.values(), ids=MASKS)
def test_masks_of_every_shape(shape, axis, full, rng):
    x = rng.normal(2, 3, (4, 5, 6, 3)).astype("float32")
    mask = rng.random(shape) < 0.6
    mask.flat[0] = True
    counted = np.broadcast_to(mask.reshape(full), x.shape)
    x[~counted] = np.nan  # what does not count may be anything
    layer = BN(axis=axis, update_rate=1.0)
    (y,) = train(layer, x, mask=mask)
    features = np.moveaxis(x, axis, 0)
    kept = [f[c].astype("float64") for f, c in zip(features, np.moveaxis(counted, axis, 0), strict=True)]
    for found, name in zip(statistics(layer), ("mean", "var"), strict=True):
        np.testing.assert_allclose(found, [getattr(k, name)() for k in kept], rtol=1e-4)
    assert np.isfinite(y[counted]).all()
    assert layer.skipped_batches == 0


@pytest.mark.parametrize("shape", [(5,), (4, 6), (4, 5, 6, 3, 1), (3, 5)])
def test_a_mask_of_an_impossible_shape_is_refused(shape):
    with pytest.raises(ValueError, match="`mask` of BatchNormalization must be of the shape") as caught:
        BN()(np.ones((4, 5, 6, 3)), training=True, mask=np.ones(shape))
    assert str(shape) in str(caught.value)


POISON = {
    "NaN": (np.full((4, 3), np.nan), None),
    "one NaN": (np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]), None),
    "infinity": (np.full((4, 3), np.inf), None),
    "empty": (np.zeros((0, 3)), None),
    "fully masked": (np.ones((4, 3)), np.zeros(4, bool)),
}


@pytest.mark.parametrize("averaging", ["ema", "debiased", "cumulative"])
@pytest.mark.parametrize(("bad", "mask"), POISON.values(), ids=POISON)
def test_a_poisoned_batch_leaves_the_statistics_as_they_were(bad, mask, averaging, batches):
    clean, dirty = (BN(update_rate=0.2, averaging=averaging) for _ in range(2))
    train(clean, *batches)
    train(dirty, bad, mask=mask)
    train(dirty, *batches[:2])
    train(dirty, bad, mask=mask)
    train(dirty, *batches[2:])
    for a, b in zip(statistics(clean), statistics(dirty), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (clean.skipped_batches, dirty.skipped_batches) == (0, 2)


def test_a_fully_masked_batch_is_normalised_with_the_moving_averages(batches):
    layer = BN(update_rate=1.0)
    train(layer, batches[2])
    (y,) = train(layer, batches[3], mask=np.zeros(6, bool))
    np.testing.assert_allclose(y, array(layer(batches[3], training=False)), rtol=1e-5, atol=1e-6)


def test_training_goes_on_through_a_poisoned_batch(rng):
    x = rng.normal(size=(24, 3)).astype("float32")
    x[8:16] = np.nan
    dirty, clean = keras.Input((3,)), keras.Input((3,))
    layer = BN(update_rate=0.5, center=False, scale=False)
    # The loss does not see the normalised values: only the statistics could spread the poison.
    model = keras.Model([dirty, clean], [layer(dirty), keras.layers.Dense(1)(clean)])
    model.compile("sgd", [None, "mse"])
    history = model.fit([x, np.ones((24, 3))], [x, np.ones((24, 1))], batch_size=8, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    expected = 0.25 * x[:8].mean(0) + 0.5 * x[16:].mean(0)
    np.testing.assert_allclose(statistics(layer)[0], expected, rtol=1e-4, atol=1e-6)
    assert layer.skipped_batches == 1


@pytest.mark.parametrize("how", ["eager", "compiled", "XLA", "masked", "ghost", "synchronized"])
def test_the_variance_is_right_far_from_zero(how, rng):
    x = rng.normal(1e4, 1.0, (512, 8, 4)).astype("float32")
    layer = BN(
        update_rate=1.0, virtual_batch_size=64 if how == "ghost" else None, synchronized=how == "synchronized"
    )
    layer.build(x.shape)
    mask = np.ones(512, bool) if how == "masked" else None
    if how in ("compiled", "XLA"):
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=how == "XLA" and not ON_TORCH)
        model.fit(x, np.zeros_like(x), batch_size=512, verbose=0)
    else:
        train(layer, x, mask=mask)
    exact = x.astype("float64")
    wanted = exact.var((0, 1)) if how != "ghost" else exact.reshape(8, -1, 4).var(1).mean(0)
    assert np.abs(statistics(layer)[1] / wanted - 1).max() < 1e-4


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_any_axis(axis, rng):
    x = rng.normal(3, 2, (4, 5, 6)).astype("float32")
    (y,) = train(BN(axis=axis, epsilon=1e-6), x)
    others = tuple(a for a in range(3) if a != axis % 3)
    np.testing.assert_allclose(y.mean(others), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std(others), 1.0, rtol=1e-4)


def test_an_axis_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`axis` of BatchNormalization .* for shape \(4, 3\), got 2\."):
        BN(axis=2)(np.ones((4, 3)))


def test_float64_stays_float64(rng):
    with wide_numbers():
        x = rng.normal(1e8, 1.0, (50, 2))
        layer = BN(dtype="float64", update_rate=1.0)
        y = array(layer(keras.ops.convert_to_tensor(x, "float64"), training=True))
        assert y.dtype == np.float64
        np.testing.assert_allclose(statistics(layer)[1], x.var(0), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_neither_overflows_nor_loses_the_variance(dtype, rng):
    x = keras.ops.cast(rng.normal(300, 20, (4000, 2)), dtype)
    layer = BN(dtype=keras.DTypePolicy(f"mixed_{dtype}"), update_rate=1.0)
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    exact = array(keras.ops.cast(x, "float32")).astype("float64")
    np.testing.assert_allclose(statistics(layer)[1], exact.var(0), rtol=1e-3)


@pytest.mark.parametrize(
    ("framework", "value", "rate"),
    [("keras", 0.9, 0.1), ("tf1", 0.9, 0.1), ("flax", 0.9, 0.1), ("torch", 0.1, 0.1)],
)
def test_other_frameworks_momentum(framework, value, rate):
    assert BN.from_momentum(value, framework=framework).update_rate == pytest.approx(rate)
    assert BN.from_momentum(value, framework=framework, epsilon=0.5).epsilon == 0.5


def test_keras_files_are_ours_and_ours_are_keras(tmp_path, batches):
    def model(kind):
        return keras.Sequential([keras.Input((3,)), kind(name="norm")])

    ours, theirs = model(BN), model(keras.layers.BatchNormalization)
    train(ours.layers[0], *batches)
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    theirs.set_weights(ours.get_weights())
    back = model(BN)
    ours.save_weights(tmp_path / "ours.weights.h5")
    fresh = model(keras.layers.BatchNormalization)
    fresh.load_weights(tmp_path / "ours.weights.h5")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    back.load_weights(tmp_path / "theirs.weights.h5")
    expected = ours.predict(batches[0], verbose=0)
    for other in (theirs, fresh, back):
        np.testing.assert_allclose(other.predict(batches[0], verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_an_unbiased_average_goes_on_after_a_reload(tmp_path, batches):
    model = keras.Sequential([keras.Input((3,)), BN(averaging="cumulative", name="norm")])
    train(model.layers[0], *batches[:3])
    model.save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[0]
    train(layer, *batches[3:])
    np.testing.assert_allclose(statistics(layer)[0], np.mean([b.mean(0) for b in batches], axis=0), rtol=1e-5)


def test_a_file_of_another_averaging_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), BN(averaging="cumulative", name="norm")])
    model.save_weights(tmp_path / "w.weights.h5")
    other = keras.Sequential([keras.Input((3,)), BN(name="norm")])
    with pytest.raises(
        ValueError, match="has the 4 weights gamma, beta, moving_mean, moving_variance, got a file with 5"
    ):
        other.load_weights(tmp_path / "w.weights.h5")


def test_compiled_is_eager(batches):
    eager, fast = BN(averaging="debiased"), BN(averaging="debiased")
    fast.build((None, 3))
    if keras.backend.backend() == "jax":
        pytest.importorskip("jax")
        values = [v.value for v in fast.variables]
        for batch in batches:
            y, values = _stateless(fast, values, batch)
        for variable, value in zip(fast.variables, values, strict=True):
            variable.assign(value)
    else:
        step = compiled(lambda x: fast(x, training=True))
        for batch in batches:
            y = step(batch)
    (*_, expected) = train(eager, *batches)
    np.testing.assert_allclose(array(y), expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(statistics(eager), statistics(fast), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def _stateless(layer, values, x):
    import jax

    @jax.jit
    def step(values, x):
        trainable, rest = values[: len(layer.trainable_variables)], values[len(layer.trainable_variables) :]
        y, rest = layer.stateless_call(trainable, rest, x, training=True)
        return y, [*trainable, *rest]

    return step(values, x)


REFUSED = [
    ({"averaging": "mean"}, "averaging", "'mean'"),
    ({"normalize_with": "group"}, "normalize_with", "'group'"),
    ({"virtual_batch_size": 0}, "virtual_batch_size", "0"),
    ({"synchronized": 1}, "synchronized", "1"),
    ({"synchronized": True, "virtual_batch_size": 4}, "synchronized", "True"),
]


@pytest.mark.parametrize(("arguments", "name", "value"), REFUSED)
def test_bad_arguments(arguments, name, value):
    with pytest.raises(ValueError, match=f"`{name}` of BatchNormalization must be") as caught:
        BN(**arguments)
    assert f"got {value}" in str(caught.value)
