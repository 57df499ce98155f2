"""The initializer for each layer, and a built model drawn anew."""

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr

L = keras.layers


def gains(layer, x, **arguments):
    """The power that the layer's linear part hands on, with every kernel from `for_layer`."""
    layer.build(x.shape)
    found = kr.initializers.for_layer(layer, seed=0, **arguments)
    for name, initializer in (found if isinstance(found, dict) else {None: found}).items():
        variable = layer.weights[0] if name is None else getattr(layer, name)
        variable.assign(initializer(variable.shape))
    return np.square(array(layer(x))).mean() / np.square(x).mean()


IMAGES = {
    "Conv1D": (lambda: L.Conv1D(64, 3), (16, 32, 32)),
    "Conv2D, groups": (lambda: L.Conv2D(64, 3, groups=4), (8, 12, 12, 32)),
    "Conv3D": (lambda: L.Conv3D(32, 2), (4, 6, 6, 6, 16)),
    "DepthwiseConv1D": (lambda: L.DepthwiseConv1D(5), (16, 32, 256)),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (8, 12, 12, 128)),
    "SeparableConv2D": (lambda: L.SeparableConv2D(64, 3), (8, 12, 12, 128)),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(32, 4, strides=2, padding="same"), (4, 32, 32, 32)),
    "Dense": (lambda: L.Dense(128), (256, 128)),
    "EinsumDense": (lambda: L.EinsumDense("abc,cde->abde", (None, 4, 32)), (16, 16, 128)),
    "EinsumDense, shared": (lambda: L.EinsumDense("abc,bcd->abd", (16, 64)), (16, 16, 128)),
}


@pytest.mark.parametrize("case", IMAGES)
def test_the_layer_hands_on_the_power_that_it_gets(case, rng):
    make, shape = IMAGES[case]
    assert gains(make(), rng.normal(size=shape).astype("float32")) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("case", ["DepthwiseConv2D", "Dense", "EinsumDense"])
def test_the_gain_is_that_of_the_activation(case, rng):
    make, shape = IMAGES[case]
    power = gains(make(), rng.normal(size=shape).astype("float32"), activation="relu")
    assert power == pytest.approx(2.0, rel=0.15)


def test_the_layers_own_activation_is_taken_and_one_without_gain_is_not():
    assert kr.initializers.for_layer(L.Dense(3, "relu")).gain == pytest.approx(2**0.5)
    assert kr.initializers.for_layer(L.Dense(3, "softmax")).gain == pytest.approx(1.0)
    assert kr.initializers.for_layer(L.Dense(3, "softmax"), "relu").gain == pytest.approx(2**0.5)


def test_an_embeddings_rows_have_unit_power():
    found = kr.initializers.for_layer(L.Embedding(500, 64))
    assert np.square(array(found((500, 64)))).mean() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("make", [L.SimpleRNN, L.GRU, L.LSTM, L.LSTMCell])
def test_recurrent_layers_have_an_initializer_for_each_kernel(make):
    found = kr.initializers.for_layer(make(16))
    assert found["kernel"].variance((10, 16)) == pytest.approx(0.1)
    recurrent = array(found["recurrent_kernel"]((16, 64)))
    for gate in np.split(recurrent, 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(16), atol=1e-5)


def test_wrapped_and_attention_layers_name_each_part():
    both = kr.initializers.for_layer(L.Bidirectional(L.LSTM(4, name="lstm")))
    assert sorted(both) == sorted(
        f"{way}_lstm/lstm_cell/{kernel}"
        for way in ("forward", "backward")
        for kernel in ("kernel", "recurrent_kernel")
    )
    assert kr.initializers.for_layer(L.TimeDistributed(L.Dense(3))).kind == "dense"
    attention = L.MultiHeadAttention(4, 8)
    with pytest.raises(ValueError, match=r"`layer` of for_layer.*build it first"):
        kr.initializers.for_layer(attention)
    attention.build((None, 5, 32), (None, 5, 32))
    found = kr.initializers.for_layer(attention)
    assert found["query/kernel"].variance((32, 4, 8)) == pytest.approx(1 / 32)
    assert found["attention_output/kernel"].variance((4, 8, 32)) == pytest.approx(1 / 32)


@pytest.mark.parametrize("layer", [keras.layers.ReLU(), "dense", None])
def test_what_holds_no_known_kernel_is_refused(layer):
    with pytest.raises(ValueError, match="`layer` of for_layer"):
        kr.initializers.for_layer(layer)


def model():
    """ReLU before `b`, a norm before `c`, a fused tanh before `head`."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(16, 3, name="a"),
            L.ReLU(),
            L.MaxPooling2D(),
            L.DepthwiseConv2D(3, name="b"),
            L.BatchNormalization(name="norm"),
            L.Conv2D(8, 1, activation="tanh", name="c"),
            L.Flatten(),
            L.Dropout(0.5),
            L.Dense(4, name="head"),
        ]
    )


def test_reinitialize_finds_the_activation_before_each_kernel():
    drawn = kr.initializers.reinitialize(model(), seed=0)
    found = {name: part.gain for name, part in drawn.items()}
    assert found == {
        "a.kernel": pytest.approx(1.0),
        "b.kernel": pytest.approx(2**0.5),
        "c.kernel": pytest.approx(1.0),
        "head.kernel": pytest.approx(1.5925, abs=1e-3),
    }
    drawn = kr.initializers.reinitialize(model(), "relu", seed=0)
    assert [part.gain for part in drawn.values()] == [pytest.approx(2**0.5)] * 4


def test_reinitialize_draws_kernels_and_biases_and_nothing_else():
    net = model()
    for variable in net.trainable_variables:
        variable.assign(variable + 1.0)
    net.get_layer("c").trainable = False
    before = {v.path.partition("/")[2]: array(v) for v in net.variables}
    kr.initializers.reinitialize(net, seed=3)
    after = {v.path.partition("/")[2]: array(v) for v in net.variables}
    changed = {path for path in before if (before[path] != after[path]).any()}
    assert changed == {f"{name}/{part}" for name in ("a", "b", "head") for part in ("kernel", "bias")}
    assert not array(net.get_layer("a").bias).any()
    kernel = array(net.get_layer("a").kernel)
    assert kernel.var() * 27 == pytest.approx(1.0, rel=0.2)


def test_reinitialize_repeats_itself_and_gives_equal_layers_other_weights():
    net = keras.Sequential([keras.Input((8,)), L.Dense(8, name="a"), L.Dense(8, name="b")])
    draws = []
    for seed in (1, 1, 2, None):
        kr.initializers.reinitialize(net, seed=seed)
        draws.append([array(net.get_layer(name).kernel) for name in "ab"])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0][0] != draws[0][1]).all()
    assert (draws[0][0] != draws[2][0]).any()
    assert (draws[2][0] != draws[3][0]).any()


def test_reinitialize_starts_an_lstms_forget_gate_open():
    net = keras.Sequential([keras.Input((5, 3)), L.LSTM(4)])
    cell = net.layers[-1].cell
    cell.bias.assign(cell.bias + 7.0)
    kr.initializers.reinitialize(net, seed=0)
    np.testing.assert_array_equal(array(cell.bias), [0] * 4 + [1] * 4 + [0] * 8)


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.hidden = L.Dense(8, "relu", name="hidden")
        self.head = L.Dense(2, name="head")

    def call(self, x):
        return self.head(self.hidden(x))


def test_reinitialize_takes_a_layers_own_activation_where_there_is_no_graph():
    net = Subclassed()
    with pytest.raises(ValueError, match=r"`model` of reinitialize must be a built"):
        kr.initializers.reinitialize(net)
    net(np.ones((2, 4), "float32"))
    found = {name: part.gain for name, part in kr.initializers.reinitialize(net).items()}
    assert found == {"hidden.kernel": pytest.approx(2**0.5), "head.kernel": pytest.approx(1.0)}


def test_reinitialize_without_anything_to_draw_is_an_error():
    with pytest.raises(ValueError, match="`model` of reinitialize"):
        kr.initializers.reinitialize(keras.Sequential([keras.Input((2,)), L.ReLU()]))
