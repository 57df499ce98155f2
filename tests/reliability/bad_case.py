"""One thing that nobody should give to the library, and what has to come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr

PACKAGE = Path(kr.__file__).parent
nan, inf = float("nan"), float("inf")

CLEAR, STATED, SILENT, WRONG = "clear error", "stated behaviour", "silent", "wrong kind"
OUTCOMES = (CLEAR, STATED, SILENT, WRONG)

# The sentences of `_core/arguments.py`, also where Keras or a graph has wrapped them in words of its own.
_OURS = re.compile(
    r"Arguments? `\w+` (of .+? must be .+, got .+|and `\w+` of .+ exclude each other, .+)\.", re.S
)


@dataclass(frozen=True)
class Refused:
    """An error of one sentence.

    Attributes:
        words: What the sentence has to name: the argument, and of what came as much as helps.
        by: Who says it: `"kerasreg"`; or `"Keras"`, `"TFDS"` or `"matplotlib"` in what
            they check for us.
    """

    words: tuple[str, ...]
    by: str = "kerasreg"

    def fault(self, error: Exception) -> str | None:
        """What is wrong with an error, None if nothing."""
        text, kind = str(error), type(error).__name__
        # In a graph of tf.data's there is no other kind of error.
        kinds = ("ValueError", "TypeError", *(["InvalidArgumentError"] if self.by == "kerasreg" else []))
        if kind not in kinds:
            return f"{kind}: {_first(text)}"
        if self.by == "kerasreg" and not (_OURS.search(text) or _raised_by_us(error)):
            return f"{kind} of somebody else: {_first(text)}"
        missing = [word for word in self.words if word not in text]
        return f"no {missing} in: {_first(text)}" if missing else None


def refused(*words: str, by: str = "kerasreg") -> Refused:
    return Refused(words, by)


@dataclass(frozen=True)
class Case:
    """What is tried.

    Attributes:
        entry: The public name, without `kerasreg.`.
        what: What is wrong with the input.
        do: Makes the call; whatever it needs is made in it or before.
        wants: An error, or a function that asserts the stated behaviour of what `do` returned.
        state: What must not change where the input is refused, as arrays or plain data.
        only: The backend that it is about; None for each.
    """

    entry: str
    what: str
    do: Callable[[], Any]
    wants: Refused | Callable[[Any], None]
    state: Callable[[], Any] | None = None
    only: str | None = None

    @property
    def runs_here(self) -> bool:
        return self.only in (None, keras.backend.backend())


def judge(case: Case) -> tuple[str, str]:
    """Which of `OUTCOMES` came of it, and in words what that was."""
    before = _copied(case.state)
    try:
        result = case.do()
    except Exception as error:
        if not isinstance(case.wants, Refused):
            return WRONG, f"{type(error).__name__}: {_first(str(error))}"
        fault = case.wants.fault(error)
        if fault is not None:
            return WRONG, fault
        if not _same(before, _copied(case.state)):
            return SILENT, "refused, but the state is another"
        return CLEAR, f"{_first(str(error))}"
    if isinstance(case.wants, Refused):
        return SILENT, f"no error, but {_first(repr(result))}"
    try:
        case.wants(result)
    except AssertionError as error:
        return SILENT, _first(str(error)) or "not what is stated"
    return STATED, "as stated"


def array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def weights_of(layer: Any) -> list[np.ndarray]:
    """Every variable of a layer, model, metric or optimizer, generators among them."""
    return [array(variable.value).copy() for variable in layer.variables]


def _raised_by_us(error: Exception) -> bool:
    """Whether the error comes out of a line of ours: some sentences are not about one argument."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not Path(trace.tb_frame.f_code.co_filename).is_relative_to(PACKAGE):
        return False
    text = str(error)
    return text.endswith(".") and "\n" not in text


def _copied(state: Callable[[], Any] | None) -> Any:
    if state is None:
        return None
    return keras.tree.map_structure(lambda leaf: np.array(leaf, copy=True), state())


def _same(before: Any, after: Any) -> bool:
    first, second = keras.tree.flatten(before), keras.tree.flatten(after)
    return len(first) == len(second) and all(map(_equal, first, second))


def _equal(a: Any, b: Any) -> bool:
    return a is b or np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")


def _first(text: str) -> str:
    """The sentence that matters of a long message, or its beginning."""
    ours = _OURS.search(text)
    text = " ".join((ours.group(0) if ours else text).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."
