"""Every linear layer's output has the RMS asked for, measured anew by other code, and nothing else moved."""

import json
import math

import keras
import numpy as np
import pytest
from backend_tools import array
from linear_rms import linear_layers, linear_outputs, linear_rms
from zoo_of_shapes import SHAPES, inputs, nested, resnet, transformer

import kerasreg as kr

L = keras.layers


def state(model):
    return [array(v) for v in model.variables]


def same(one, other):
    return all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("case", SHAPES)
def test_every_layer_has_the_target_measured_anew(case):
    make, batch = SHAPES[case]
    model, x = make(), batch()
    before = state(model)
    planned = kr.calibrate(model, x, target=0.5, branch_target=None, dry_run=True)
    assert same(state(model), before)
    report = kr.calibrate(model, x, target=0.5, branch_target=None)
    assert [row.scale for row in planned.rows] == [row.scale for row in report.rows]
    found = linear_rms(model, x)
    assert len(found) == len(linear_layers(model)) >= 3
    assert list(found.values()) == pytest.approx([0.5] * len(found), rel=1e-5)
    assert all(row.after == pytest.approx(0.5, rel=1e-6) for row in report.calibrated)
    # Only kernels have changed; statistics, seeds and biases are what they were.
    for variable, old in zip(model.variables, before, strict=True):
        changed = not np.array_equal(array(variable), old)
        assert changed == (variable.name in ("kernel", "embeddings", "depthwise_kernel", "pointwise_kernel"))
    # Each by one positive factor: the direction is the initializer's.
    kernel = next(v for v in model.variables if v.name == "kernel")
    old = before[[v is kernel for v in model.variables].index(True)]
    ratio = array(kernel) / old
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)
    report.undo()
    assert same(state(model), before)
    with pytest.raises(ValueError, match="`report` of CalibrationReport"):
        report.undo()


@pytest.mark.parametrize("case", ["mlp", "cnn", "transformer", "recurrent"])
def test_each_channel_has_the_target(case):
    make, batch = SHAPES[case]
    model, x = make(), batch()
    model_rms = {}
    kr.calibrate(model, x, per_channel=True, branch_target=None)
    for name, calls in linear_outputs(model, x).items():
        values = np.concatenate(calls)
        channels = 2 if name.endswith(("query", "key", "value")) else 1
        axes = tuple(range(values.ndim - channels))
        model_rms[name] = np.sqrt(np.square(values).mean(axis=axes))
        np.testing.assert_allclose(model_rms[name], 1.0, rtol=2e-5, err_msg=name)
    assert any(rms.ndim == 2 for rms in model_rms.values()) == (case == "transformer")


def test_an_einsum_whose_kernels_axes_come_in_another_order_is_scaled_channel_by_channel():
    model = keras.Sequential([keras.Input((5, 6)), L.EinsumDense("abc,dce->abed", (None, 3, 4), name="e")])
    x = inputs(32, 5, 6)
    kr.calibrate(model, x, per_channel=True)
    values = array(model(x))
    np.testing.assert_allclose(np.sqrt(np.square(values).mean(axis=(0, 1))), np.ones((3, 4)), rtol=1e-5)


def test_a_bias_counts_in_the_output():
    model = SHAPES["mlp"][0]()
    x = inputs(64, 16)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        layer.bias.assign(rng.normal(0.0, 0.3, layer.bias.shape))
    kr.calibrate(model, x, target=1.0)
    for name, rms in linear_rms(model, x).items():
        assert rms == pytest.approx(1.0, rel=1e-5), name
    model.layers[2].bias.assign(model.layers[2].bias * 0 + 5.0)
    report = kr.calibrate(model, x)
    assert "bias alone" in report.skipped["h2.kernel"]
    assert len(report.calibrated) == len(model.layers) - 1


def test_channels_first_biases_and_channels():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow on a CPU has no channels_first convolution")
    model = keras.Sequential(
        [
            keras.Input((3, 9, 9)),
            L.Conv2D(4, 3, data_format="channels_first", bias_initializer="random_normal"),
        ]
    )
    x = inputs(8, 3, 9, 9)
    kr.calibrate(model, x, per_channel=True)
    np.testing.assert_allclose(np.square(array(model(x))).mean(axis=(0, 2, 3)), 1.0, rtol=1e-5)


def test_batch_norms_use_the_batch_and_keep_their_statistics():
    norm = L.BatchNormalization(name="norm")
    layers = [L.Dense(8, name="a"), norm, L.Dense(8, name="b")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    norm.moving_variance.assign(norm.moving_variance * 1e6)
    x = inputs(64, 4)
    row = kr.calibrate(model, x).calibrated[1]
    # On the moving statistics the signal would be a thousandth of that.
    assert row.before > 0.1
    assert array(norm.moving_variance)[0] == 1e6


def test_the_trunks_power_does_not_grow_with_depth():
    growth = {}
    for blocks in (3, 24):
        model, x = resnet(blocks), inputs(8, 8, 8, 3)
        report = kr.calibrate(model, x)
        ends = [row for row in report.calibrated if row.layer.startswith("end")]
        assert [row.target for row in ends] == [pytest.approx(1 / math.sqrt(blocks))] * blocks
        trunk = keras.Model(model.inputs[0], model.layers[-2].input)
        growth[blocks] = np.square(array(trunk(x))).mean()
    # Branches that agree among themselves add a little more than independent ones.
    assert all(1.3 < power < 3.5 for power in growth.values())
    assert growth[24] < 1.6 * growth[3]
    model = resnet(24)
    kr.calibrate(model, x, branch_target=None)
    assert np.square(array(keras.Model(model.inputs[0], model.layers[-2].input)(x))).mean() > 15


def test_branch_targets_by_number_and_by_pattern():
    model, x = resnet(2), inputs(8, 8, 8, 3)
    rows = {row.layer: row.target for row in kr.calibrate(model, x, branch_target=0.1, dry_run=True).rows}
    assert (rows["end0"], rows["end1"], rows["first0"]) == (0.1, 0.1, 1.0)
    net = transformer()
    tokens = SHAPES["transformer"][1]()
    report = kr.calibrate(net, tokens, branch_target={"block*/down": 0.2})
    assert {row.layer: row.after for row in report.rows}["block1/down"] == pytest.approx(0.2, rel=1e-5)
    with pytest.raises(ValueError, match=r"`branch_target` of calibrate.*block0/up.*got 'blok\*'"):
        kr.calibrate(net, tokens, branch_target={"blok*": 0.2})


def test_a_shared_layer_is_scaled_at_its_first_call():
    shared = L.Dense(6, name="shared")
    start = keras.Input((6,))
    model = keras.Model(start, shared(L.ReLU()(shared(start))))
    x = inputs(64, 6)
    report = kr.calibrate(model, x)
    assert [row.layer for row in report.rows] == ["shared", "shared:2"]
    assert report.skipped == {"shared:2.kernel": "shared: scaled at its first call"}
    first, second = next(iter(linear_outputs(model, x).values()))
    assert math.sqrt(np.square(first).mean()) == pytest.approx(1.0, rel=1e-5)
    assert report.rows[1].before == pytest.approx(math.sqrt(np.square(second).mean()), rel=1e-5)


def test_frozen_excluded_and_unknown_layers_are_named():
    class Own(L.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(6, 6), name="matrix")

        def call(self, x):
            return keras.ops.matmul(x, self.matrix)

    net = keras.Sequential(
        [keras.Input((6,)), L.Dense(6, name="ice"), Own(name="own"), L.Dense(6, name="a"), nested()]
    )
    net.get_layer("ice").trainable = False
    report = kr.calibrate(net, inputs(32, 6), exclude=[net.layers[-1].name])
    assert [row.layer for row in report.calibrated] == ["a"]
    assert "frozen" in report.skipped["ice.kernel"]
    assert "Own" in report.skipped["own.matrix"]
    assert sum(reason == "excluded" for reason in report.skipped.values()) == 4
    with pytest.raises(ValueError, match=r"`exclude` of calibrate.*ice, a.*got 'heads'"):
        kr.calibrate(net, inputs(32, 6), exclude=["heads"])


def test_what_runs_in_a_scan_or_a_compiled_call_is_named():
    class Cell(L.Layer):
        state_size = 4

        def __init__(self):
            super().__init__(name="cell")
            self.dense = L.Dense(4, name="dense")

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x, states):
            y = self.dense(x) + states[0]
            return y, [y]

    model = keras.Sequential([keras.Input((5, 4)), L.RNN(Cell(), name="rnn"), L.Dense(2, name="out")])
    report = kr.calibrate(model, inputs(8, 5, 4))
    assert [row.layer for row in report.calibrated] == ["out"]
    assert "loop" in report.skipped["rnn/cell/dense.kernel"]


class Traced(keras.Model):
    """Runs its layer in a function that was compiled before."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(4, name="dense")
        self.dense.build((None, 4))
        if keras.backend.backend() == "jax":
            import jax

            self.fast = jax.jit(lambda x: self.dense(x))
        else:
            import tensorflow as tf

            self.fast = tf.function(lambda x: self.dense(x))

    def call(self, x):
        return self.fast(x)


def test_a_call_that_was_traced_before_is_an_error_and_not_silence():
    model = Traced()
    x = inputs(8, 4)
    model(x)
    before = state(model)
    with pytest.raises(ValueError, match=r"a kernel to rescale, got none \(dense: "):
        kr.calibrate(model, x)
    assert same(state(model), before)


class Fork(keras.Model):
    """Has a layer that no call reaches."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = L.Dense(4, name="used"), L.Dense(4, name="spare")

    def build(self, shape):
        self.used.build(shape)
        self.spare.build(shape)

    def call(self, x):
        return self.used(x)


def test_a_layer_that_the_batch_never_reaches_is_named():
    model = Fork()
    model.build((None, 4))
    report = kr.calibrate(model, inputs(8, 4))
    assert report.skipped == {"spare.kernel": "the batch never reached it"}


def with_kernel(initializer, name="h2"):
    layers = [
        L.Dense(8, "relu", name=f"h{i}", kernel_initializer=initializer if f"h{i}" == name else "he_normal")
        for i in range(4)
    ]
    return keras.Sequential([keras.Input((8,)), *layers])


def test_a_kernel_of_zeros_is_refused_by_name_and_nothing_is_changed():
    model = with_kernel("zeros")
    before = state(model)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        kr.calibrate(model, inputs(16, 8))
    sentence = str(caught.value)
    for part in ("Dense 'h2' is all zeros", "got initializer Zeros", "kr.initializers.Calibrated('relu')"):
        assert part in sentence
    assert same(state(model), before)
    # An output's, and a residual branch's end, may be.
    report = kr.calibrate(with_kernel("zeros", "h3"), inputs(16, 8))
    assert "all zeros" in report.skipped["h3.kernel"]
    net = resnet(2)
    net.get_layer("end1").kernel.assign(net.get_layer("end1").kernel * 0)
    assert "residual" in kr.calibrate(net, inputs(8, 8, 8, 3)).skipped["end1.kernel"]


@pytest.mark.parametrize(
    ("change", "argument", "shown"),
    [
        ({"x": np.ones((1, 8), "float32")}, "x", "(1, 8)"),
        ({"x": np.full((4, 8), np.nan, "float32")}, "x", "32 of 32 numbers NaN"),
        ({"x": np.float32(3)}, "x", "()"),
        ({"x": np.ones((4, 5), "float32")}, "x", "(4, 5)"),
        ({"target": 0}, "target", "0"),
        ({"target": math.nan}, "target", "nan"),
        ({"per_channel": 1}, "per_channel", "1"),
        ({"dry_run": None}, "dry_run", "None"),
        ({"branch_target": "half"}, "branch_target", "'half'"),
        ({"branch_target": -1}, "branch_target", "-1"),
        ({"model": keras.Sequential([L.Dense(2)])}, "model", "Sequential"),
        ({"model": "net"}, "model", "'net'"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(change, argument, shown):
    model = with_kernel("he_normal")
    before = state(model)
    arguments = {"model": model, "x": inputs(16, 8), **change}
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        kr.calibrate(**arguments)
    sentence = str(caught.value)
    assert f"`{argument}" in sentence
    assert shown in sentence.partition(", got ")[2]
    assert sentence.endswith(".")
    assert ". " not in sentence
    assert same(state(model), before)


def test_an_output_that_is_not_finite_is_an_error_that_names_the_layer():
    model = with_kernel("he_normal")
    kernel = array(model.layers[1].kernel).copy()
    kernel[0, 0] = np.inf
    model.layers[1].kernel.assign(kernel)
    before = state(model)
    with pytest.raises(ValueError, match="finite at 'h1', got NaN or infinity"):
        kr.calibrate(model, inputs(16, 8))
    assert same(state(model), before)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
def test_kernels_far_from_one_are_brought_back(scale):
    model = with_kernel(keras.initializers.RandomNormal(stddev=scale, seed=1))
    x = inputs(16, 8)
    kr.calibrate(model, x)
    assert list(linear_rms(model, x).values())[2] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-3), ("float16", 1e-3), ("mixed_bfloat16", 1e-2)]
)
def test_half_precision(policy, tolerance):
    layers = [L.Dense(64, "relu", name=f"h{i}", dtype=policy) for i in range(6)]
    model = keras.Sequential([keras.Input((32,), dtype="float16"), *layers])
    x = inputs(128, 32).astype("float16")
    report = kr.calibrate(model, x)
    for rms in linear_rms(model, x).values():
        assert rms == pytest.approx(1.0, rel=tolerance)
    assert all(row.after == pytest.approx(1.0, rel=tolerance) for row in report.calibrated)


def test_the_report_is_a_table_and_plain_data():
    report = kr.calibrate(with_kernel("zeros", "h3"), inputs(16, 8))
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "kernel", "RMS", "before", "scale", "RMS", "after"]
    assert [line.split()[0] for line in lines[1:4]] == ["h0", "h1", "h2"]
    assert lines[-1].strip().startswith("h3.kernel: its kernel is all zeros")
    rows = json.loads(json.dumps(report.to_dict()))["rows"]
    assert rows[0]["layer"] == "h0"
    assert rows[0]["after"] == pytest.approx(rows[0]["before"] * rows[0]["scale"])


def test_a_dataset_gives_its_first_batch_and_the_model_trains_afterwards():
    import tensorflow as tf

    model = with_kernel("he_normal")
    x = inputs(32, 8)
    pairs = tf.data.Dataset.from_tensor_slices((x, np.zeros(32, "int32"))).batch(16)
    kr.calibrate(model, pairs)
    assert list(linear_rms(model, x[:16]).values())[3] == pytest.approx(1.0, rel=1e-5)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, np.zeros(32, "int32"), verbose=0)
    assert keras.layers.serialize(model.layers[0])["config"]["activation"] == "relu"
