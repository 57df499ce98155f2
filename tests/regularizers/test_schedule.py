"""Schedules: the strength in force is that of the optimizer's step, in fit, evaluate, and after a reload."""

import warnings

import keras
import numpy as np
import pytest
from backend_tools import array
from keras_versions import ACTIVITY_PER_ROW

import kerasreg as kr

Schedule = kr.regularizers.Schedule
X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


@keras.saving.register_keras_serializable("tests")
def step_itself(step):
    return keras.ops.cast(step, "float32")


@keras.saving.register_keras_serializable("tests")
class Multiple:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, step):
        return self.factor * keras.ops.cast(step, "float32")

    def get_config(self):
        return {"factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def nothing(y_true, y_pred):
    return 0.0 * keras.ops.sum(y_pred)


class Losses(keras.callbacks.Callback):
    """The loss of each step by itself."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs["loss"] * (batch + 1) - sum(self.seen[len(self.seen) - batch :]))


def model_with(regularizer, optimizer="sgd", **options):
    """A model whose loss is the strength: its kernel stays [[1], [0]]."""
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_regularizer=regularizer, kernel_initializer=keras.initializers.Zeros()
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(optimizer, nothing, **options)
    layer.set_weights([np.array([[1.0], [0.0]])])
    return model


def still():
    return keras.optimizers.SGD(0.0)


@pytest.mark.parametrize(
    "regularizer",
    [
        kr.regularizers.L1(Schedule(step_itself)),
        kr.regularizers.L2(Schedule(step_itself)),
        kr.regularizers.ElasticNet(Schedule(step_itself), beta=0.0),
        kr.regularizers.GroupLasso(Schedule(step_itself)),
    ],
    ids=repr,
)
def test_each_step_of_fit_and_each_evaluation_has_its_own_strength(regularizer):
    model, losses = model_with(regularizer, still()), Losses()
    history = model.fit(
        X, Y, batch_size=2, epochs=2, validation_data=(X, Y), callbacks=[losses], verbose=0
    ).history
    assert losses.seen == pytest.approx([0, 1, 2, 3, 4, 5, 6, 7], abs=1e-5)
    assert history["val_loss"] == pytest.approx([4.0, 8.0])
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(8.0)
    assert [array(loss) for loss in model.losses] == pytest.approx([8.0])
    assert model.train_on_batch(X, Y) == pytest.approx(8.0)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(9.0)
    # The counter that JAX needs is no weight.
    assert len(model.weights) == 1


def test_the_weights_are_pulled_by_the_strength_of_their_step():
    model = model_with(kr.regularizers.L1(Schedule(step_itself)), keras.optimizers.SGD(0.01))
    model.fit(X, Y, batch_size=2, verbose=0)
    # 1 - 0.01 (0 + 1 + 2 + 3)
    np.testing.assert_allclose(model.get_weights()[0], [[0.94], [0.0]], rtol=1e-5)


def test_training_resumes_at_the_step_of_the_file(tmp_path):
    model = model_with(kr.regularizers.L2(Schedule(Multiple(2.0))), still())
    model.fit(X, Y, batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded, losses = keras.saving.load_model(tmp_path / "model.keras", {"nothing": nothing}), Losses()
    assert loaded.evaluate(X, Y, verbose=0) == pytest.approx(8.0)
    loaded.fit(X, Y, batch_size=4, callbacks=[losses], verbose=0)
    assert losses.seen == pytest.approx([8.0, 10.0])
    assert isinstance(loaded.layers[0].kernel_regularizer.strength, Schedule)


def test_accumulated_gradients_count_updates():
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    model, losses = model_with(kr.regularizers.L2(Schedule(step_itself)), optimizer), Losses()
    model.fit(X, Y, batch_size=2, callbacks=[losses], verbose=0)
    assert losses.seen == pytest.approx([0, 0, 1, 1], abs=1e-5)


def test_a_scaled_loss_and_several_steps_an_execution_count_too():
    optimizer = keras.optimizers.LossScaleOptimizer(still())
    # Keras makes one step at a time on torch.
    several = 1 if keras.backend.backend() == "torch" else 2
    model = model_with(kr.regularizers.L2(Schedule(step_itself)), optimizer, steps_per_execution=several)
    history = model.fit(X, Y, batch_size=2, verbose=0).history
    assert history["loss"] == pytest.approx([1.5])


def test_two_models_that_share_a_regularizer_keep_their_own_steps():
    shared = kr.regularizers.L2(Schedule(step_itself))
    first, second = model_with(shared, still()), model_with(shared, still())
    first.fit(X, Y, batch_size=2, verbose=0)
    assert second.fit(X, Y, batch_size=4, verbose=0).history["loss"] == pytest.approx([0.5])
    assert first.evaluate(X, Y, verbose=0) == pytest.approx(4.0)
    assert first.fit(X, Y, batch_size=4, verbose=0).history["loss"] == pytest.approx([4.5])


def test_an_inner_model_has_the_steps_of_the_outer_one():
    inner = model_with(kr.regularizers.L2(Schedule(step_itself)), still())
    outer = keras.Sequential([keras.Input((2,)), inner])
    outer.compile(still(), nothing)
    inner.fit(X, Y, batch_size=2, verbose=0)
    assert outer.fit(X, Y, batch_size=4, verbose=0).history["loss"] == pytest.approx([0.5])


def test_an_activitys_penalty_has_a_schedule_too():
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer="ones",
        activity_regularizer=kr.regularizers.L1(Schedule(step_itself)),
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(still(), nothing)
    # Each row's activity is 2.
    activity = 2 if ACTIVITY_PER_ROW else 2 * 2
    assert model.fit(X, Y, batch_size=2, verbose=0).history["loss"] == pytest.approx([activity * 1.5])


def test_a_schedule_of_keras_is_a_strength():
    decay = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    regularizer = kr.regularizers.L2(decay)
    assert isinstance(regularizer.strength, Schedule)
    again = kr.regularizers.L2.from_config(regularizer.get_config())
    assert again.get_config() == regularizer.get_config()
    assert float(again.strength(5)) == pytest.approx(0.5)


SHAPES = [
    (Schedule.warmup(0.4, 10), {0: 0.0, 5: 0.2, 10: 0.4, 99: 0.4}),
    (Schedule.warmup(0.4, 10, start=0.2), {0: 0.2, 5: 0.3, 10: 0.4}),
    (Schedule.cosine(0.4, 10), {0: 0.4, 5: 0.2, 10: 0.0, 99: 0.0}),
    (Schedule.cosine(0.4, 10, end=0.1), {0: 0.4, 5: 0.25, 10: 0.1}),
    (Schedule.piecewise([3, 6], [0.1, 0.2, 0.3]), {0: 0.1, 3: 0.1, 4: 0.2, 6: 0.2, 7: 0.3}),
    (Schedule(lambda step: 1.0 - step), {0: 1.0, 3: 0.0}),
]


@pytest.mark.parametrize(("schedule", "values"), SHAPES)
def test_the_shape_by_hand(schedule, values):
    assert {step: float(schedule(step)) for step in values} == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in SHAPES[:-1]] + [Schedule(Multiple(3.0))])
def test_it_is_saved_with_its_regularizer(schedule):
    config = keras.saving.serialize_keras_object(kr.regularizers.L1(schedule))
    again = keras.saving.deserialize_keras_object(config)
    assert float(again.strength(4)) == pytest.approx(float(schedule(4)))


def test_what_cannot_be_loaded_is_not_saved():
    for function in (lambda step: 0.1, nothing_known):
        regularizer = kr.regularizers.L2(Schedule(function))
        assert float(regularizer(X)) > 0
        with pytest.raises(ValueError, match=r"`function` of Schedule .*register_keras_serializable"):
            regularizer.get_config()


def nothing_known(step):
    return 0.1


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Schedule(0.1), "function"),
        (lambda: Schedule(lambda step: -1.0), "function"),
        (lambda: Schedule(lambda step: np.nan), "function"),
        (lambda: Schedule.warmup(-1.0, 5), "strength"),
        (lambda: Schedule.warmup(1.0, 0), "steps"),
        (lambda: Schedule.cosine(0.0, 5), "strength"),
        (lambda: Schedule.piecewise([3, 2], [1, 2, 3]), "boundaries"),
        (lambda: Schedule.piecewise([3], [1]), "strengths"),
        (lambda: kr.regularizers.L2(keras.Variable(0.1)), "strength"),
    ],
)
def test_nonsense_is_refused(make, argument):
    with pytest.raises(ValueError, match=f"`{argument}"):
        make()


def test_a_schedule_is_no_regularizer():
    with pytest.raises(ValueError, match=r"L2\(Schedule"):
        Schedule(step_itself)(X)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX's losses do not see the optimizer")
def test_a_loop_that_cannot_count_is_warned():
    model = model_with(kr.regularizers.L2(Schedule(step_itself)), still())
    state = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
    with pytest.warns(UserWarning, match="stands still"):
        model.stateless_call(*state, X, return_losses=True)
    model.make_train_function()
    state = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.stateless_call(*state, X, return_losses=True)
