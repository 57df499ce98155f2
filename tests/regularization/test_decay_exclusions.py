"""Which weights decay: by path, at once, and after a reload."""

import re

import keras
import numpy as np
import pytest
from backend_tools import array

import kerasreg as kr

X, Y = np.ones((8, 3), "float32"), np.zeros((8, 1), "float32")
# With this rate and decay, a step without a gradient halves what decays.
RATE, DECAY = 0.5, 1.0


@keras.saving.register_keras_serializable("decay_tests")
def constant(y_true, y_pred):
    return 0.0 * keras.ops.sum(y_pred)


@keras.saving.register_keras_serializable("decay_tests")
class Net(keras.Model):
    """Names of its layers are Keras', and so other ones in every copy."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(2, bias_initializer="ones")
        self.out = keras.layers.Dense(1, bias_initializer="ones")

    def call(self, x):
        return self.out(self.hidden(x))


def subclassed():
    model = Net()
    model(X)
    return model


def functional():
    inputs = keras.Input((3,))
    block = keras.Sequential([keras.layers.Dense(2, bias_initializer="ones", name="dense")], name="block")
    return keras.Model(inputs, keras.layers.Dense(1, bias_initializer="ones", name="dense")(block(inputs)))


def sgd(**options):
    return keras.optimizers.SGD(RATE, weight_decay=DECAY, **options)


def factors(model):
    """By what each weight is multiplied in one step."""
    before = [array(weight.value) for weight in model.weights]
    model.fit(X, Y, batch_size=8, verbose=0)
    ratios = [array(weight.value) / old for weight, old in zip(model.weights, before, strict=True)]
    return [pytest.approx(float(ratio.mean()), abs=1e-6) for ratio in ratios]


def wrapped():
    return keras.optimizers.LossScaleOptimizer(sgd())


@pytest.mark.parametrize("make", [functional, subclassed])
@pytest.mark.parametrize("optimizer", [sgd, wrapped])
def test_what_is_left_out_does_not_decay_also_in_a_copy(make, optimizer, tmp_path):
    model = make()
    model.compile(optimizer(), constant)
    assert factors(model) == [0.5, 0.5, 0.5, 0.5]
    # After the optimizer was built and its step compiled.
    patterns = ["block/dense/*", re.compile("^dense/bias")] if make is functional else ["*/bias"]
    expected = [1.0, 1.0, 0.5, 1.0] if make is functional else [0.5, 1.0, 0.5, 1.0]
    assert kr.decay_exclusions(model.optimizer, model, patterns) is model.optimizer
    assert factors(model) == expected
    for round_trip in range(2):
        model.save(tmp_path / f"{round_trip}.keras")
        model = keras.saving.load_model(tmp_path / f"{round_trip}.keras")
        assert factors(model) == expected
    clone = keras.models.clone_model(model)
    if make is functional:
        clone.compile_from_config(model.get_compile_config())
        assert factors(clone) == expected
    kr.decay_exclusions(model.optimizer, model, [])
    assert factors(model) == [0.5, 0.5, 0.5, 0.5]
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    assert type(inner) is keras.optimizers.SGD


def test_before_it_is_compiled_and_saved_before_it_is_built(tmp_path):
    model = functional()
    model.compile(kr.decay_exclusions(sgd(), model, "*/bias"), constant)
    model.save(tmp_path / "model.keras")
    assert factors(keras.saving.load_model(tmp_path / "model.keras")) == [0.5, 1.0, 0.5, 1.0]
    assert factors(model) == [0.5, 1.0, 0.5, 1.0]


def test_the_state_of_the_optimizer_goes_on():
    model = functional()
    model.compile(keras.optimizers.AdamW(RATE, weight_decay=DECAY), constant)
    model.fit(X, Y, batch_size=2, verbose=0)
    before = [array(variable.value) for variable in model.optimizer.variables]
    kr.decay_exclusions(model.optimizer, model, ["*"])
    for old, variable in zip(before, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, array(variable.value))
    assert factors(model) == [1.0, 1.0, 1.0, 1.0]


def test_frozen_weights_do_not_shift_the_others(tmp_path):
    model = functional()
    model.get_layer("block").trainable = False
    model.compile(kr.decay_exclusions(sgd(), model, ["*/bias"]), constant)
    model.save(tmp_path / "model.keras")
    for trained in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert factors(trained) == [1.0, 1.0, 0.5, 1.0]


def test_an_optimizer_loaded_for_other_weights_says_so():
    model = functional()
    optimizer = kr.decay_exclusions(sgd(), model, "*/bias")
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    with pytest.warns(UserWarning, match="not put back"):
        again.build(model.trainable_variables[:2])


@pytest.mark.parametrize(
    ("optimizer", "patterns", "words"),
    [
        (sgd, ["*/gamma"], ["'*/gamma'", "block/dense/kernel, block/dense/bias, dense/kernel, dense/bias"]),
        (sgd, [3], ["got 3"]),
        (sgd, 3, ["got 3"]),
        (lambda: keras.optimizers.SGD(0.1), ["*"], ["weight_decay=None"]),
        (lambda: "adamw", ["*"], ["'adamw'"]),
    ],
)
def test_nonsense_is_refused(optimizer, patterns, words):
    with pytest.raises(ValueError, match="must be") as caught:
        kr.decay_exclusions(optimizer(), functional(), patterns)
    for word in words:
        assert word in str(caught.value)


def test_another_models_optimizer_is_refused():
    optimizer = sgd()
    optimizer.build(functional().trainable_variables)
    with pytest.raises(ValueError, match="4 weights"):
        kr.decay_exclusions(optimizer, functional(), "*")
