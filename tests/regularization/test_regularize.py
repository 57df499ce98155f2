"""Penalties by path on models that exist already: in force at once, and through every kind of copy."""

import re
import subprocess
import sys
import warnings
import zipfile

import keras
import numpy as np
import pytest
from backend_tools import array
from keras_versions import LIST_OF_ONE

import kerasreg as kr
from kerasreg.regularizers.carrier import functions_are_taken

L2 = kr.regularizers.L2
X, Y = np.ones((8, 3), "float32"), np.zeros((8, 1), "float32")


@keras.saving.register_keras_serializable("regularize_tests")
class Gate(keras.layers.Layer):
    """A layer that relies on Keras for its config and gives its weights no regularizer."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = keras.layers.Dense(units)

    def build(self, shape):
        self.inner.build(shape)
        self.gate = self.add_weight(shape=(self.units,), initializer="ones", name="gate")

    def call(self, x):
        return self.inner(x) * self.gate


@keras.saving.register_keras_serializable("regularize_tests")
class Net(keras.Model):
    """A subclassed model with layers in a list, one of them with a penalty of its own."""

    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = [keras.layers.Dense(units, kernel_regularizer="l2"), Gate(units)]
        self.out = keras.layers.Dense(1)

    def call(self, x):
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Scaled(keras.layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

    def call(self, x):
        return x * self.factor


@keras.saving.register_keras_serializable("regularize_tests")
def cubes(weights):
    return keras.ops.sum(keras.ops.abs(weights) ** 3)


class Untold(keras.regularizers.Regularizer):
    """Without a config of its own, as users write them who never save."""

    def __call__(self, x):
        return keras.ops.sum(x)


def sequential():
    layers = [keras.layers.Dense(2, name="first"), keras.layers.Dense(1, name="last")]
    return keras.Sequential([keras.Input((3,)), *layers])


def nested():
    """A functional model around a sequential one, a layer of ours, attention and a batch norm."""
    inputs = keras.Input((3,))
    x = keras.Sequential([keras.layers.Dense(4, name="dense"), Gate(4, name="gated")], name="block")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Reshape((2, 2))(x)
    x = keras.layers.MultiHeadAttention(1, 2, name="attention")(x, x)
    outputs = keras.layers.Dense(1, name="out")(keras.layers.Flatten()(x))
    return keras.Model(inputs, outputs)


def subclassed():
    model = Net()
    model(X)
    return model


def scramble(model, seed=1):
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))


def penalty(model):
    return sum(float(array(loss)) for loss in model.losses)


def squares(model, *names):
    """The sum of squares of the weights of these names, by NumPy."""
    return sum((array(w.value).astype("float64") ** 2).sum() for w in model.weights if w.name in names)


@keras.saving.register_keras_serializable("regularize_tests")
def constant(y_true, y_pred):
    return 0.0 * keras.ops.sum(y_pred)


def compiled(model, rate=0.0, **options):
    model.compile(keras.optimizers.SGD(rate), constant, **options)
    return model


def through_a_file(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def by_clone(model, tmp_path):
    clone = keras.models.clone_model(model)
    if not clone.built:
        clone(X)
    clone.set_weights(model.get_weights())
    return clone


@pytest.mark.filterwarnings(LIST_OF_ONE)
@pytest.mark.parametrize("make", [sequential, nested, subclassed])
@pytest.mark.parametrize("copy", [through_a_file, by_clone])
def test_the_loss_is_the_penalty_by_hand_before_and_after_a_copy(make, copy, tmp_path):
    model = compiled(make())
    scramble(model)
    model.fit(X, Y, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert kr.regularize(model, {"*/kernel": L2(0.25), "*/bias": L2(0.5)}) is model
    by_hand = 0.25 * squares(model, "kernel") + 0.5 * squares(model, "bias")
    assert by_hand > 1
    # The step compiled before has to go.
    assert model.fit(X, Y, verbose=0).history["loss"] == pytest.approx([by_hand], rel=1e-6)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(by_hand, rel=1e-6)
    copied = copy(model, tmp_path)
    assert penalty(copied) == pytest.approx(by_hand, rel=1e-6)
    np.testing.assert_allclose(array(copied(X)), array(model(X)), rtol=1e-5)
    # The copy is one that can be copied.
    again = copy(copied, tmp_path)
    assert penalty(again) == pytest.approx(by_hand, rel=1e-6)
    kr.regularize(again, {})
    assert not again.losses
    assert not copy(again, tmp_path).losses
    assert penalty(model) == pytest.approx(by_hand, rel=1e-6)


def test_a_model_is_loaded_in_a_new_process(tmp_path):
    model = nested()
    scramble(model)
    kr.regularize(model, {"*kernel": L2(0.25), "*/gate": L2(0.5)})
    path = tmp_path / "model.keras"
    model.save(path)
    program = (
        "import sys, keras, kerasreg\n"
        "@keras.saving.register_keras_serializable('regularize_tests')\n"
        "class Gate(keras.layers.Layer):\n"
        "    def __init__(self, units, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.units, self.inner = units, keras.layers.Dense(units)\n"
        "    def build(self, shape):\n"
        "        self.inner.build(shape)\n"
        "        self.gate = self.add_weight(shape=(self.units,), name='gate')\n"
        "    def call(self, x):\n"
        "        return self.inner(x) * self.gate\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "print(sum(float(loss) for loss in model.losses))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=300, check=True
    )
    assert float(done.stdout.split()[-1]) == pytest.approx(penalty(model), rel=1e-5)


def test_what_a_layer_has_an_argument_for_is_kept_as_keras_keeps_it(tmp_path):
    model = kr.regularize(sequential(), {"first/kernel": keras.regularizers.L2(0.25)})
    assert type(model.layers[0]) is keras.layers.Dense
    assert model.layers[0].kernel_regularizer.l2 == 0.25
    model.save(tmp_path / "model.keras")
    # Whoever loads it needs no kerasreg.
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert b"kerasreg" not in file.read("config.json")
    assert penalty(keras.saving.load_model(tmp_path / "model.keras")) == pytest.approx(penalty(model))


KERAS_LAYERS = {
    "Conv2D": (lambda: keras.layers.Conv2D(2, 2), (5, 5, 3)),
    "DepthwiseConv2D": (lambda: keras.layers.DepthwiseConv2D(2), (5, 5, 3)),
    "SeparableConv1D": (lambda: keras.layers.SeparableConv1D(2, 2), (5, 3)),
    "Conv2DTranspose": (lambda: keras.layers.Conv2DTranspose(2, 2), (5, 5, 3)),
    "EinsumDense": (lambda: keras.layers.EinsumDense("ab,bc->ac", 3, bias_axes="c"), (4,)),
    "Embedding": (lambda: keras.layers.Embedding(7, 3), (4,)),
    "LayerNormalization": (lambda: keras.layers.LayerNormalization(), (4,)),
    "GroupNormalization": (lambda: keras.layers.GroupNormalization(2), (4,)),
    "PReLU": (lambda: keras.layers.PReLU(), (4,)),
    "GRU": (lambda: keras.layers.GRU(2), (4, 3)),
    "ConvLSTM1D": (lambda: keras.layers.ConvLSTM1D(2, 2), (4, 5, 3)),
    "kr.LSTM": (lambda: kr.layers.LSTM(2), (4, 3)),
    "kr.BatchNormalization": (lambda: kr.layers.BatchNormalization(), (4,)),
    "Bidirectional": (lambda: keras.layers.Bidirectional(keras.layers.LSTM(2)), (4, 3)),
    "TimeDistributed": (lambda: keras.layers.TimeDistributed(keras.layers.Dense(2)), (4, 3)),
    "stacked cells": (lambda: keras.layers.RNN([keras.layers.LSTMCell(2), keras.layers.GRUCell(2)]), (4, 3)),
    "SpectralNormalization": (lambda: keras.layers.SpectralNormalization(keras.layers.Dense(2)), (4,)),
}
CARRIED = {"Bidirectional", "TimeDistributed", "stacked cells", "SpectralNormalization"}


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_every_weight_of_every_kind_of_layer_keeps_its_own_penalty(name):
    make, shape = KERAS_LAYERS[name]
    layer = make()
    own_class = type(layer)
    model = keras.Sequential([keras.Input(shape), layer])
    scramble(model)
    paths = list(dict.fromkeys(weight.path for weight in model.trainable_weights))
    rules = {re.compile(f"^{path}$"): L2(0.1 * (i + 1)) for i, path in enumerate(paths)}
    kr.regularize(model, rules)
    expected = sorted(float(array(loss)) for loss in model.losses)
    assert len(expected) == len(model.trainable_weights)
    assert len(np.unique(np.round(expected, 4))) == len(expected)
    clone = by_clone(model, None)
    assert sorted(float(array(loss)) for loss in clone.losses) == pytest.approx(expected, rel=1e-5)
    if name not in CARRIED:
        assert type(layer) is own_class
    kr.regularize(model, {})
    assert type(layer) is own_class
    assert not by_clone(model, None).losses


def test_the_first_rule_that_fits_counts_and_biases_wait_to_be_asked():
    model = sequential()
    kr.regularize(model, {"last/*": None, "*": L2(1.0)})
    assert [weight.path.rpartition("/")[0].rpartition("/")[2] for weight in penalised(model)] == ["first"]
    assert [weight.name for weight in penalised(model)] == ["kernel"]
    kr.regularize(model, {"first/bias": L2(1.0), "*": L2(2.0)})
    assert [weight.name for weight in penalised(model)] == ["kernel", "bias", "kernel"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*/kernel", 2),
        ("last/*", 1),
        ("l*", 1),
        ("[fl]*", 2),
        ("*b[i]as", 0),
        ("*/*bias", 2),
        (re.compile("^first/kernel$"), 1),
        (re.compile("kernel|bias"), 4),
        (re.compile("st/"), 2),
        (r"(first|last)/kernel", 2),
        (r".*\bbias", 2),
        ("*/*/kernel", 2),
    ],
)
def test_a_pattern_finds_what_it_says(pattern, found):
    model = keras.Sequential([keras.Input((3,)), sequential()])
    model = model.layers[0] if pattern != "*/*/kernel" else model
    if not found:
        with pytest.raises(ValueError, match="bias"):
            kr.regularize(model, {pattern: L2(1.0)})
    else:
        kr.regularize(model, {pattern: L2(1.0)})
    assert len(penalised(model)) == found


def penalised(model):
    return [weight for weight in model.weights if weight.regularizer is not None]


def test_a_shared_layer_and_a_lone_number():
    dense, gate = keras.layers.Dense(3, name="dense"), keras.layers.Dense(1, name="out")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, gate(dense(dense(inputs))))
    kr.regularize(model, {"*": L2(1.0)})
    assert len(model.losses) == 2
    inputs = keras.Input((3,))
    scaled = keras.Sequential([inputs, Scaled(name="scaled")])
    kr.regularize(scaled, {"*/factor": L2(1.0)})
    assert len(scaled.losses) == 1
    with pytest.raises(ValueError, match=r"scaled/factor.*'\*/factor'"):
        kr.regularize(scaled, {"*": L2(1.0)})


def test_the_term_by_which_a_layer_learns_its_rate_stays():
    concrete = kr.layers.ConcreteDropout(keras.layers.Dense(2), num_examples=5, name="concrete")
    model = keras.Sequential([keras.Input((3,)), concrete])
    alone = penalty(model)
    kr.regularize(model, {"*": L2(1.0)})
    assert penalty(model) == pytest.approx(alone + squares(model, "kernel"), rel=1e-5)
    clone = by_clone(model, None)
    assert penalty(clone) == pytest.approx(penalty(model), rel=1e-5)
    for cleared in (model, clone):
        kr.regularize(cleared, {})
        assert penalty(cleared) == pytest.approx(alone, rel=1e-5)
    with pytest.raises(ValueError, match=r"concrete/rate_logit.*own affair"):
        kr.regularize(model, {"*/rate_logit": L2(1.0)})


def test_in_a_running_fit_and_with_several_steps_an_execution():
    model = compiled(sequential(), steps_per_execution=2)
    scramble(model)

    class Later(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            kr.regularize(self.model, {"*/kernel": L2(1.0)} if epoch == 1 else {})

    history = model.fit(X, Y, batch_size=2, epochs=3, callbacks=[Later()], verbose=0).history
    by_hand = squares(model, "kernel")
    assert history["loss"] == pytest.approx([0, by_hand, 0], rel=1e-6)


def test_in_the_middle_of_an_epoch():
    model = compiled(sequential())
    scramble(model)

    class Later(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                kr.regularize(self.model, {"*/kernel": L2(kr.regularizers.Schedule.warmup(2.0, 2))})

    history = model.fit(X, Y, batch_size=2, callbacks=[Later()], verbose=0).history
    assert history["loss"] == pytest.approx([squares(model, "kernel")], rel=1e-6)


def test_the_penalty_pulls_the_weights_and_nothing_else():
    model, plain = sequential(), sequential()
    plain.set_weights(model.get_weights())
    compiled(model, rate=0.1).fit(X, Y, verbose=0)
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kr.regularize(model, {"first/kernel": L2(0.5)})
    model.fit(X, Y, batch_size=8, verbose=0)
    factors = [0.9, 1.0, 1.0, 1.0]
    for factor, ours, theirs in zip(factors, model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, factor * theirs, rtol=1e-5)


def test_weight_files_fit_before_and_after(tmp_path):
    model = nested()
    scramble(model)
    model.save_weights(tmp_path / "before.weights.h5")
    other = kr.regularize(nested(), {"*": L2(1.0)})
    other.load_weights(tmp_path / "before.weights.h5")
    assert penalty(other) == pytest.approx(squares(model, "kernel", "gate"), rel=1e-5)
    other.save_weights(tmp_path / "after.weights.h5")
    scramble(model, seed=2)
    model.load_weights(tmp_path / "after.weights.h5")
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_schedule_goes_on_at_its_step_after_a_file(tmp_path):
    schedule = kr.regularizers.Schedule.warmup(1.0, steps=8)
    model = compiled(nested())
    scramble(model)
    model.fit(X, Y, batch_size=2, verbose=0)
    kr.regularize(model, {"*/kernel": L2(schedule)})
    by_hand = squares(model, "kernel")
    assert model.fit(X, Y, batch_size=8, verbose=0).history["loss"] == pytest.approx([by_hand / 2], rel=1e-5)
    loaded = through_a_file(model, tmp_path)
    history = loaded.fit(X, Y, batch_size=8, epochs=2, verbose=0).history
    assert history["loss"] == pytest.approx([5 / 8 * by_hand, 6 / 8 * by_hand], rel=1e-5)


def test_a_schedule_goes_on_after_a_backup(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def model():
        model = compiled(sequential())
        scramble(model)
        return kr.regularize(model, {"*/kernel": L2(kr.regularizers.Schedule.warmup(1.0, steps=4))})

    # One each: it keeps the epoch at which it stopped.
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        model().fit(X, Y, batch_size=8, epochs=4, callbacks=[backup(), Stop()], verbose=0)
    resumed = model()
    history = resumed.fit(X, Y, batch_size=8, epochs=4, callbacks=[backup()], verbose=0).history
    by_hand = squares(resumed, "kernel")
    assert history["loss"] == pytest.approx([0.5 * by_hand, 0.75 * by_hand], rel=1e-5)


def test_frozen_weights_are_named_and_count_once_they_train(tmp_path):
    model = compiled(sequential())
    scramble(model)
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="frozen.*first/kernel"):
        kr.regularize(model, {"*": L2(1.0)})
    assert len(model.losses) == 1
    for copied in (model, through_a_file(model, tmp_path), by_clone(model, tmp_path)):
        copied.layers[0].trainable = True
        assert penalty(copied) == pytest.approx(squares(copied, "kernel"), rel=1e-6)


def test_a_penalty_that_no_rule_fits_is_lost_with_a_warning_or_in_words():
    def model():
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, kernel_regularizer="l2", bias_regularizer="l1")]
        )

    with pytest.warns(UserWarning, match="lose the penalty.*bias"):
        first = kr.regularize(model(), {"*/kernel": L2(0.5)})
    assert [type(w.regularizer) for w in penalised(first)] == [L2]
    assert [type(w.regularizer) for w in penalised(by_clone(first, None))] == [L2]
    second = kr.regularize(model(), {"*/kernel": "l2", "*": None})
    assert [type(w.regularizer) for w in penalised(second)] == [keras.regularizers.L2]
    assert not penalised(by_clone(kr.regularize(model(), {}), None))


def test_other_weights_after_loading_are_warned_of(tmp_path):
    model = kr.regularize(nested(), {"*/gate": L2(1.0)})
    clone = keras.models.clone_model(model)
    gated = clone.get_layer("block").get_layer("gated")
    config = gated.get_config()
    config["regularized"]["weights"][0] = [5]
    other = type(gated).from_config(config)
    other.build((None, 4))
    with pytest.warns(UserWarning, match="gated.*not put back"):
        other.load_own_variables({"0": array(gated.gate.value)})
    assert other.gate.regularizer is None


def test_a_frozen_batch_norm_and_an_outer_class_keep_both():
    model = nested()
    scramble(model)
    kr.freeze_batch_norm(model)
    kr.regularize(model, {"norm/gamma": L2(1.0)})
    clone = by_clone(model, None)
    assert penalty(clone) == pytest.approx(squares(clone, "gamma"), rel=1e-6)
    kr.freeze_batch_norm(clone, False)
    assert penalty(by_clone(clone, None)) == pytest.approx(squares(clone, "gamma"), rel=1e-6)


def test_a_penalty_without_a_config_is_replaced_like_any_other():
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=Untold(), name="last")
    model = keras.Sequential([keras.Input((3,)), layer])
    scramble(model)
    kr.regularize(model, {"last/kernel": L2(1.0)})
    assert penalty(model) == pytest.approx(squares(model, "kernel"), rel=1e-6)


def test_a_function_and_a_class_of_the_users(tmp_path):
    if not functions_are_taken():
        with pytest.raises(ValueError, match=r"`rules`.*objects of keras.regularizers.Regularizer"):
            kr.regularize(subclassed(), {"*/gate": cubes, "*": None})
        return
    model = kr.regularize(subclassed(), {"*/gate": cubes, "*": None})
    assert penalty(through_a_file(model, tmp_path)) == pytest.approx(2.0)


def test_the_verbs_that_rebuild_a_model_keep_its_penalties():
    model = nested()
    scramble(model)
    kr.regularize(model, {"*/gate": L2(1.0), "out/kernel": L2(0.5)})
    folded = kr.fold_batch_norm(model) if hasattr(kr, "fold_batch_norm") else model
    by_hand = squares(model, "gate") + 0.5 * (array(model.get_layer("out").kernel.value) ** 2).sum()
    assert penalty(folded) == pytest.approx(by_hand, rel=1e-5)


def integers():
    layer = keras.layers.Dense(1, name="last")
    model = keras.Sequential([keras.Input((3,)), layer])
    whole = keras.layers.Layer(name="whole")
    whole.counts = whole.add_weight(shape=(2,), dtype="int32", initializer="zeros", name="counts")
    whole.built = True
    return keras.Sequential([keras.Input((3,)), layer, whole]) if model else None


def constrained(constraint):
    layer = keras.layers.Dense(1, kernel_constraint=constraint, name="last")
    return keras.Sequential([keras.Input((3,)), layer])


UNBUILT = keras.Sequential([keras.layers.Dense(1)], name="unbuilt")


@pytest.mark.parametrize(
    ("make", "rules", "words"),
    [
        (sequential, {"*/kernal": L2(1)}, ["'*/kernal'", "first/kernel, first/bias, last/kernel, last/bias"]),
        (sequential, {"*/kernel": L2(1), "third/*": L2(1)}, ["'third/*'", "last/kernel"]),
        (sequential, {re.compile("^x"): L2(1)}, ["'^x'", "first/kernel"]),
        (sequential, {"*b[i]as": L2(1)}, ["'*b[i]as'", "first/bias", "'*/bias'"]),
        (sequential, {"*": 0.1}, ["0.1", "'*'"]),
        (sequential, {"*": "l3"}, ["'l3'", "'*'"]),
        (sequential, {"*": lambda weights: 0.0}, ["lambda", "register"]),
        (sequential, {"*": kr.regularizers.L2(1).get_config}, ["get_config"]),
        (sequential, {"*": Untold()}, ["Untold", "give it a get_config"]),
        (sequential, {3: L2(1)}, ["got 3"]),
        (sequential, {"": L2(1)}, ["got ''"]),
        (sequential, [("*", L2(1))], ["a dict", "[('*'"]),
        (sequential, "*", ["a dict", "'*'"]),
        (sequential, {"*": kr.regularizers.GroupLasso(1.0, axis=3)}, ["axis", "3"]),
        (lambda: UNBUILT, {"*": L2(1)}, ["unbuilt", "call it once"]),
        (lambda: keras.layers.Dense(1), {"*": L2(1)}, ["keras.Model"]),
        (nested, {"norm/moving_mean": L2(1)}, ["'norm/moving_mean'", "a statistic"]),
        (integers, {"*": L2(1)}, ["'whole/counts'", "int32"]),
        (
            lambda: constrained("unit_norm"),
            {"*": kr.regularizers.GaussianPrior()},
            ["UnitNorm", "'last/kernel'"],
        ),
        (lambda: constrained(kr.constraints.UnitNorm()), {"*": "l2"}, ["UnitNorm", "constant"]),
        (
            lambda: constrained(kr.constraints.SoftThreshold(0.1)),
            {"*": kr.regularizers.GaussianPrior()},
            ["GaussianPrior on 'last/kernel'", "SoftThreshold is the step of another prior"],
        ),
        (
            lambda: constrained(kr.constraints.GroupSoftThreshold(0.1)),
            {"*": kr.regularizers.ElasticNet(0.1)},
            ["ElasticNet on 'last/kernel'", "count twice"],
        ),
    ],
)
def test_nonsense_is_refused_in_a_sentence_and_nothing_is_changed(make, rules, words):
    model = make()
    before = [weight.regularizer for weight in model.weights]
    with pytest.raises(ValueError, match="must be") as caught:
        kr.regularize(model, rules)
    message = str(caught.value)
    for word in words:
        assert word in message
    assert message.count("\n") == 0
    assert [weight.regularizer for weight in model.weights] == before


def test_weights_that_are_not_finite_are_refused():
    model = sequential()
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    with pytest.raises(ValueError, match="nan from L2 on 'first/kernel'"):
        kr.regularize(model, {"*": L2(1.0)})


def test_constraints_that_agree_are_left_to_work():
    for constraint in ("non_neg", keras.constraints.MaxNorm(1.0), kr.constraints.MaxNorm(1.0)):
        assert len(kr.regularize(constrained(constraint), {"*": kr.regularizers.GaussianPrior()}).losses) == 1
    assert len(kr.regularize(constrained("unit_norm"), {"*": kr.regularizers.L1(0.1)}).losses) == 1
