"""The private names of Keras that kerasreg uses still exist and still mean what it takes them for."""

import inspect

import keras
import numpy as np
import pytest
from backend_tools import array, compiled

from kerasreg._core import private


class Holder(keras.layers.Layer):
    """A layer with layers in an attribute, a list and a dict."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(2)
        self.rest = [keras.layers.ReLU(), keras.layers.Dropout(0.5)]
        self.named = {"last": keras.layers.Dense(3)}

    def call(self, x):
        return self.named["last"](self.rest[0](self.first(x)))


def test_sublayers_are_those_of_the_first_level():
    holder = Holder()
    assert private.sublayers(holder) == [holder.first, *holder.rest, holder.named["last"]]
    assert private.sublayers(keras.layers.Dense(1)) == []


def test_sublayers_of_a_model_are_its_layers():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    functional = keras.Model(inner.inputs, keras.layers.ReLU()(inner.outputs[0]))
    outer = keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1)])
    assert private.sublayers(functional) == functional.layers
    assert [layer for layer in private.sublayers(outer) if layer in outer.layers] == outer.layers
    assert inner.layers[0] not in private.sublayers(outer)


def test_sublayers_is_a_list_of_its_own():
    holder = Holder()
    private.sublayers(holder).clear()
    assert len(private.sublayers(holder)) == 4


@pytest.fixture
def words():
    return np.array([[1, 2, 0], [3, 0, 0]])


def test_get_mask_finds_what_keras_hangs_on_a_tensor(words):
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(words)
    np.testing.assert_array_equal(array(private.get_mask(embedded)), words != 0)
    assert private.get_mask(keras.ops.ones((2, 3))) is None


def test_set_mask_hangs_what_keras_layers_read(words):
    x = np.arange(24, dtype="float32").reshape(2, 3, 4)
    masked, plain = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(x + 0.0)
    pool = keras.layers.GlobalAveragePooling1D()
    private.set_mask(masked, keras.ops.convert_to_tensor(words != 0))
    private.set_mask(plain, None)
    np.testing.assert_allclose(array(pool(masked)), [x[0, :2].mean(axis=0), x[1, 0]])
    np.testing.assert_allclose(array(pool(plain)), x.mean(axis=1))
    assert private.get_mask(masked) is not None


@pytest.mark.parametrize(("settings", "gates"), [({}, None), ({"recurrent_dropout": 0.5}, 4)])
def test_set_dropout_masks_fills_what_the_public_methods_give_and_empty(settings, gates):
    cell = keras.layers.LSTMCell(2, dropout=0.5, **settings)
    assert getattr(cell, "dropout_mask_count", None) == gates
    inputs, state = keras.ops.ones((3, 4)), keras.ops.ones((3, 2))
    mine = [keras.ops.full((3, 4), 7.0)] * (gates or 1)
    private.set_dropout_masks(cell, mine if gates else mine[0], mine)
    given = cell.get_dropout_mask(inputs)
    assert (array(given[0] if gates else given) == 7.0).all()
    assert (array(cell.get_recurrent_dropout_mask(state)[0]) == 7.0).all()
    cell.reset_dropout_mask()
    cell.reset_recurrent_dropout_mask()
    drawn = cell.get_dropout_mask(inputs)
    assert set(array(drawn[0] if gates else drawn).ravel().tolist()) <= {0.0, 2.0}


def test_graph_nodes_are_the_calls_of_this_model_in_order():
    x = keras.Input((2,))
    dense = keras.layers.Dense(2, name="dense")
    first = keras.layers.ReLU(name="relu")(dense(x))
    model = keras.Model(x, dense(first))
    keras.Model(x, keras.layers.Softmax()(first))
    nodes = private.graph_nodes(model)
    assert [node.operation.name for node in nodes] == ["dense", "relu", "dense"]
    assert nodes[0].arguments.args == (x,)
    assert nodes[0].arguments.kwargs == {}
    assert nodes[1].output_tensors[0] is first
    assert nodes[2].input_tensors[0] is first


def test_graph_nodes_bring_the_inputs_in_first_where_asked():
    inputs = keras.Input((2,), name="x")
    hidden = keras.layers.Dense(2, name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="add")([hidden, inputs]))
    nodes = private.graph_nodes(model, inputs=True)
    assert [node.operation.name for node in nodes] == ["x", "hidden", "add"]


def test_graph_of_sequential_is_the_functional_model_that_it_runs_as():
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, name="a"), keras.layers.ReLU(name="b")]
    )
    graph = private.graph_of_sequential(model)
    assert isinstance(graph, keras.Function)
    assert graph.outputs[0] is model.outputs[0]
    assert [node.operation.name for node in private.graph_nodes(graph)] == ["a", "b"]


def test_backend_random_is_where_every_draw_ends(monkeypatch):
    seen = []
    for name in ("dropout", "normal"):
        original = getattr(private.backend_random(), name)

        def seeing(*args, _name=name, _original=original, **kwargs):
            seen.append(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(private.backend_random(), name, seeing)
    keras.random.normal((2,))
    keras.layers.Dropout(0.5)(np.ones((2, 3)), training=True)
    assert seen == ["normal", "dropout"]


def test_own_seed_generators_are_those_of_the_layer_itself():
    class Drawing(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(1)
            self.held = keras.layers.Dropout(0.5)

    layer = Drawing()
    assert private.own_seed_generators(layer) == [layer.generator]
    assert private.own_seed_generators(keras.layers.Dense(2)) == []


def test_is_augmentation_knows_keras_layers_and_users_on_their_base():
    class Own(keras.layers.RandomFlip):
        pass

    for layer in (Own(), keras.layers.RandomBrightness(0.1), keras.layers.RandAugment()):
        assert private.is_augmentation(layer)
    for layer in (keras.layers.Dropout(0.1), keras.layers.GaussianNoise(0.1), keras.layers.Rescaling(1.0)):
        assert not private.is_augmentation(layer)


def test_an_error_of_the_kind_that_is_passed_on_is_the_same_outside_of_a_layer():
    error = private.PassedOn("as it is")

    class Raising(keras.layers.Layer):
        def call(self, x):
            raise error

    with pytest.raises(private.PassedOn) as caught:
        Raising()(np.ones(2))
    assert caught.value is error
    assert str(error) == "as it is"


def test_trace_state_tells_a_loop_from_what_is_around_it():
    states = []

    def function(x):
        states.append(private.trace_state())

        def step(i, x):
            inside.append(private.trace_state())
            return i + 1, x

        inside = []
        keras.ops.while_loop(lambda i, x: i < 2, step, (keras.ops.cast(0, "int32"), x))
        states.extend([private.trace_state(), inside[0]])
        return x

    compiled(function)(keras.ops.ones((2,)))
    assert states[0] == states[1] != states[2]


def test_every_private_name_is_held_by_a_test():
    functions = {
        name
        for name, thing in vars(private).items()
        if inspect.isfunction(thing) and thing.__module__ == private.__name__
    }
    untested = {name for name in functions if not any(test.startswith(f"test_{name}") for test in globals())}
    assert not untested, f"tests/test_private.py has no test for {sorted(untested)}"


def test_graph_is_compiled_by_xla_tells_it_from_a_plain_one():
    import tensorflow as tf

    seen = []

    def look(x):
        seen.append(private.graph_is_compiled_by_xla(tf.compat.v1.get_default_graph()))
        return x + 1

    tf.function(look)(tf.zeros([]))
    tf.function(look, jit_compile=True)(tf.zeros([]))
    tf.function(lambda x: tf.function(look)(x), jit_compile=True)(tf.zeros([]))
    assert (seen[0], seen[1], seen[-1]) == (False, True, True)


def test_unconverted_inputs_come_to_the_layer_as_they_are():
    class Looker(keras.layers.Layer):
        def call(self, x):
            self.seen = type(x)
            return keras.ops.convert_to_tensor(x)

    looker, x = Looker(), np.ones((2, 3), "float32")
    looker(x)
    assert looker.seen is not np.ndarray
    with private.unconverted_inputs(looker):
        looker(keras.ops.convert_to_tensor(x))
        looker._allow_non_tensor_positional_args = True
        looker(x)
    assert looker.seen is np.ndarray
    looker(x)
    assert looker.seen is not np.ndarray


def test_own_weights_and_own_statistics_are_told_apart_when_frozen():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    layer.trainable = False
    assert private.own_weights(layer) == [layer.gamma, layer.beta]
    assert private.own_statistics(layer) == [layer.moving_mean, layer.moving_variance]
    assert private.own_weights(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])) == []


def test_own_statistics_are_no_weights():
    private.own_statistics(keras.layers.Dense(1)).append("x")
    assert private.own_statistics(keras.layers.Dense(1)) == []


def test_in_stateless_scope_and_in_symbolic_scope_tell_where_they_are():
    seen = []

    class Look(keras.layers.Layer):
        def call(self, x):
            seen.append((private.in_stateless_scope(), private.in_symbolic_scope()))
            return x

    look = Look()
    look(keras.ops.ones((1, 2)))
    with keras.StatelessScope():
        look.call(keras.ops.ones((1, 2)))
    look(keras.KerasTensor((1, 2)))
    assert seen == [(False, False), (True, False), (True, True)]


def test_in_symbolic_scope_is_false_here():
    assert not private.in_symbolic_scope()


def test_track_counter_makes_it_a_variable_and_no_weight():
    class Counter:
        state = keras.Variable(0, dtype="int32", trainable=False)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    private.track_counter(model, Counter)
    assert any(variable is Counter.state for variable in model.non_trainable_variables)
    assert len(model.weights) == 2


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (lambda: keras.optimizers.Adam(amsgrad=True), ("_velocities", "_velocity_hats")),
        (lambda: keras.optimizers.Nadam(), ("_velocities",)),
        (lambda: keras.optimizers.RMSprop(centered=True), ("_velocities", "_average_gradients")),
        (lambda: keras.optimizers.Adagrad(initial_accumulator_value=0.0), ("_accumulators",)),
        (lambda: keras.optimizers.Adamax(), ("_u",)),
    ],
)
def test_optimizer_slot_is_that_of_the_variable(optimizer, slots):
    optimizer = optimizer()
    still, moved = keras.Variable([1.0, 1.0]), keras.Variable([1.0])
    optimizer.apply([keras.ops.zeros(2), keras.ops.ones(1)], [still, moved])
    for name in slots:
        assert (array(private.optimizer_slot(optimizer, name, still)) == 0).all()
        assert (array(private.optimizer_slot(optimizer, name, moved)) > 0).all()


def test_steps_taken_counts_what_only_gathers_too():
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    counted = []
    for _ in range(4):
        counted.append((int(private.steps_taken(optimizer)), int(optimizer.iterations)))
        optimizer.apply([keras.ops.ones(1)], [variable])
    assert counted == [(0, 0), (1, 0), (2, 0), (3, 1)]


def test_learning_rate_at_is_that_of_the_step():
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    assert float(private.learning_rate_at(keras.optimizers.SGD(decay), 1)) == 0.5
    assert float(private.learning_rate_at(keras.optimizers.SGD(decay), 2)) == 0.25
    assert float(private.learning_rate_at(keras.optimizers.SGD(0.125), 2)) == 0.125


def test_built_for_tells_what_an_optimizer_trains_and_exclusions_are_taken_then():
    optimizer = keras.optimizers.SGD(0.5, weight_decay=1.0)
    assert private.built_for(optimizer) is None
    weights = [keras.Variable([1.0]), keras.Variable([1.0])]
    optimizer.build(weights)
    assert [id(weight) for weight in private.built_for(optimizer)] == [id(weight) for weight in weights]
    # Its docstring says that it has to come before `build`; all versions so far take it later too.
    optimizer.exclude_from_weight_decay(var_list=weights[:1])
    optimizer.apply([keras.ops.zeros((1,))] * 2)
    assert [float(array(weight.value)[0]) for weight in weights] == [1.0, 0.5]


def test_attached_metrics_are_among_the_models_own_until_taken_away():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    metric = keras.metrics.Mean(name="beside")
    metric.update_state(3.0)
    private.attached_metrics(model).append(metric)
    assert metric in model.metrics
    model.reset_metrics()
    assert float(metric.result()) == 0.0
    private.attached_metrics(model).remove(metric)
    assert metric not in model.metrics


def test_begin_at_epoch_is_where_fit_begins():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    assert private.begin_at_epoch(model, 3) is None
    x = np.ones((1, 1), "float32")
    assert model.fit(x, x, epochs=5, verbose=0).epoch == [3, 4]
    assert private.begin_at_epoch(model, None) == 3


def test_global_seed_generator_is_the_one_that_keras_draws_from():
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    assert private.global_seed_generator(make=False) is None
    made = private.global_seed_generator(make=True)
    before = array(made.state)
    keras.random.uniform((2,))
    assert private.global_seed_generator(make=False) is made
    assert (array(made.state) != before).any()


def test_weights_in_memory_are_a_file_of_weights(tmp_path):
    model, other = (
        keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, name="d"), keras.layers.BatchNormalization()]
        )
        for _ in range(2)
    )
    model.compile("adam", "mse")
    path = tmp_path / "a.weights.h5"
    path.write_bytes(private.weights_in_memory(model).getvalue())
    other.load_weights(path)
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(array(one.value), array(two.value))
