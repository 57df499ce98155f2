"""A strength that changes while the model trains."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, integer, number, refusal
from kerasreg._core.registry import from_file, register
from kerasreg._core.training_context import Follower, install

REMEDY = "register it with @keras.saving.register_keras_serializable()"


@register
class Schedule(Follower):
    """A strength as a function of the optimizer's step: `regularizers.L2(strength=Schedule(function))`.

    The step is the optimizer's `iterations`, so it is saved with a compiled model and training resumes where
    it stopped. It is read anew in every step of `fit`, `train_on_batch` and `evaluate`, on every backend. In
    a loop of your own it is that of `model.optimizer`; on JAX call `model.make_train_function()` before the
    state is taken out of the model, and let `model.compute_loss_and_updates` have the optimizer's variables.

    Args:
        function: Maps the step, a float32 scalar tensor, to the strength: any callable, or a
            `keras.optimizers.schedules.LearningRateSchedule`. Values below 0 count as 0. To be saved, it has
            to be known to Keras' serialization.

    Raises:
        ValueError: If `function` is no callable, or its value at step 0 is no finite number of at least 0;
            when it is saved, if `function` is not registered.

    Example:
        >>> import kerasreg as kr
        >>> warmup = kr.regularizers.Schedule.warmup(0.1, steps=100)
        >>> [round(float(warmup(step)), 3) for step in (0, 50, 100, 900)]
        [0.0, 0.05, 0.1, 0.1]
    """

    def __init__(self, function: Callable[[Any], Any]):
        if not callable(function) or isinstance(function, type):
            raise refusal("Schedule", "function", "a callable of the step", function)
        self.function = function
        number("Schedule", "function(0)", _number_at_start(function), low=0)
        install()

    @classmethod
    def warmup(cls, strength: float, steps: int, start: float = 0.0) -> Schedule:
        """From `start` in a straight line to `strength` at step `steps`, and on with it."""
        strength = number("Schedule.warmup", "strength", strength, low=0)
        steps = integer("Schedule.warmup", "steps", steps, low=1)
        start = number("Schedule.warmup", "start", start, low=0)
        return cls(keras.optimizers.schedules.PolynomialDecay(start, steps, strength, power=1.0))

    @classmethod
    def cosine(cls, strength: float, steps: int, end: float = 0.0) -> Schedule:
        """From `strength` in half a cosine to `end` at step `steps`, and on with it."""
        strength = number("Schedule.cosine", "strength", strength, low=0, open_low=True)
        steps = integer("Schedule.cosine", "steps", steps, low=1)
        end = number("Schedule.cosine", "end", end, low=0)
        return cls(keras.optimizers.schedules.CosineDecay(strength, steps, alpha=end / strength))

    @classmethod
    def piecewise(cls, boundaries: Sequence[int], strengths: Sequence[float]) -> Schedule:
        """`strengths[i]` up to and with step `boundaries[i]`, the last one from there on."""
        owner = "Schedule.piecewise"
        for name, value in (("boundaries", boundaries), ("strengths", strengths)):
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise refusal(owner, name, "a list of numbers", value)
        boundaries = [integer(owner, "boundaries", boundary, low=0) for boundary in boundaries]
        strengths = [number(owner, "strengths", strength, low=0) for strength in strengths]
        if boundaries != sorted(set(boundaries)) or not boundaries:
            raise refusal(owner, "boundaries", "rising steps", boundaries)
        if len(strengths) != len(boundaries) + 1:
            allowed = f"{len(boundaries) + 1} numbers, one more than boundaries"
            raise refusal(owner, "strengths", allowed, Came(f"{len(strengths)}"))
        return cls(keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, strengths))

    def __call__(self, step: Any = None) -> Any:
        """The strength at a step, in float32; without a step, at the one being made."""
        if len(getattr(step, "shape", ())):
            remedy = "a Schedule is the strength of a regularizer, as in L2(Schedule(function))"
            raise refusal("Schedule", "step", "a scalar", Came(f"shape {tuple(step.shape)}"), remedy)
        # As a float: TensorFlow does not mix the two kinds of number in what the user wrote.
        step = ops.cast(self.current_step() if step is None else step, "float32")
        return ops.maximum(ops.cast(self.function(step), "float32"), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {"function": _serialized(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        """The schedule that `get_config` described."""
        function = from_file(config["function"])
        if function is None:
            allowed = "a schedule of Keras', an operation or a registered function in a file"
            raise refusal("Schedule", "function", allowed, config["function"], REMEDY)
        return cls(function)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"Schedule({name})"


def _number_at_start(function: Callable[[Any], Any]) -> Any:
    """What the function gives for step 0, as NumPy has it; as it is where it is no number."""
    first = function(ops.convert_to_tensor(0.0))
    try:
        return ops.convert_to_numpy(ops.convert_to_tensor(first))
    except (TypeError, ValueError):
        return first


def checked_strength(owner: str, value: Any) -> float | Schedule:
    """A strength as a Python float, or the schedule that stands in its place."""
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        value = Schedule(value)
    if isinstance(value, Schedule):
        return value
    if isinstance(value, keras.Variable):
        allowed = "a finite number of at least 0 or a Schedule"
        remedy = "a Schedule changes with the step on every backend, a variable does not"
        raise refusal(owner, "strength", allowed, Came("a keras.Variable"), remedy)
    return number(owner, "strength", value, low=0)


def strength_config(strength: float | Schedule) -> Any:
    """A strength as its owner's configuration holds it."""
    return keras.saving.serialize_keras_object(strength) if isinstance(strength, Schedule) else strength


def strength_from_config(config: dict[str, Any]) -> dict[str, Any]:
    """An owner's configuration with its schedule, if it has one, made into one again."""
    if isinstance(config.get("strength"), dict):
        return {**config, "strength": keras.saving.deserialize_keras_object(config["strength"])}
    return config


def _serialized(function: Callable[[Any], Any]) -> Any:
    known = function if isinstance(function, types.FunctionType) else type(function)
    inside = known.__module__.partition(".")[0] == "keras"
    if (
        not inside
        and keras.saving.get_registered_object(keras.saving.get_registered_name(known)) is not known
    ):
        raise refusal("Schedule", "function", "known to Keras' serialization to be saved", function, REMEDY)
    return keras.saving.serialize_keras_object(function)
