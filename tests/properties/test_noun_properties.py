"""What holds for every initializer, regularizer, constraint, loss and metric, whatever it is given."""

import math

import keras
import numpy as np
import pytest
from backend_tools import array
from drawing import examples, numbers, plain, probabilities, seeds, shapes, values
from hypothesis import given
from hypothesis import strategies as st

import kerasreg as kr
from kerasreg.regularizers import Schedule

# ------------------------------------------------------------------ initializers

KERNELS = {
    "dense": lambda draw: (draw(shapes(2, 4)), {}),
    "conv": lambda draw: _grouped(draw, draw(shapes(3, 4))),
    "depthwise": lambda draw: (draw(shapes(3, 4)), {}),
    "transpose": lambda draw: (draw(shapes(3, 4)), {"strides": draw(st.integers(1, 3))}),
    "embedding": lambda draw: (draw(shapes(2, 2)), {}),
    "recurrent": lambda draw: _gates(draw),
}


def _grouped(draw, shape):
    groups = draw(st.integers(1, 3))
    return (*shape[:-1], shape[-1] * groups), {"groups": groups, "strides": draw(st.integers(1, 3))}


def _gates(draw):
    units = draw(st.integers(1, 5))
    return (units, units * draw(st.integers(1, 4))), {}


@pytest.mark.parametrize("kind", KERNELS)
@examples(8)
@given(data=st.data())
def test_a_calibrated_kernel_has_its_shape_type_size_and_seed(kind, data):
    draw = data.draw
    shape, more = KERNELS[kind](draw)
    initializer = kr.initializers.Calibrated(
        draw(st.sampled_from(["linear", "relu", "tanh", "gelu"])),
        fan=draw(st.sampled_from(["in", "out", "average"])),
        kind=kind,
        distribution=draw(st.sampled_from(["truncated_normal", "normal", "uniform", "orthogonal"])),
        seed=draw(seeds),
        **more,
    )
    dtype = draw(st.sampled_from(["float32", "float16", "bfloat16"]))
    kernel = initializer(shape, dtype=dtype)
    assert tuple(kernel.shape) == shape
    assert keras.backend.standardize_dtype(kernel.dtype) == dtype
    wide, std = array(keras.ops.cast(kernel, "float32")), math.sqrt(initializer.variance(shape))
    again = kr.initializers.Calibrated.from_config(plain(initializer.get_config()))(shape, dtype=dtype)
    np.testing.assert_array_equal(wide, array(keras.ops.cast(again, "float32")))
    # No weight is beyond what its distribution allows, but for the rounding of the type.
    bound = {"uniform": 3**0.5, "truncated_normal": 2.2738, "normal": 6.0, "orthogonal": wide.size**0.5}
    assert np.abs(wide).max() <= bound[initializer.distribution] * std * 1.01
    if initializer.distribution == "orthogonal":
        assert np.mean(wide.astype("float64") ** 2) == pytest.approx(std**2, rel=2e-2)
    # Both fans, and the one between them, belong to one gain.
    fans = {
        fan: initializer.gain**2
        / kr.initializers.Calibrated.from_config({**initializer.get_config(), "fan": fan}).variance(shape)
        for fan in ("in", "out", "average")
    }
    if min(fans["in"], fans["out"]) > 1:
        assert fans["average"] == pytest.approx((fans["in"] + fans["out"]) / 2)


@examples(15)
@given(
    window=shapes(1, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(0, 4)),
    gain=st.floats(0.01, 10),
    seed=seeds,
)
def test_a_delta_orthogonal_kernel_keeps_every_norm(window, channels, gain, seed):
    shape = (*window, channels[0], sum(channels))
    kernel = array(kr.initializers.DeltaOrthogonal(gain, seed)(shape))
    assert kernel.shape == shape
    matrix = kernel.reshape(-1, *shape[-2:])
    centre = np.ravel_multi_index([(size - 1) // 2 for size in window], window)
    assert not np.delete(matrix, centre, axis=0).any()
    product = matrix[centre] @ matrix[centre].T
    np.testing.assert_allclose(product, gain**2 * np.eye(channels[0]), atol=1e-4 * gain**2)


K = keras.layers
BUILT = {
    "dense": lambda draw: (K.Dense(draw(st.integers(1, 5)), "relu"), draw(shapes(2, 3))),
    "conv": lambda draw: (K.Conv1D(4, draw(st.integers(1, 3)), padding="same"), draw(shapes(3, 3))),
    "depthwise": lambda draw: (K.DepthwiseConv1D(2, padding="same"), draw(shapes(3, 3))),
    "transpose": lambda draw: (K.Conv1DTranspose(3, 3, strides=draw(st.integers(1, 2))), draw(shapes(3, 3))),
    "embedding": lambda draw: (K.Embedding(7, draw(st.integers(1, 5))), (2, 3)),
    "several": lambda draw: (K.GRU(draw(st.integers(1, 4))), draw(shapes(3, 3))),
}


@pytest.mark.parametrize("kind", BUILT)
@examples(3)
@given(data=st.data())
def test_a_layer_is_drawn_anew_by_the_initializer_that_fits_it(kind, data):
    layer, shape = BUILT[kind](data.draw)
    seed = data.draw(seeds)
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    fitting = kr.initializers.for_layer(layer, seed=seed)
    several = fitting if isinstance(fitting, dict) else {f"{kind} kernel": fitting}
    assert kind in ("several", next(iter(several.values())).kind)
    drawn = kr.initializers.reinitialize(model, seed=seed)
    assert len(drawn) == len(several)
    first = model.get_weights()
    assert all(np.isfinite(weight).all() for weight in first)
    kr.initializers.reinitialize(model, seed=seed)
    for a, b in zip(first, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    kr.initializers.reinitialize(model, seed=seed + 1)
    assert any((a != b).any() for a, b in zip(first, model.get_weights(), strict=True))


# ------------------------------------------------------------------ regularizers

strengths = st.sampled_from([0.0, 1.0]) | st.floats(1e-3, 100)
prior = {"scale": st.floats(0.1, 10), "num_examples": st.integers(1, 1000)}
# Their arguments, and by what power of c they grow when the weights are multiplied by c.
REGULARIZERS = {
    "regularizers.L1": ({"strength": strengths}, 1),
    "regularizers.L2": ({"strength": strengths}, 2),
    "regularizers.ElasticNet": ({"strength": strengths, "beta": st.floats(0, 10)}, None),
    "regularizers.GroupLasso": ({"strength": strengths}, 1),
    "regularizers.Orthogonal": ({"strength": strengths, "mode": st.sampled_from(["rows", "columns"])}, 0),
    "regularizers.GaussianPrior": (prior, 2),
    "regularizers.LaplacePrior": (prior, 1),
    "regularizers.StudentTPrior": ({**prior, "df": st.floats(0.5, 30)}, None),
}
# A Schedule is the strength of the others, and tried as that.
SCHEDULES = {"regularizers.Schedule"}


@pytest.mark.parametrize("label", REGULARIZERS)
@examples(12)
@given(data=st.data())
def test_a_penalty_is_0_at_0_even_never_negative_and_grows_by_its_degree(label, data):
    draw, (choices, degree) = data.draw, REGULARIZERS[label]
    regularizer = getattr(kr.regularizers, label.partition(".")[2])(**draw(st.fixed_dictionaries(choices)))
    w = values(draw, draw(shapes(1, 4)), draw(st.sampled_from([1e-3, 1.0, 30.0])))

    def penalty(weights, of=regularizer):
        found = of(weights)
        assert tuple(found.shape) == ()
        return float(array(found))

    whole = penalty(w)
    assert whole >= 0
    assert penalty(np.zeros_like(w)) == 0
    assert penalty(-w) == pytest.approx(whole, rel=1e-4)
    if degree is not None:
        c = draw(st.floats(0.1, 10))
        assert penalty(w * np.float32(c)) == pytest.approx(c**degree * whole, rel=1e-3, abs=1e-6)
    else:
        assert penalty(2 * w) >= whole
    if label != "regularizers.Orthogonal":
        # What lies behind one another is penalised apart; a unit's weights stay together.
        more = values(draw, w.shape)
        both = np.concatenate([w, more], axis=-1 if w.ndim > 1 else 0)
        assert penalty(both) == pytest.approx(whole + penalty(more), rel=1e-4, abs=1e-5)
    # Whatever the order of the units.
    order = np.random.default_rng(draw(numbers)).permutation(w.shape[-1])
    assert penalty(w[..., order]) == pytest.approx(whole, rel=1e-4, abs=1e-6)
    again = type(regularizer).from_config(plain(regularizer.get_config()))
    assert penalty(w, again) == whole
    if "strength" in choices:
        config = regularizer.get_config()
        tripled = type(regularizer)(**{**config, "strength": 3 * config["strength"]})
        assert penalty(w, tripled) == pytest.approx(3 * whole, rel=1e-4, abs=1e-6)
        steady = Schedule.piecewise([5], [config["strength"]] * 2)
        scheduled = type(regularizer)(**{**config, "strength": steady})
        assert penalty(w, scheduled) == pytest.approx(whole, rel=1e-5, abs=1e-7)
    # In half precision too, where squares overflow.
    half = keras.ops.cast(keras.ops.convert_to_tensor(w), draw(st.sampled_from(["float16", "bfloat16"])))
    assert penalty(half) == pytest.approx(whole, rel=0.05, abs=1e-2)


# ------------------------------------------------------------------ constraints


def axes_of(draw, shape):
    return draw(st.none() | st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=2, unique=True))


@pytest.mark.parametrize("label", ["constraints.MaxNorm", "constraints.UnitNorm"])
@examples(15)
@given(data=st.data())
def test_a_norm_is_bounded_once_and_for_all(label, data):
    shape = data.draw(shapes(2, 4))
    axes = axes_of(data.draw, shape)
    bound = 1.0
    if label == "constraints.MaxNorm":
        bound = data.draw(st.floats(0.01, 10))
        constraint = kr.constraints.MaxNorm(bound, axis=axes)
    else:
        constraint = kr.constraints.UnitNorm(axis=axes)
    w = values(data.draw, shape, data.draw(st.sampled_from([1e-2, 1.0, 100.0])))
    once = array(constraint(w))
    over = tuple(range(len(shape) - 1)) if axes is None else tuple(axes)
    before, after = (np.sqrt((v.astype("float64") ** 2).sum(over, keepdims=True)) for v in (w, once))
    wanted = np.minimum(before, bound) if label == "constraints.MaxNorm" else np.where(before > 0, 1.0, 0.0)
    np.testing.assert_allclose(after, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(constraint(once)), once, rtol=1e-5, atol=1e-7)
    # Each unit keeps its direction.
    np.testing.assert_allclose(once * before, w * after, rtol=1e-3, atol=1e-4 * max(before.max(), 1))
    again = type(constraint).from_config(plain(constraint.get_config()))
    np.testing.assert_array_equal(array(again(w)), once)


@pytest.mark.parametrize("label", ["constraints.SoftThreshold", "constraints.GroupSoftThreshold"])
@examples(12)
@given(data=st.data())
def test_a_proximal_step_shrinks_and_brings_no_two_weights_further_apart(label, data):
    draw, shape = data.draw, data.draw(shapes(2, 3))
    arguments = {"strength": draw(strengths), "beta": draw(st.sampled_from([0.0, 0.7]))}
    if "Group" in label:
        arguments |= {
            "axis": axes_of(draw, shape),
            "l1_ratio": draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1)),
        }
    constraint = getattr(kr.constraints, label.partition(".")[2])(**arguments)
    v, w = values(draw, shape), values(draw, shape)
    step = draw(st.floats(1e-3, 1))

    def prox(weights, step=step, of=constraint):
        return array(of.prox(weights, np.float32(step)))

    assert (np.abs(prox(w)) <= np.abs(w) * (1 + 1e-5)).all()
    assert (prox(w) * w >= 0).all()
    np.testing.assert_allclose(prox(-w), -prox(w), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(prox(w, 0.0), w, rtol=1e-6)
    assert np.linalg.norm(prox(v) - prox(w)) <= np.linalg.norm(v - w) * (1 + 1e-5)
    if not arguments["beta"] and arguments.get("l1_ratio", 1.0) in (0.0, 1.0):
        # Two small steps along one norm are a large one.
        np.testing.assert_allclose(prox(prox(w, step / 4), 3 * step / 4), prox(w), rtol=1e-3, atol=1e-5)
    # A step for each weight that is the same for all is that one step, by Newton's method or without.
    np.testing.assert_allclose(
        array(constraint.prox(w, np.full(shape, step, "float32"))), prox(w), rtol=1e-3, atol=1e-5
    )
    again = type(constraint).from_config(plain(constraint.get_config()))
    np.testing.assert_array_equal(prox(w, of=again), prox(w))


# ------------------------------------------------------------------ losses and metrics


@examples(25)
@given(data=st.data())
def test_the_hinge_counts_no_order_no_offset_and_no_form_of_the_labels(data):
    draw = data.draw
    rows, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    margin, variant = draw(st.floats(0.1, 5)), draw(st.sampled_from(["sum", "max"]))
    rng = np.random.default_rng(draw(numbers))
    labels, scores = rng.integers(0, classes, rows), values(draw, (rows, classes), 3.0)
    loss = kr.losses.MulticlassHinge(margin, variant, reduction="none")

    def each(y, s, of=loss):
        return array(of(y, s))

    found = each(labels, scores)
    assert found.shape == (rows,)
    assert (found >= 0).all()
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(each(np.eye(classes, dtype="float32")[labels], scores), found, **close)
    np.testing.assert_allclose(each(labels[:, None], scores), found, **close)
    offset = rng.normal(size=(rows, 1)).astype("float32")
    np.testing.assert_allclose(each(labels, scores + offset), found, **close)
    names = rng.permutation(classes)
    np.testing.assert_allclose(each(np.argsort(names)[labels], scores[:, names]), found, **close)
    order = rng.permutation(rows)
    np.testing.assert_allclose(each(labels[order], scores[order]), found[order], **close)
    doubled = kr.losses.MulticlassHinge(2 * margin, variant, reduction="none")
    np.testing.assert_allclose(each(labels, 2 * scores, doubled), 2 * found, **close)
    worst = each(labels, scores, kr.losses.MulticlassHinge(margin, "max", reduction="none"))
    assert (worst <= found + 1e-4).all()
    assert (found <= (classes - 1) * worst + 1e-3).all()
    lead = np.array([row[y] - np.delete(row, y).max() for row, y in zip(scores, labels, strict=True)])
    np.testing.assert_array_equal(
        found[np.abs(lead - margin) > 1e-3] == 0, (lead > margin)[abs(lead - margin) > 1e-3]
    )
    again = kr.losses.MulticlassHinge.from_config(plain(loss.get_config()))
    np.testing.assert_array_equal(each(labels, scores, again), found)
    mean = kr.losses.MulticlassHinge(margin, variant)
    assert float(array(mean(labels, scores))) == pytest.approx(found.mean(), rel=1e-4, abs=1e-5)


@examples(15)
@given(data=st.data())
def test_a_calibration_error_is_that_of_all_rows_however_they_come(data):
    draw = data.draw
    rows, classes, bins = draw(st.integers(1, 20)), draw(st.integers(2, 4)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(numbers))
    p, labels = probabilities(draw, (rows, classes)).astype("float32"), rng.integers(0, classes, rows)
    weight = rng.integers(0, 3, rows) if draw(st.booleans()) else None
    if weight is not None and not weight.any():
        weight[0] = 1

    def measured(*parts, of=None):
        metric = of or kr.metrics.ExpectedCalibrationError(bins)
        for part in parts:
            metric.update_state(labels[part], p[part], None if weight is None else weight[part])
        return float(array(metric.result()))

    whole = measured(np.arange(rows))
    assert 0 <= whole <= 1 + 1e-6
    cuts = np.sort(rng.integers(0, rows + 1, 2))
    parts = [part for part in np.split(rng.permutation(rows), cuts) if len(part)]
    assert measured(*parts) == pytest.approx(whole, abs=1e-5)
    again = kr.metrics.ExpectedCalibrationError.from_config(
        plain(kr.metrics.ExpectedCalibrationError(bins).get_config())
    )
    assert measured(np.arange(rows), of=again) == whole
    # The verb for arrays says the same; a whole weight is as many rows.
    repeated = np.repeat(np.arange(rows), 1 if weight is None else weight)
    expected = kr.uncertainty.expected_calibration_error(labels[repeated], p[repeated], bins)
    assert whole == pytest.approx(expected, abs=1e-5)


LABELS = {
    "initializers.Calibrated",
    "initializers.DeltaOrthogonal",
    "initializers.for_layer",
    "initializers.reinitialize",
    *REGULARIZERS,
    *SCHEDULES,
    "constraints.MaxNorm",
    "constraints.UnitNorm",
    "constraints.SoftThreshold",
    "constraints.GroupSoftThreshold",
    "losses.MulticlassHinge",
    "metrics.ExpectedCalibrationError",
}
