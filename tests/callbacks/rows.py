"""Rows as `ActivationStats.history` holds them, for a training that never was."""

import math


def row(layer, **figures):
    rms = figures.get("rms", 1.0)
    known = {"mean": 0.0, "std": rms, "rms": rms, "min": -rms, "max": rms, "zeros": 0.0, "nonfinite": 0}
    return {"layer": layer, **known, **figures}


def training(steps):
    """Three layers: one whose units die, one whose signal vanishes, one that ends in NaN."""
    for step in steps:
        late = step >= 80
        yield (
            step,
            [
                row("relu", zeros=0.5, dead=step / 100),
                row("vanishing", rms=0.0 if late else 10.0 ** -(step / 20)),
                row("out|put", rms=math.nan if late else 2.0, nonfinite=3 * late, update_ratio=1e-3),
            ],
        )
