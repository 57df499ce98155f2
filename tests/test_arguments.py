"""The argument checks: what they let through, and the one sentence that they refuse with."""

import fractions
import math

import keras
import numpy as np
import pytest

from kerasreg._core import arguments
from kerasreg._core.arguments import (
    Came,
    choice,
    fixed_or_interval,
    flag,
    integer,
    interval,
    not_both,
    number,
    refusal,
)


def sentence(check, *args, **kwargs):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (each test looks at the whole message)
        check("Layer", "rate", *args, **kwargs)
    text = str(caught.value)
    assert text.startswith("Argument `rate` of Layer must be ")
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_a_refusal_says_what_of_what_is_allowed_and_what_came():
    assert str(refusal("Layer", "rate", "small", 7)) == "Argument `rate` of Layer must be small, got 7."
    text = str(refusal("Layer", "rate", "small", "7", "make it small"))
    assert text == "Argument `rate` of Layer must be small, got '7'; make it small."
    assert str(refusal("Layer", "x", "flat", Came("shape (2, 3)"))).endswith("got shape (2, 3).")


def test_a_pair_that_says_the_same_twice_is_told_in_one_sentence():
    text = str(not_both("Layer", "rate", "decay", "rate=1 and decay=2", "give one"))
    assert (
        text == "Arguments `rate` and `decay` of Layer exclude each other, got rate=1 and decay=2; give one."
    )


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), fractions.Fraction(1, 2), np.float16(0.5)],
)
def test_a_number_of_any_kind_becomes_a_float(value):
    found = number("Layer", "rate", value, 0, 1)
    assert type(found) is float
    assert found == 0.5


def test_a_tensor_of_one_number_is_a_number():
    assert number("Layer", "rate", keras.ops.convert_to_tensor(0.5)) == 0.5


@pytest.mark.parametrize(
    "value", ["0.5", None, True, [0.5], 0.5j, np.array([0.5]), math.nan, math.inf, -math.inf]
)
def test_what_is_no_finite_number_is_refused_with_its_value(value):
    text = sentence(number, value)
    assert text == f"Argument `rate` of Layer must be a finite number, got {value!r}."


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ((0, 1, False, False), (0, 0.5, 1), (-0.1, 1.1), "a number in [0, 1]"),
        ((0, 1, False, True), (0, 0.9), (1, -0.1), "a number in [0, 1)"),
        ((0, 1, True, False), (0.1, 1), (0, 1.1), "a number in (0, 1]"),
        ((0, 1, True, True), (0.1, 0.9), (0, 1), "a number in (0, 1)"),
        ((2, math.inf, False, False), (2, 9e9), (1.9, -3), "a finite number of at least 2"),
        ((2, math.inf, True, False), (2.1,), (2, -3), "a finite number above 2"),
        ((-math.inf, 2, False, False), (2, -9e9), (2.1,), "a finite number of at most 2"),
        ((-math.inf, 2, False, True), (1.9,), (2, 3), "a finite number below 2"),
    ],
)
def test_the_interval_holds_with_its_ends_and_is_told(bounds, inside, outside, words):
    low, high, open_low, open_high = bounds
    for value in inside:
        assert number("Layer", "rate", value, low, high, open_low=open_low, open_high=open_high) == value
    for value in outside:
        text = sentence(number, value, low, high, open_low=open_low, open_high=open_high)
        assert text == f"Argument `rate` of Layer must be {words}, got {value!r}."


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_a_whole_number_of_any_kind_becomes_an_int(value):
    found = integer("Layer", "rate", value, low=3)
    assert type(found) is int
    assert found == 3


@pytest.mark.parametrize("value", [3.0, 2.5, "3", None, True, [3], math.nan, fractions.Fraction(5, 2)])
def test_what_is_no_whole_number_is_refused(value):
    assert sentence(integer, value).endswith(f"must be a whole number, got {value!r}.")


def test_a_whole_number_too_low_is_refused():
    assert sentence(integer, 2, low=3).endswith("must be a whole number of at least 3, got 2.")


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_a_bool(value):
    assert flag("Layer", "rate", value) is value


@pytest.mark.parametrize("value", [1, 0, "True", None, []])
def test_what_looks_like_a_flag_is_refused(value):
    assert sentence(flag, value).endswith(f"must be True or False, got {value!r}.")


def test_a_choice_is_one_of_the_words():
    assert choice("Layer", "rate", "b", ("a", "b")) == "b"


@pytest.mark.parametrize("value", ["c", "", "A", None, 1, ["a"]])
def test_another_word_is_refused_with_the_list(value):
    assert sentence(choice, value, iter(("a", "b"))).endswith(f"must be one of 'a', 'b', got {value!r}.")


def test_an_interval_is_a_pair_or_a_number_for_both_sides():
    assert interval("Layer", "rate", (1, 2)) == (1.0, 2.0)
    assert interval("Layer", "rate", [np.float32(-1), 2]) == (-1.0, 2.0)
    assert interval("Layer", "rate", 0.5) == (-0.5, 0.5)
    assert interval("Layer", "rate", (2, 2)) == (2.0, 2.0)


def test_a_number_in_the_place_of_a_pair_can_mean_always_this():
    assert fixed_or_interval("Layer", "rate", (1, 2), 0, 3) == (1.0, 2.0)
    assert fixed_or_interval("Layer", "rate", np.float32(0.5), 0, 1) == (0.5, 0.5)
    assert sentence(fixed_or_interval, -0.5, 0, 1).endswith("must be a number in [0, 1], got -0.5.")
    assert sentence(fixed_or_interval, (0.5, 2), 0, 1).endswith("must be a number in [0, 1], got 2.")
    assert sentence(fixed_or_interval, "x").endswith("a number or a (low, high) pair, got 'x'.")


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), "12", None, {1, 2}])
def test_what_is_no_pair_is_refused(value):
    text = sentence(interval, value)
    assert text == f"Argument `rate` of Layer must be a number or a (low, high) pair, got {value!r}."


def test_a_pair_in_falling_order_is_refused():
    assert sentence(interval, (2, 1)).endswith("with low <= high, got (2, 1); swap the two.")


def test_a_pair_past_the_bounds_is_refused_with_the_bound():
    assert sentence(interval, (-2, 1), -1, 1).endswith("must be a number in [-1, 1], got -2.")
    assert sentence(interval, (0, math.nan)).endswith("got nan.")
    assert sentence(interval, (-1, 1), -1, open_low=True).endswith("a finite number above -1, got -1.")


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (-0.5, (), "a finite number of at least 0"),
        (math.inf, (), "a finite number of at least 0"),
        (2, (-1, 1), "a number in [0, 1]"),
        (3, (-5, 2), "a number in [0, 2]"),
    ],
)
def test_one_number_for_both_sides_is_refused_as_it_came(value, bounds, words):
    text = sentence(interval, value, *bounds)
    assert text.endswith(f"must be a (low, high) pair or, for (-x, x), {words}, got {value!r}.")


def test_one_number_for_an_open_side():
    assert sentence(interval, 1, -1, open_low=True).endswith("for (-x, x), a number in [0, 1), got 1.")


@pytest.mark.parametrize("value", [np.bool_(True), 10**400, np.array("x"), np.float32("nan")])
def test_what_python_itself_would_stumble_over_is_refused_too(value):
    assert sentence(number, value).endswith(f"got {value!r}.")
    if not isinstance(value, int):
        assert sentence(integer, value).endswith(f"got {value!r}.")


def test_every_check_is_tried_here():
    checks = {name for name, thing in vars(arguments).items() if callable(thing) and not name.startswith("_")}
    mine = {name for name in checks if getattr(vars(arguments)[name], "__module__", "") == arguments.__name__}
    assert mine <= set(globals())
