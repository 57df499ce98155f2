"""Every case of the catalogue: an error that says what is wrong and changes nothing, or what is stated."""

import inspect
import warnings

import pytest
from bad_case import CLEAR, SILENT, STATED, WRONG, Case, Refused, judge, refused
from bad_inputs import EXEMPT, NAMESPACES, cases, public_entries

import kerasreg as kr
from kerasreg._core.arguments import refusal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.entry}: {case.what}" for case in CASES])
@pytest.mark.filterwarnings("ignore")
def test_bad_input_does_what_is_stated(case):
    outcome, words = judge(case)
    assert outcome == (CLEAR if isinstance(case.wants, Refused) else STATED), words


def test_the_catalogue_looks_into_every_namespace():
    assert {name for name in kr.__all__ if inspect.ismodule(getattr(kr, name))} == set(NAMESPACES)


def test_every_public_entry_is_in_the_catalogue_or_said_why_not():
    entries, tried = public_entries(), {case.entry for case in CASES}
    assert entries - tried - set(EXEMPT) == set()
    assert set(EXEMPT) <= entries
    assert not set(EXEMPT) & tried
    assert tried <= entries, "a case of no public entry"


def test_no_two_cases_have_one_name():
    names = [(case.entry, case.what) for case in CASES]
    assert len(set(names)) == len(names)


def _fails(error):
    def do():
        raise error

    return do


@pytest.mark.parametrize(
    ("do", "wants", "outcome"),
    [
        (lambda: 1.0, refused("`x`"), SILENT),
        (_fails(refusal("Layer", "x", "small", 7)), refused("`x`", "7"), CLEAR),
        (_fails(refusal("Layer", "x", "small", 7)), refused("`x`", "8"), WRONG),
        (_fails(ValueError("no")), refused(), WRONG),
        (_fails(ValueError("no")), refused("no", by="Keras"), CLEAR),
        (_fails(IndexError("no")), refused("no", by="Keras"), WRONG),
        (_fails(ValueError("no")), lambda found: None, WRONG),
        (lambda: 1.0, lambda found: None, STATED),
    ],
)
def test_the_judge_tells_them_apart(do, wants, outcome):
    assert judge(Case("Layer", "x", do, wants))[0] == outcome


def test_the_judge_sees_a_state_that_a_refusal_has_changed():
    state = [1.0]

    def do():
        state[0] = 2.0
        raise refusal("Layer", "x", "small", 7)

    assert judge(Case("Layer", "x", do, refused("`x`"), lambda: state))[0] == SILENT
