"""What is said of a model without noise to sample, or with noise that cannot be drawn from its place."""

from __future__ import annotations

from kerasreg._core.arguments import Came, refusal
from kerasreg.uncertainty.own_noise import NotSampled
from kerasreg.uncertainty.sampler import Sampler


def nothing_stochastic(owner: str, sampler: Sampler, allowed: str, came: str) -> ValueError:
    """The sentence for a model that lacks what is `allowed`, with the stochastic layers that it has."""
    found = sampler.stochastic().items()
    rates = {path: "unknown rate" if rate is None else f"rate {rate:g}" for path, rate in found}
    listed = ", ".join(f"{path} ({rate})" for path, rate in rates.items()) or "none"
    return refusal(
        owner,
        "model",
        f"a model with {allowed}",
        Came(f"{came} (stochastic layers found: {listed})"),
        "put a Dropout where noise was added in training",
    )


def not_sampled(owner: str, error: NotSampled) -> ValueError:
    """The sentence for a layer that draws where nobody can follow."""
    allowed = "a model whose noise can be told by seed, sample and row"
    return refusal(owner, "model", allowed, Came(str(error)), error.remedy)
