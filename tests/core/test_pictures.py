"""Where matplotlib is missing, what draws says so and what to do; nothing else minds."""

import sys

import numpy as np
import pytest

import kerasreg as kr

DRAWINGS = {
    "Pipeline.preview": lambda: kr.augment.Pipeline([kr.augment.RandomFlip()]).preview(
        np.zeros((2, 8, 8, 3), "uint8"), count=1
    ),
    "ActivationStats.plot": lambda: kr.callbacks.ActivationStats().plot(),
    "reliability_diagram": lambda: kr.uncertainty.reliability_diagram(np.array([0, 1]), np.eye(2)),
    "plot_loss_sensitivity": lambda: kr.diagnostics.plot_loss_sensitivity({}),
}


@pytest.mark.parametrize("owner", DRAWINGS)
def test_without_matplotlib(owner, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=rf"{owner} draws with matplotlib, .* `pip install matplotlib`\.$"):
        DRAWINGS[owner]()


def test_what_was_not_observed_is_no_empty_table():
    assert kr.callbacks.ActivationStats().summary() == "nothing observed yet: hand the callback to fit"
