"""What holds for every layer, whatever the rank, the sizes, the dtype policy and the arguments."""

import keras
import numpy as np
import pytest
from backend_tools import array, wide_numbers
from drawing import examples, numbers, plain, rates, seeds, shapes, values
from hypothesis import given
from hypothesis import strategies as st

import kerasreg as kr

ON_JAX = keras.backend.backend() == "jax"
POLICIES = ["float32", "mixed_float16", "mixed_bfloat16", "float64"]
TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


def noise(draw, **more):
    return {"rate": draw(rates), "seed": draw(st.none() | seeds), "mc": draw(st.booleans()), **more}


def dropout(draw):
    shape = draw(shapes(1, 4))
    # A mask may be shared along any axis.
    fixed = draw(st.none() | st.tuples(*[st.sampled_from([None, 1]) for _ in shape]))
    return noise(draw, noise_shape=fixed), shape


def spatial(rank):
    def arguments(draw):
        more = (
            {} if rank == 1 else {"data_format": draw(st.sampled_from(["channels_first", "channels_last"]))}
        )
        return noise(draw, **more), draw(shapes(rank + 2, rank + 2, most=4))

    return arguments


def drop_block(draw):
    side = st.integers(1, 6)
    more = {
        "block_size": draw(side | st.tuples(side, side)),
        "normalize": draw(st.sampled_from(["rate", "count"])),
        "per_channel": draw(st.booleans()),
        "data_format": draw(st.sampled_from(["channels_first", "channels_last"])),
    }
    return noise(draw, **more), draw(shapes(4, 4))


def concrete(draw):
    if draw(st.booleans()):
        layer, shape = keras.layers.Dense(draw(st.integers(1, 4))), draw(shapes(2, 3))
    else:
        layer, shape = keras.layers.Conv1D(2, 2, padding="same"), draw(shapes(3, 3))
    positive = st.floats(0.01, 10)
    return {
        "layer": layer,
        "num_examples": draw(st.integers(1, 1000)),
        "length_scale": draw(positive),
        "loss_scale": draw(positive),
        "initial_rate": draw(st.floats(0.01, 0.99)),
        "temperature": draw(st.floats(0.05, 1)),
        "seed": draw(st.none() | seeds),
        "mc": draw(st.booleans()),
    }, shape


def recurrent(draw):
    arguments = {
        "units": draw(st.integers(1, 4)),
        "dropout": draw(rates),
        "recurrent_dropout": draw(rates),
        "seed": draw(st.none() | seeds),
        "mc": draw(st.booleans()),
    }
    flags = ("return_sequences", "go_backwards", "use_bias")
    return {**arguments, **{flag: draw(st.booleans()) for flag in flags}}, draw(shapes(3, 3, most=4))


def batch_norm(draw):
    shape = draw(shapes(2, 5, most=4))
    axis = draw(st.integers(1, len(shape) - 1))
    arguments = {
        "axis": draw(st.sampled_from([axis, axis - len(shape)])),
        "update_rate": draw(st.floats(0, 1)),
        "epsilon": draw(st.floats(1e-4, 1)),
        "averaging": draw(st.sampled_from(["ema", "debiased", "cumulative"])),
        "normalize_with": draw(st.sampled_from(["batch", "moving"])),
        "virtual_batch_size": draw(st.none() | st.integers(1, 4)),
        "center": draw(st.booleans()),
        "scale": draw(st.booleans()),
    }
    return arguments, shape


def normalization(draw):
    shape = draw(shapes(2, 4))
    if draw(st.booleans()):
        mean, variance = values(draw, shape[-1:]).tolist(), np.abs(values(draw, shape[-1:])).tolist()
        return {"axis": -1, "mean": mean, "variance": variance, "invert": draw(st.booleans())}, shape
    kept = st.lists(st.integers(1, len(shape) - 1), unique=True, max_size=len(shape) - 1).map(sorted)
    return {"axis": draw(kept.map(lambda axes: tuple(axes) or None)), "invert": draw(st.booleans())}, shape


LAYERS = {
    "layers.Dropout": dropout,
    "layers.AlphaDropout": dropout,
    "layers.GaussianDropout": lambda draw: (noise(draw), draw(shapes(1, 4))),
    "layers.SpatialDropout1D": spatial(1),
    "layers.SpatialDropout2D": spatial(2),
    "layers.SpatialDropout3D": spatial(3),
    "layers.DropPath": lambda draw: (noise(draw, scale_by_keep=draw(st.booleans())), draw(shapes(1, 4))),
    "layers.DropBlock2D": drop_block,
    "layers.ConcreteDropout": concrete,
    "layers.LSTM": recurrent,
    "layers.GRU": recurrent,
    "layers.BatchNormalization": batch_norm,
    "layers.Normalization": normalization,
    "layers.TemperatureScaling": lambda draw: (
        {"temperature": draw(st.floats(0.01, 100))},
        draw(shapes(1, 4)),
    ),
}
# What these return at inference is what they were given, bit for bit.
IDENTITIES = {label for label in LAYERS if "Drop" in label} - {"layers.ConcreteDropout"}
# What these return in training is 0, or what they were given times one factor.
ALL_OR_NOTHING = {"layers.Dropout", "layers.DropPath"} | {f"layers.SpatialDropout{i}D" for i in (1, 2, 3)}


def class_of(label):
    return getattr(kr.layers, label.removeprefix("layers."))


def filled(layer, seed):
    """Other weights than those of the start, positive as a variance is."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return layer


def call(layer, x, training=False):
    takes = "training" in type(layer).call.__code__.co_varnames
    return layer(x, **({"training": training} if takes else {}))


@pytest.mark.parametrize("label", LAYERS)
@examples(5)
@given(data=st.data())
def test_shapes_types_copies_and_rows(label, data):
    arguments, shape = LAYERS[label](data.draw)
    policy, fill = data.draw(st.sampled_from(POLICIES)), data.draw(numbers)
    if label == "layers.GRU" and keras.backend.backend() == "jax":
        # Without one Keras' own turns into float64 wherever JAX allows it, and stops.
        arguments["use_bias"] = True
    with wide_numbers():
        layer = class_of(label)(**arguments, dtype=policy)
        x = values(data.draw, shape, data.draw(st.sampled_from([1.0, 30.0])))
        x = keras.ops.cast(keras.ops.convert_to_tensor(x), layer.compute_dtype)
        layer.build(shape)
        filled(layer, fill)
        y = call(layer, x)
        assert tuple(y.shape) == tuple(layer.compute_output_shape(shape))
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        assert np.isfinite(wide(y)).all()
        symbolic = layer(keras.KerasTensor((None, *shape[1:]), layer.compute_dtype))
        assert symbolic.shape == (None, *y.shape[1:])
        assert symbolic.dtype == layer.compute_dtype

        noisy = layer.get_config().get("mc", False)
        if not noisy:
            np.testing.assert_array_equal(wide(call(layer, x)), wide(y))
            if label in IDENTITIES:
                np.testing.assert_array_equal(wide(y), wide(x))
            # A row's output is its own: rows in another order are the outputs in that order.
            order = np.random.default_rng(fill).permutation(shape[0])
            found = wide(call(layer, keras.ops.take(x, order, axis=0)))
            tolerance = TOLERANCES[layer.compute_dtype]
            np.testing.assert_allclose(found, wide(y)[order], rtol=tolerance, atol=tolerance)

        # Two copies with the same weights and generators at their start compute the same, twice.
        first, second = (class_of(label).from_config(plain(layer.get_config())) for _ in range(2))
        for copy in (first, second):
            copy.build(shape)
            filled(copy, fill)
        assert plain(first.get_config()) == plain(layer.get_config())
        repeats = layer.get_config().get("seed", 0) is not None
        if not noisy:
            np.testing.assert_array_equal(wide(call(first, x)), wide(y))
        for training in (True, False):
            a, b = (wide(call(copy, x, training)) for copy in (first, second))
            assert a.shape == y.shape
            assert np.isfinite(a).all()
            if repeats or not (noisy or training):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("label", sorted(ALL_OR_NOTHING))
@examples(6)
@given(data=st.data())
def test_what_stays_is_scaled_alike(label, data):
    arguments, shape = LAYERS[label](data.draw)
    layer, x = class_of(label)(**arguments), values(data.draw, shape) + 3.0
    kept = array(call(layer, x, training=True)) / x
    scale = 1 / (1 - arguments["rate"]) if arguments.get("scale_by_keep", True) else 1.0
    assert np.isclose(kept, 0, atol=1e-6).sum() + np.isclose(kept, scale, rtol=1e-5).sum() == kept.size
    # What is shared is dropped as one: along axes of a mask of size 1, for whole maps, for whole rows.
    shared = {
        "layers.Dropout": [i for i, size in enumerate(arguments.get("noise_shape") or ()) if size == 1],
        "layers.DropPath": list(range(1, len(shape))),
    }.get(label)
    if shared is None:
        first = arguments.get("data_format") == "channels_first"
        shared = list(range(2, len(shape))) if first else list(range(1, len(shape) - 1))
    for axis in shared:
        assert np.ptp(kept, axis=axis).max() < 1e-4 * scale


def wide(tensor):
    return array(keras.ops.cast(tensor, "float64"))
