"""Every case of the catalogue: an error that says what is wrong and changes nothing, or what is stated."""

import warnings

import pytest
from bad_case import CLEAR, STATED, Refused, judge
from bad_inputs import cases

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.entry}: {case.what}" for case in CASES])
@pytest.mark.filterwarnings("ignore")
def test_bad_input_does_what_is_stated(case):
    outcome, words = judge(case)
    assert outcome == (CLEAR if isinstance(case.wants, Refused) else STATED), words
