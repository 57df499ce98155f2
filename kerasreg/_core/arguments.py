"""Argument checks: the one place where an error's sentence is written.

Every refusal is a `ValueError` of one sentence: which argument, of what, what is allowed, what came
and, where it helps, what to do.
"""

from __future__ import annotations

import math
import numbers
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
    inside = (
        _is_real(value)
        and math.isfinite(value)
        and (low < value if open_low else low <= value)
        and (value < high if open_high else value <= high)
    )
    if not inside:
        raise refusal(owner, argument, _interval_words(low, high, open_low, open_high), value)
    return float(value)


def integer(owner: str, argument: str, value: Any, low: int | None = None) -> int:
    """A whole number, at least `low`, as a Python int."""
    whole = _is_real(value) and not isinstance(value, float) and value == int(value)
    if not whole or (low is not None and value < low):
        allowed = "a whole number" if low is None else f"a whole number of at least {low}"
        raise refusal(owner, argument, allowed, value)
    return int(value)


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
    pair = value
    if _is_real(value):
        pair = (-value, value)
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise refusal(owner, argument, "a number or a (low, high) pair", value)
    bounds = [number(owner, argument, bound, low, high, open_low=open_low) for bound in pair]
    if bounds[0] > bounds[1]:
        raise refusal(owner, argument, "a (low, high) pair with low <= high", value, "swap the two")
    return bounds[0], bounds[1]


def not_both(owner: str, first: str, second: str, came: str, remedy: str) -> ValueError:
    """The sentence for two arguments that say the same thing twice."""
    return ValueError(
        f"Arguments `{first}` and `{second}` of {owner} exclude each other, got {came}; {remedy}."
    )


def _is_real(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, numbers.Real):
        return True
    # NumPy and backend scalars are numbers to the person who typed them.
    return getattr(value, "shape", None) == () and hasattr(value, "__float__")


def _interval_words(low: float, high: float, open_low: bool, open_high: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high):
        return f"a finite number {'above' if open_low else 'of at least'} {low:g}"
    if math.isinf(low):
        return f"a finite number {'below' if open_high else 'of at most'} {high:g}"
    return f"a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
