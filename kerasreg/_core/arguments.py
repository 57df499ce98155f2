"""Argument checks: the one place where an error's sentence is written.

Every refusal is a `ValueError` of one sentence: which argument, of what, what is allowed, what came
and, where it helps, what to do.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any


def refusal(owner: str, argument: str, allowed: str, got: Any, remedy: str | None = None) -> ValueError:
    """The sentence, as an exception to raise.

    >>> print(refusal("Dropout", "rate", "a number in [0, 1)", 1.5))
    Argument `rate` of Dropout must be a number in [0, 1), got 1.5.
    """
    came = got if isinstance(got, Came) else repr(got)
    tail = f"; {remedy}" if remedy else ""
    return ValueError(f"Argument `{argument}` of {owner} must be {allowed}, got {came}{tail}.")


class Came(str):
    """Words for what came, used as they are where a `repr` would say less (an array's range, a shape)."""


def number(
    owner: str,
    argument: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """A finite real number of any numeric type, inside the interval, as a Python float.

    >>> number("Dropout", "rate", 0.5, 0, 1, open_high=True)
    0.5
    """
    found = _to_float(value)
    inside = (
        math.isfinite(found)
        and (low < found if open_low else low <= found)
        and (found < high if open_high else found <= high)
    )
    if not inside:
        raise refusal(owner, argument, _interval_words(low, high, open_low, open_high), value)
    return found


def integer(owner: str, argument: str, value: Any, low: int | None = None) -> int:
    """A whole number, at least `low`, as a Python int."""
    # What Python itself takes for an index: integers of every kind, and no float that looks like one.
    try:
        found = None if _is_bool(value) else operator.index(value)
    except TypeError:
        found = None
    if found is None or (low is not None and found < low):
        allowed = "a whole number" if low is None else f"a whole number of at least {low}"
        raise refusal(owner, argument, allowed, value)
    return found


def flag(owner: str, argument: str, value: Any) -> bool:
    """True or False, and nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise refusal(owner, argument, "True or False", value)
    return value


def choice(owner: str, argument: str, value: Any, choices: Iterable[str]) -> str:
    """One of the listed words."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(c) for c in choices)
        raise refusal(owner, argument, f"one of {listed}", value)
    return value


def interval(
    owner: str,
    argument: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
) -> tuple[float, float]:
    """A `(low, high)` pair in rising order inside the given bounds; a single number x means `(-x, x)`.

    >>> interval("RandomRotation", "degrees", 15)
    (-15.0, 15.0)
    """
    size = _to_float(value)
    if not math.isnan(size):
        limit = min(-low, high)
        open_limit = open_low and limit == -low
        if not (math.isfinite(size) and size >= 0 and (size < limit if open_limit else size <= limit)):
            words = _interval_words(0.0, limit, False, open_limit)
            raise refusal(owner, argument, f"a (low, high) pair or, for (-x, x), {words}", value)
        return -size, size
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise refusal(owner, argument, "a number or a (low, high) pair", value)
    bounds = [number(owner, argument, bound, low, high, open_low=open_low) for bound in value]
    if bounds[0] > bounds[1]:
        raise refusal(owner, argument, "a (low, high) pair with low <= high", value, "swap the two")
    return bounds[0], bounds[1]


def fixed_or_interval(
    owner: str, argument: str, value: Any, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """A `(low, high)` pair in rising order inside the given bounds; a single number x means `(x, x)`.

    >>> fixed_or_interval("RandomSolarize", "threshold", 0.5, 0, 1)
    (0.5, 0.5)
    """
    if not math.isnan(_to_float(value)):
        return (number(owner, argument, value, low, high),) * 2
    return interval(owner, argument, value, low, high)


def not_both(owner: str, first: str, second: str, came: str, remedy: str) -> ValueError:
    """The sentence for two arguments that say the same thing twice."""
    return ValueError(
        f"Arguments `{first}` and `{second}` of {owner} exclude each other, got {came}; {remedy}."
    )


def _to_float(value: Any) -> float:
    """A number of any kind as a float; NaN for what is none, or none that a float can hold."""
    # NumPy and backend scalars are numbers to the person who typed them.
    scalar = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    try:
        return float(value) if scalar and not _is_bool(value) else math.nan
    except (OverflowError, TypeError, ValueError):
        return math.nan


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _interval_words(low: float, high: float, open_low: bool, open_high: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"a finite number {'above' if open_low else 'of at least'} {low:g}"
    if math.isinf(low):
        return f"a finite number {'below' if open_high else 'of at most'} {high:g}"
    return f"a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
