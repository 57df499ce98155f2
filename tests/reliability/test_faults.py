"""What is left after each fault; those that take long are a few here, and all in the benchmark."""

import faults
import pytest

from kerasreg.callbacks import activation_log

# One kill in the middle of a step stands for the others; what files survive, tests of each writer show too.
SLOW = (faults.IN_A_PROCESS_OF_ITS_OWN | faults.OF_SECONDS) - {faults.KILLED_IN_A_STEP}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    # They take most of the time, and have tests of their own.
    monkeypatch.setattr(activation_log, "find_spec", lambda name: None)


@pytest.mark.parametrize("words", [words for words in faults.FAULTS if words not in SLOW])
def test_nothing_is_lost_when(words, tmp_path):
    try:
        faults.FAULTS[words](tmp_path)
    except faults.NotHere as reason:
        pytest.skip(str(reason))
