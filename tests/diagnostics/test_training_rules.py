"""The rules of a training, on rows made by hand: what raises an alarm, what does not, what ends it."""

import math

import numpy as np
import pytest

from kerasreg.diagnostics.activation_rules import judge_activations
from kerasreg.diagnostics.figures import InputFigures, KernelFigures
from kerasreg.diagnostics.finding import Finding
from kerasreg.diagnostics.training import norms
from kerasreg.diagnostics.training.alarms import Alarms, reason_to_stop
from kerasreg.diagnostics.training.facts import LayerFacts, Training

STEPS = range(0, 100, 10)
RELU = LayerFacts("Dense", "relu", weighted=True, rectifier=True, units=64)
TANH = LayerFacts("Dense", "tanh", weighted=True, bounded=True, units=64)
OUT = LayerFacts("Dense", "linear", weighted=True, output=True, units=10)
GOOD = {"mean": 0.4, "std": 0.8, "rms": 0.9, "min": 0.0, "max": 3.0, "zeros": 0.5, "nonfinite": 0}


def rows(layers, steps=STEPS):
    """Each layer's figures at every step; a callable figure is a function of the step."""
    return [
        {
            "step": step,
            "layer": layer,
            **{k: v(step) if callable(v) else v for k, v in {**GOOD, **figures}.items()},
        }
        for step in steps
        for layer, figures in layers.items()
    ]


def stack(**changes):
    """Three hidden layers and an output, some of them changed."""
    return {layer: changes.get(layer, {}) for layer in ("h0", "h1", "h2", "out")}


def all_layers(**figures):
    return dict.fromkeys(("h0", "h1", "h2", "out"), figures)


def facts(**more):
    layers = {"h0": RELU, "h1": RELU, "h2": RELU, "out": OUT}
    return Training(**{"layers": layers, "rate": 0.1, "largest_rate": 0.1, **more})


def judge(changes, training=None, standing=(), steps=STEPS):
    return judge_activations(rows(stack(**changes), steps), training or facts(), standing)


def codes(found):
    return [(finding.code, finding.layer, finding.severity) for finding in found]


def test_a_healthy_training_is_left_in_peace():
    healthy = {"dead": 0.05, "gradient_norm": 0.3, "weight_norm": 5.0, "update_ratio": 2e-3}
    changes = all_layers(**healthy)
    assert judge(changes, facts(logs={"loss": 0.5, "val_loss": 0.6})) == []
    assert judge_activations(rows(stack(**changes))) == []


def test_half_of_the_values_at_zero_is_no_dead_unit_and_three_quarters_of_the_units_is():
    assert judge({"h1": {"zeros": 0.9, "dead": 0.2}}) == []
    (found,) = judge({"h1": {"zeros": 0.9, "dead": 0.75}})
    assert codes([found]) == [("dead-units", "h1", "warning")]
    assert "48 of its 64 units" in found.message
    assert found.step == 0


def test_all_units_dead_is_an_error_that_is_said_once_for_all_behind_it():
    silent = {"dead": 1.0, "zeros": 1.0, "rms": 0.0, "std": 0.0}
    found = judge({"h1": silent, "h2": {**silent, "dead": 1.0}})
    assert codes(found) == [("dead-units", "h1", "error")]
    assert "all of its 64 units" in found[0].message


def test_a_narrow_layer_may_lose_more_by_chance():
    narrow = LayerFacts("Dense", "relu", weighted=True, rectifier=True, units=4)
    training = facts(layers={"h0": RELU, "h1": narrow, "h2": RELU, "out": OUT})
    assert judge({"h1": {"dead": 0.75}}, training) == []
    assert codes(judge({"h1": {"dead": 1.0, "zeros": 1.0}}, training)) == [("dead-units", "h1", "error")]


def test_units_of_layers_that_are_no_rectifier_do_not_die():
    flatten = LayerFacts("Flatten")
    training = facts(layers={"h0": RELU, "h1": flatten, "h2": RELU, "out": OUT})
    assert judge({"h1": {"dead": 0.9, "zeros": 0.99}}, training) == []


def test_dying_is_growth_since_the_first_window():
    training = facts(first_dead={"h1": 0.1}, first_window=5)
    found = judge({"h1": {"dead": 0.45}}, training)
    assert codes(found) == [("dying-units", "h1", "warning")]
    assert "45%" in found[0].message
    assert "10%" in found[0].message
    assert "0.1 to 0.03" in found[0].remedy
    assert judge({"h1": {"dead": 0.2}}, training) == []
    assert judge({"h1": {"dead": 0.28}}, training) == []
    # Fewer steps leave more units silent by chance.
    assert judge({"h1": {"dead": 0.45}}, facts(first_dead={"h1": 0.1}, first_window=50)) == []


def test_saturation_at_the_start_is_the_initializers_and_later_the_learning_rates():
    layers = {"h0": TANH, "h1": TANH, "h2": RELU, "out": OUT}
    (found,) = judge({"h1": {"saturated": 0.8}}, facts(layers=layers, first={"h1": {"saturated": 0.8}}))
    assert codes([found]) == [("saturated-units", "h1", "warning")]
    assert "Calibrated" in found.remedy
    (found,) = judge({"h1": {"saturated": 0.8}}, facts(layers=layers, first={"h1": {"saturated": 0.02}}))
    assert "learning rate from 0.1 to 0.01" in found.remedy
    assert "2%" in found.message
    assert judge({"out": {"saturated": 0.9}}, facts(layers=layers)) == []


@pytest.mark.parametrize("standing", [False, True])
def test_an_alarm_needs_the_second_half_of_the_window_and_goes_when_clearly_better(standing):
    layers = {"h0": TANH, "h1": TANH, "h2": RELU, "out": OUT}
    known = {("h1", "saturated-units")} if standing else ()

    def found(saturated):
        return bool(judge({"h1": {"saturated": saturated}}, facts(layers=layers), known))

    assert found(lambda step: 0.9 if step >= 50 else 0.0)
    assert found(lambda step: 0.9 if step != 70 else 0.45) == standing
    assert found(0.45) == standing
    assert not found(0.3)


def test_two_steps_are_not_enough_but_a_value_that_is_not_finite_is():
    assert judge({"h1": {"dead": 1.0, "zeros": 1.0}}, steps=(0, 10)) == []
    assert codes(judge({"h1": {"nonfinite": 3}, "h2": {"nonfinite": 1}}, steps=(0,))) == [
        ("non-finite", "h1", "error")
    ]


def test_a_signal_is_lost_where_it_is_lost_and_only_said_there():
    tiny = {"std": 1e-6, "range": 1e-6, "rms": 0.3}
    found = judge({"h1": tiny, "h2": tiny})
    assert codes(found) == [("vanishing-signal", "h1", "error")]
    assert "Calibrated" in found[0].remedy
    # What comes back has not been lost, and an output may be small.
    assert judge({"h1": tiny}) == []
    assert judge({"out": tiny}) == []


def test_each_layers_share_counts_not_the_size_itself():
    small = all_layers(std=1e-6, rms=1e-6)
    assert judge(small) == []
    large = all_layers(std=1e6, rms=1e6)
    assert judge(large) == []


def test_a_batch_of_one_row_has_no_signal_to_lose():
    assert judge(all_layers(range=0.0)) == []
    tiny = {"range": 0.0, "std": 1e-6}
    assert codes(judge({**all_layers(range=0.0), "h1": tiny, "h2": tiny})) == [
        ("vanishing-signal", "h1", "error")
    ]


def test_a_signal_that_explodes_from_the_start_is_the_weights_and_later_the_updates():
    first = {"h0": {"rms": 0.9}, "h1": {"rms": 1e6}}
    (found,) = judge({"h1": {"rms": 1e6}, "h2": {"rms": 1e7}}, facts(first=first))
    assert codes([found]) == [("exploding-signal", "h1", "error")]
    assert "Calibrated" in found.remedy
    first = {"h0": {"rms": 0.9}, "h1": {"rms": 0.9}}
    (found,) = judge({"h1": {"rms": 1e6}, "h2": {"rms": 1e7}}, facts(first=first))
    assert "0.1 to 0.001" in found.remedy
    # A norm right behind it takes it back.
    assert judge({"h1": {"rms": 1e6}}) == []


def gradients(*norms, weight=5.0):
    layers = ("h0", "h1", "h2", "out")
    return {
        layer: {"gradient_norm": g, "weight_norm": weight} for layer, g in zip(layers, norms, strict=True)
    }


def test_a_gradient_that_shrinks_layer_by_layer_starves_the_first():
    layers = {"h0": TANH, "h1": TANH, "h2": TANH, "out": OUT}
    (found,) = judge(gradients(1e-5, 1e-4, 1e-2, 1.0), facts(layers=layers))
    assert codes([found]) == [("vanishing-gradient", "h0", "warning")]
    assert "'out'" in found.message
    assert "activation='tanh'" in found.remedy
    # One layer in the middle with little to learn starves nobody, nor do gradients that are all small.
    assert judge(gradients(0.5, 1e-5, 1.0, 1.0)) == []
    assert judge(gradients(1e-6, 1e-6, 1e-6, 1e-6)) == []


def test_a_gradient_far_above_its_weights_explodes():
    (found,) = judge(gradients(1e3, 2e5, 1e3, 1e3, weight=2.0))
    assert codes([found]) == [("exploding-gradient", "h1", "warning")]
    assert "clipnorm" in found.remedy


def updates(ratio, gradient=0.5):
    figures = {"update_ratio": ratio, "gradient_norm": gradient, "weight_norm": 5.0}
    return all_layers(**figures)


def test_the_learning_rate_to_try_is_computed_from_the_present_one():
    (found,) = judge(updates(0.2))
    assert found.code == "updates-too-large"
    assert "from 0.1: try 0.0005" in found.remedy
    (found,) = judge(updates(2e-7), facts(rate=1e-6, largest_rate=1e-6))
    assert found.code == "updates-too-small"
    assert "from 1e-06: try 0.005" in found.remedy
    (found,) = judge(updates(0.2), facts(rate=None))
    assert "Divide the learning rate by 200" in found.remedy


def test_weights_that_grew_with_updates_too_large_hide_them_no_more():
    first = {layer: {"update_ratio": 0.5, "weight_norm": 5.0} for layer in stack()}
    grown = all_layers(update_ratio=0.01, gradient_norm=0.5, weight_norm=15.0)
    (found,) = judge(grown, facts(first=first))
    assert codes([found]) == [("updates-too-large", "h0", "warning")]
    assert "3.0 times" in found.message
    assert "from 0.1: try 0.001" in found.remedy
    settled = all_layers(update_ratio=0.01, gradient_norm=0.5, weight_norm=7.0)
    assert judge(settled, facts(first=first)) == []


def test_an_alarm_says_since_when():
    layers = {"h0": TANH, "h1": TANH, "h2": RELU, "out": OUT}
    (found,) = judge({"h1": {"saturated": lambda step: 0.9 if step >= 30 else 0.0}}, facts(layers=layers))
    assert found.step == 30
    assert "in all 7 steps observed since step 30" in found.message


def test_small_updates_are_no_fault_where_the_loss_falls_the_schedule_ends_or_the_gradient_is_gone():
    small = {"rate": 1e-6, "largest_rate": 1e-6}
    learning = {"losses": {0: 2.3}, "logs": {"loss": 1.0}}
    assert judge(updates(2e-7), facts(**small, **learning)) == []
    later = {"first_loss": 2.3, "losses": {0: 2.3}, "logs": {"loss": 2.2}}
    assert judge(updates(2e-7), facts(**small, **later)) == []
    # A batch may be a little harder than the others without anything being learned.
    assert judge(updates(2e-7), facts(**small, losses={0: 2.3}, logs={"loss": 2.2}))
    assert judge(updates(2e-7), facts(rate=1e-6, largest_rate=1e-2)) == []
    assert judge(updates(2e-7, gradient=1e-6), facts(**small)) == []
    assert codes(judge(updates(2e-7), facts(**small, losses={0: 2.3}, logs={"loss": 2.3})))


def test_one_layer_that_starts_from_little_is_no_learning_rate():
    changes = {**updates(1e-3), "h2": {"update_ratio": 0.5, "gradient_norm": 0.5, "weight_norm": 0.01}}
    assert judge(changes) == []


NORM = LayerFacts("BatchNormalization", momentum=0.99)


def drift(value, logs, **changes):
    norm = LayerFacts(**{**vars(NORM), **changes})
    training = facts(layers={"h0": RELU, "h1": norm, "h2": RELU, "out": OUT}, logs=logs)
    return judge({"h1": {"batch_norm_drift": value}}, training)


def test_drift_explains_a_gap_and_is_no_fault_without_one():
    (found,) = drift(3.0, {"loss": 0.2, "val_loss": 4.0})
    assert codes([found]) == [("batch-norm-drift", "h1", "warning")]
    assert "4 beside 0.2" in found.message
    assert "kr.reestimate" in found.remedy
    assert drift(3.0, {"loss": 0.2, "val_loss": 0.25}) == []
    assert drift(0.3, {"loss": 0.2, "val_loss": 4.0}) == []
    assert codes(drift(3.0, {"loss": 0.2})) == [("batch-norm-drift", "h1", "warning")]


def test_a_young_average_is_a_note_and_a_frozen_one_a_warning():
    logs = {"loss": 0.2, "val_loss": 4.0}
    (young,) = drift(3.0, logs, fresh=True)
    assert young.severity == "note"
    assert "about 300" in young.message
    (frozen,) = drift(3.0, logs, fresh=True, momentum=1.0)
    assert frozen.severity == "warning"
    assert "never move" in frozen.message
    assert "momentum=0.96" in frozen.remedy


BAD = {"nonfinite": 5, "rms": math.nan, "std": math.nan, "mean": math.nan}


def bad_from(step):
    return {k: (lambda s, v=v, k=k: v if s >= step else GOOD[k]) for k, v in BAD.items()}


def test_non_finite_numbers_are_the_datas_the_layers_or_the_losses():
    everywhere = all_layers(**BAD)
    (found,) = judge(everywhere, facts(bad_inputs={0: {"x": 7}}))
    assert codes([found]) == [("non-finite", "x", "error")]
    assert "7 numbers" in found.message
    (found,) = judge({"h1": bad_from(40), "h2": bad_from(40), "out": bad_from(40)})
    assert codes([found]) == [("non-finite", "h1", "error")]
    assert found.step == 40
    assert "arose in this layer" in found.message
    (found,) = judge({}, facts(losses={**dict.fromkeys(STEPS, 1.0), 70: math.inf}))
    assert codes([found]) == [("non-finite", "loss", "error")]
    assert found.step == 70
    assert "infinite at step 70" in found.message


def test_weights_that_broke_between_two_steps_are_told_from_a_layer_that_divides_by_zero():
    bad = all_layers(**bad_from(40))
    (found,) = judge(bad, facts(bad_weights=frozenset({"h0"})))
    assert codes([found]) == [("non-finite", "h0", "error")]
    assert "its own weights" in found.message
    assert "every=1" in found.remedy


def test_a_training_that_diverged_before_it_broke_gets_a_learning_rate():
    growing = {**bad_from(40), "rms": lambda step: math.inf if step >= 40 else 10.0**step}
    training = facts(first={"h2": {"rms": 1.0}}, bad_weights=frozenset({"h0"}))
    found = judge({**dict.fromkeys(("h0", "h1", "out"), bad_from(40)), "h2": growing}, training)
    assert codes(found) == [("non-finite", "h0", "error")]
    assert "diverged" in found[0].message
    assert "0.1 to 0.001" in found[0].remedy


def test_infinity_that_goes_no_further_is_a_warning():
    (found,) = judge({"h1": {"nonfinite": 4, "rms": math.inf}})
    assert codes([found]) == [("non-finite", "h1", "warning")]


def kernel(layer, **changes):
    """A kernel as a healthy initializer leaves it."""
    rng = np.random.default_rng(sum(map(ord, layer)))
    usual = {
        "layer": layer,
        "type": "Dense",
        "kernel": "kernel",
        "kind": "dense",
        "shape": (64, 64),
        "mean": 0.0,
        "std": 0.1,
        "largest": 0.3,
        "constant": False,
        "distinct_units": 64,
        "input_rms": 1.0,
        "input_variation": 1.0,
        "predicted_rms": 1.0,
        "output_rms": 1.0,
        "output_variation": 1.0,
        "output": layer == "out",
        "remedy": "kr.initializers.Calibrated('relu')",
        "signature": rng.normal(size=128),
    }
    return KernelFigures(**{**usual, **changes})


def started(stuck=(), first=None, **kernels):
    layers = ("h0", "h1", "h2", "out")
    every = tuple(kernel(layer, **kernels.get(layer, {})) for layer in layers)
    first = {layer: {**GOOD, **(first or {}).get(layer, {})} for layer in layers}
    return facts(kernels=every, stuck=frozenset(stuck), first=first)


def test_kernels_that_are_healthy_are_left_in_peace():
    assert judge({}, started()) == []


def test_equal_units_are_an_error_only_as_long_as_they_stay_equal():
    equal = {"distinct_units": 1, "constant": True}
    (found,) = judge({}, started(h1=equal, stuck={"h1"}))
    assert codes([found]) == [("symmetric-units", "h1", "error")]
    assert "all 64 units" in found.message
    assert "training does not change that" in found.message
    assert "Calibrated" in found.remedy
    (found,) = judge({}, started(h1=equal))
    assert codes([found]) == [("symmetric-units", "h1", "warning")]


def test_zeros_are_named_once_for_the_dead_layers_behind_them():
    silent = {"rms": 0.0, "std": 0.0, "zeros": 1.0, "dead": 1.0}
    gone = {"h1": silent, "h2": silent}
    training = started(h1={"largest": 0.0, "distinct_units": 1}, stuck={"h1"}, first=gone)
    found = judge(gone, training)
    assert codes(found) == [("zero-kernel", "h1", "error")]
    # Where the signal goes on beside it, zeros are how a residual branch begins.
    training = started(h1={"largest": 0.0, "distinct_units": 1}, first={"h1": {"rms": 0.0, "std": 0.0}})
    assert codes(judge({}, training)) == [("zero-kernel", "h1", "warning")]
    training = started(h1={"largest": 0.0, "distinct_units": 1, "branch_end": True})
    assert judge({}, training) == []


def test_raw_data_are_told_and_a_layer_that_normalises_them_is_seen():
    raw = InputFigures("x", 130.0, 0.0, 1.0, 1.0)
    (found,) = judge({}, facts(inputs=(raw,), first_inputs=(raw,)))
    assert codes([found]) == [("unnormalized-input", "x", "warning")]
    assert judge({}, facts(inputs=(raw,), first_inputs=(InputFigures("h0", 1.0, 0.0, 1.0, 1.0),))) == []


def test_every_finding_has_numbers_a_step_and_an_edit():
    bad = {"h1": {"dead": 0.9, "update_ratio": 0.5}, "h2": {"gradient_norm": 1e5, "weight_norm": 1.0}}
    found = judge(bad, started(h0={"distinct_units": 1}, stuck={"h0"}))
    assert len(found) >= 3
    for finding in found:
        assert any(character.isdigit() for character in finding.message)
        assert finding.message.endswith(".")
        assert finding.remedy.endswith(".")
        assert finding.step is not None


def alarm(severity="warning", layer="h"):
    return Finding(layer, "dead-units", severity, "Half is dead.", "Lower the rate.", 3)


def test_a_finding_is_said_once_and_again_only_when_it_gets_worse():
    alarms = Alarms()
    assert alarms.update([alarm()], 10) == [alarm()]
    assert alarms.update([alarm()], 20) == []
    assert alarms.update([], 30) == []
    assert alarms.all[0].cleared == 30
    assert alarms.standing == frozenset()
    assert alarms.update([alarm()], 40) == []
    assert alarms.all[0].cleared is None
    assert alarms.update([], 50, whole=False) == []
    assert alarms.standing == {("h", "dead-units")}
    assert alarms.update([alarm("error")], 60) == [alarm("error")]
    assert [f.severity for f in alarms.all] == ["error"]


def test_what_is_wrong_with_the_whole_net_is_said_once_wherever_it_is_worst():
    def large(layer):
        return Finding(layer, "updates-too-large", "warning", "Large.", "Lower the rate.", 3)

    alarms = Alarms()
    assert alarms.update([large("a")], 10) == [large("a")]
    assert alarms.update([large("b")], 20) == []
    assert [finding.layer for finding in alarms.all] == ["a"]


def test_training_is_stopped_by_what_is_bad_enough():
    found = [alarm("note", "a"), alarm("warning", "b"), alarm("error", "c")]
    assert reason_to_stop(found, None) is None
    assert reason_to_stop(found, "warning").layer == "b"
    assert reason_to_stop(found, "error").layer == "c"
    assert reason_to_stop(found[:1], "warning") is None


@pytest.mark.parametrize("momentum", [0.9, 0.95, 0.99, 0.999])
def test_a_momentum_to_lower_to_is_lower(momentum):
    needed = norms.TIME_CONSTANTS / (1.0 - momentum)
    assert all(float(norms._quicker(steps)) < momentum for steps in range(7, int(needed)))
