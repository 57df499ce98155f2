"""Patterns of paths: which rule is whose."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import translate
from typing import Any

from kerasreg._core.arguments import Came, refusal
from kerasreg.regularization.weights import Weight

# What is left alone by a pattern that does not name it.
OFFSETS_AND_SCALES = ("bias", "beta", "gamma", "scale")

# A list of a large model's weights would bury the sentence.
LISTED = 40


def matcher(owner: str, argument: str, pattern: Any, weights: Sequence[Weight]) -> Callable[[Weight], bool]:
    """Whether a weight's path fits a pattern.

    A string is a glob over the whole path, in which `*` passes slashes; one that fits nothing as a glob is
    tried as a regular expression over the whole path. A compiled regular expression is searched for.
    """
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return lambda weight: any(pattern.search(name) for name in weight.names)
    if not isinstance(pattern, str) or not pattern:
        allowed = "a glob such as 'conv*/kernel' or a compiled regular expression"
        raise refusal(owner, argument, allowed, pattern)
    glob = re.compile(translate(pattern))
    if not any(glob.match(name) for weight in weights for name in weight.names):
        with suppress(re.error):
            glob = re.compile(pattern)
    return lambda weight: any(glob.fullmatch(name) for name in weight.names)


def asks_for(pattern: str | re.Pattern[str], weight: Weight) -> bool:
    """Whether a pattern that fits a weight means it: biases, gammas, betas and lone numbers by name only.

    >>> import keras
    >>> bias = Weight(keras.Variable([0.0], name="bias"), "dense/bias", None, True)
    >>> [asks_for(pattern, bias) for pattern in ("*", "dense/*", "*/bias", ".*(bias|kernel)")]
    [False, False, True, True]
    """
    words = [word for word in OFFSETS_AND_SCALES if word in re.split(r"[_\d]+", weight.name)]
    if not words and len(weight.variable.shape) == 0:
        words = [weight.name]
    return not words or any(names(pattern, word) for word in words)


def names(pattern: str | re.Pattern[str], word: str) -> bool:
    """Whether a pattern has a word in it that goes on neither before nor after; a glob, in its last part."""
    # A regular expression may have several last parts, and letters that mean something else.
    text = pattern.rpartition("/")[2] if isinstance(pattern, str) else pattern.pattern
    text = re.sub(r"\\[A-Za-z]", " ", text)
    return re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z_])", text) is not None


def shown(pattern: Any) -> str:
    """A pattern as the user wrote it."""
    return repr(pattern.pattern if isinstance(pattern, re.Pattern) else pattern)


def listing(weights: Sequence[Weight]) -> str:
    """Paths in a row, the first ones of many."""
    more = f" and {len(weights) - LISTED} more" if len(weights) > LISTED else ""
    return (", ".join(weight.path for weight in weights[:LISTED]) or "none") + more


def nothing_fits(owner: str, argument: str, pattern: Any, weights: Sequence[Weight]) -> ValueError:
    """The sentence for a pattern that fits no path."""
    allowed = f"patterns that each match one of {listing(weights)}"
    return refusal(owner, argument, allowed, Came(f"{shown(pattern)}, which matches none"))
