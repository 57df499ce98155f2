"""LSTM and GRU with variational dropout: one mask a sequence, in training and, with `mc=`, at inference."""

import keras
import numpy as np
import pytest
from backend_tools import array, compiled

import kerasreg as kr

K, L = kr.layers, keras.layers
ROWS, STEPS, FEATURES, UNITS = 5, 7, 3, 4
GATES = {"LSTM": 4, "GRU": 3}


@pytest.fixture(params=["LSTM", "GRU"])
def name(request):
    return request.param


@pytest.fixture
def x(rng):
    return rng.normal(size=(ROWS, STEPS, FEATURES)).astype("float32")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def run(name, weights, x, input_masks, state_masks, reset_after=True, backwards=False):
    """Both layers written out, with the masks of every gate given; all states, of (rows, steps, units)."""
    kernel, recurrent, bias = (np.asarray(weight, "float64") for weight in weights)
    gates = GATES[name]
    kernels, recurrents = np.split(kernel, gates, axis=1), np.split(recurrent, gates, axis=1)
    h = c = np.zeros((len(x), recurrent.shape[0]))
    states = []
    for t in range(x.shape[1])[:: -1 if backwards else 1]:
        into = [(x[:, t] * input_masks[g]) @ kernels[g] for g in range(gates)]
        back = [(h * state_masks[g]) @ recurrents[g] for g in range(gates)]
        if name == "LSTM":
            i, f, new, o = (into[g] + back[g] + np.split(bias, 4)[g] for g in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
            h = sigmoid(o) * np.tanh(c)
        elif reset_after:
            b = np.split(bias[0], 3), np.split(bias[1], 3)
            z, r = (sigmoid(into[g] + back[g] + b[0][g] + b[1][g]) for g in range(2))
            new = np.tanh(into[2] + b[0][2] + r * (back[2] + b[1][2]))
            h = z * h + (1 - z) * new
        else:
            b = np.split(bias, 3)
            z, r = (sigmoid(into[g] + back[g] + b[g]) for g in range(2))
            new = np.tanh(into[2] + b[2] + (r * h * state_masks[2]) @ recurrents[2])
            h = z * h + (1 - z) * new
        states.append(h)
    return np.stack(states, axis=1)


class Numbers:
    """Uniform numbers that are looked at afterwards."""

    def __init__(self, seed=3):
        self.rng, self.given = np.random.default_rng(seed), []

    def __call__(self, shape):
        self.given.append(self.rng.uniform(size=tuple(shape)).astype("float32"))
        return keras.ops.convert_to_tensor(self.given[-1])

    def masks(self, draw, rate, gates):
        """Of (gates, rows, features)."""
        if not rate:
            return np.ones((gates, 1, 1))
        mask = (self.given[draw] >= rate) / (1 - rate)
        return np.broadcast_to(np.moveaxis(mask, 1, 0), (gates, *mask[:, 0].shape))


@pytest.mark.parametrize(
    ("rates", "settings"),
    [
        ((0.4, 0.0), {}),
        ((0.4, 0.0), {"implementation": 1}),
        ((0.4, 0.0), {"use_cudnn": False, "go_backwards": True}),
        ((0.0, 0.4), {}),
        ((0.4, 0.3), {"unroll": True}),
        ((0.4, 0.3), {"reset_after": False}),
    ],
    ids=str,
)
def test_one_mask_a_sequence_is_what_is_computed(name, rates, settings, x):
    if name == "LSTM" and "reset_after" in settings:
        settings = {}
    layer = getattr(K, name)(
        UNITS, dropout=rates[0], recurrent_dropout=rates[1], return_sequences=True, bias_initializer="normal",
        **({"unit_forget_bias": False} if name == "LSTM" else {}), **settings,
    )  # fmt: skip
    layer.build(x.shape)
    numbers = Numbers()
    y = array(layer.noisy(keras.ops.convert_to_tensor(x), numbers))
    gates = GATES[name]
    into = numbers.masks(0, rates[0], gates)
    back = numbers.masks(-1, rates[1], gates)
    expected = run(
        name, layer.get_weights()[:3], x, into, back,
        settings.get("reset_after", True), settings.get("go_backwards", False),
    )  # fmt: skip
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert len(numbers.given) == sum(rate > 0 for rate in rates)
    apart = rates[1] > 0 or settings.get("implementation") == 1
    assert all(u.shape[1] == (gates if apart else 1) for u in numbers.given)
    # Without its masks it is something else.
    ones = np.ones((gates, 1, 1))
    plain = run(name, layer.get_weights()[:3], x, ones, ones, settings.get("reset_after", True))
    assert np.abs(plain - expected).max() > 1e-2


def test_a_mask_stays_through_the_sequence_and_differs_between_rows_and_calls():
    # Without recurrence, with open gates and the forget gate shut, h_t is the sum of what is seen at t.
    layer = K.LSTM(
        1, activation="linear", recurrent_activation="linear", dropout=0.5, mc=True, return_sequences=True,
        unit_forget_bias=False, seed=0,
    )  # fmt: skip
    layer.build((None, 30, 8))
    kernel = np.zeros((8, 4), "float32")
    kernel[:, 2] = 2.0 ** np.arange(8)
    layer.cell.kernel.assign(kernel)
    layer.cell.recurrent_kernel.assign(np.zeros((1, 4), "float32"))
    layer.cell.bias.assign(np.array([1.0, 0.0, 0.0, 1.0], "float32"))
    ones = np.ones((16, 30, 8), "float32")
    first, second = (array(layer(ones))[..., 0] for _ in range(2))
    for y in (first, second):
        # Which of eight inputs are seen, as a number of eight bits, times 1 / (1 - p).
        assert (y == y[:, :1]).all()
        assert set((y / 2.0).ravel().tolist()) <= set(range(256))
        assert len(np.unique(y[:, 0])) > 8
    assert (first != second).any()
    seen = (np.concatenate([first, second])[:, 0] / 2.0).astype(int)
    share = np.mean([bin(bits).count("1") / 8 for bits in seen])
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / (8 * len(seen)))


def test_without_dropout_it_is_keras_layer(name, x):
    ours, theirs = getattr(K, name)(UNITS, mc=True), getattr(L, name)(UNITS)
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    for training in (False, True):
        np.testing.assert_allclose(
            array(ours(x, training=training)), array(theirs(x, training=training)), rtol=1e-5, atol=1e-6
        )


def test_weights_of_keras_layer_load_and_inference_agrees(name, x):
    ours, theirs = (
        module(UNITS, dropout=0.3, recurrent_dropout=0.3) for module in (getattr(K, name), getattr(L, name))
    )
    ours.build(x.shape)
    theirs.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(array(ours(x)), array(theirs(x)), rtol=1e-5, atol=1e-6)


def test_both_directions_of_a_bidirectional_are_noisy_and_unlike(name, x):
    layer = L.Bidirectional(
        getattr(K, name)(UNITS, dropout=0.5, return_sequences=True, mc=True), merge_mode=None
    )
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), layer])
    rows = np.repeat(x[:1], 12, axis=0)
    first, second = (model.predict(rows, verbose=0) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one != other).any()
        assert len(np.unique(one[:, 3].round(5), axis=0)) > 3
    forward, backward = layer.forward_layer, layer.backward_layer
    assert forward.mc
    assert backward.mc
    backward.set_weights(forward.get_weights())
    # Equal weights and a sequence that is its own mirror image: only the masks differ.
    mirrored = np.concatenate([rows, rows[:, ::-1]], axis=1)
    ahead, behind = (array(y) for y in layer(mirrored))
    assert np.abs(ahead - behind[:, ::-1]).max() > 1e-3


def test_a_stateful_layer_goes_on_from_its_state(name, x):
    layer = getattr(K, name)(UNITS, dropout=0.4, recurrent_dropout=0.3, stateful=True, mc=True)
    layer.build(x.shape)
    whole = getattr(K, name)(UNITS, dropout=0.4, recurrent_dropout=0.3)
    whole.build(x.shape)
    whole.set_weights(layer.get_weights()[:3])
    tensor = keras.ops.convert_to_tensor(x)
    for part in (tensor[:, :4], tensor[:, 4:]):
        # The same masks in both halves, so that they make up the whole.
        y = layer.noisy(part, Numbers())
    np.testing.assert_allclose(array(y), array(whole.noisy(tensor, Numbers())), rtol=1e-4, atol=1e-5)
    layer.reset_state()
    assert all((array(state) == 0).all() for state in layer.states)


def test_initial_states_and_masks_reach_keras_loop(name, x):
    layer = getattr(K, name)(UNITS, dropout=0.4, return_state=True)
    layer.build(x.shape)
    tensor = keras.ops.convert_to_tensor(x)
    _, *state = layer.noisy(tensor[:, :4], Numbers())
    y, *_ = layer.noisy(tensor[:, 4:], Numbers(), initial_state=state)
    np.testing.assert_allclose(array(y), array(layer.noisy(tensor, Numbers())[0]), rtol=1e-4, atol=1e-5)
    ended = np.arange(STEPS) < 4
    masked, *_ = layer.noisy(tensor, Numbers(), mask=keras.ops.convert_to_tensor(np.tile(ended, (ROWS, 1))))
    np.testing.assert_allclose(array(masked), array(state[0]), rtol=1e-4, atol=1e-5)


def test_an_error_leaves_no_mask_behind(name, x):
    layer = getattr(K, name)(UNITS, dropout=0.4, recurrent_dropout=0.4, mc=True)
    layer(x)
    with pytest.raises(Exception):  # noqa: B017, PT011 (each backend has its own)
        layer(x, initial_state=[np.zeros((ROWS, UNITS + 1), "float32")] * 2)
    assert layer(x[:2]).shape == (2, UNITS)


def test_it_compiles_again_and_again(name, x):
    layer = getattr(K, name)(UNITS, dropout=0.4, recurrent_dropout=0.4)
    layer.build(x.shape)
    numbers = keras.ops.convert_to_tensor(np.full((1, 1, 1), 0.9, "float32"))
    run_it = compiled(lambda y: layer.noisy(y, lambda shape: keras.ops.broadcast_to(numbers, shape)))
    for rows in (x, x[:2]):
        expected = layer.noisy(
            keras.ops.convert_to_tensor(rows), lambda shape: keras.ops.broadcast_to(numbers, shape)
        )
        # A mask left in the cell would be of another trace, and of another size.
        np.testing.assert_allclose(
            array(run_it(keras.ops.convert_to_tensor(rows))), array(expected), rtol=1e-4, atol=1e-5
        )


def test_it_trains(name, x):
    model = keras.Sequential(
        [
            keras.Input((STEPS, FEATURES)),
            getattr(K, name)(UNITS, dropout=0.2, recurrent_dropout=0.2),
            L.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = np.tile(x[:, :3], (8, 1, 1))
    losses = model.fit(x, x[:, -1, :1], epochs=15, batch_size=40, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_a_copy_runs_and_drops_in_the_same_way(name):
    layer = getattr(K, name)(UNITS, dropout=0.2, implementation=1, use_cudnn=False, mc=True, seed=4)
    copy = type(layer).from_config(layer.get_config())
    assert copy.cell.implementation == 1
    assert copy.use_cudnn is False
    assert copy.get_config() == layer.get_config()
