"""Which steps are observed."""

from __future__ import annotations

from collections.abc import Callable

from kerasreg._core.arguments import Came, integer, refusal

Schedule = int | Callable[[int], bool]

# What a net does before its weights have moved, and right after, is worth most; and two steps are the
# fewest by which anything is judged.
FIRST_STEPS = 2


def schedule(every: Schedule) -> Schedule:
    """`every`, checked: a whole number of at least 1, or a callable."""
    if callable(every):
        return every
    allowed = "a whole number of at least 1, or a callable from a step's number to True or False"
    try:
        return integer("ActivationStats", "every", every, low=1)
    except ValueError:
        raise refusal("ActivationStats", "every", allowed, Came(repr(every))) from None


def is_due(every: Schedule, step: int) -> bool:
    """Whether a step is one of those to be observed."""
    return bool(every(step)) if callable(every) else step % every == 0
