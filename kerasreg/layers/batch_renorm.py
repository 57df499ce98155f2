"""Batch renormalisation: a batch's own moments, corrected toward the moving ones within limits.

With the batch's mean mu_B and deviation sigma_B and the moving mu and sigma,

    x^ = (x - mu_B) / sigma_B r + d,
    r = sigma_B / sigma in [rmin, rmax],    d = (mu_B - mu) / sigma in [-dmax, dmax],

no gradient flowing through r and d: without limits, training computes what inference will (Ioffe, "Batch
Renormalization", 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._core.arguments import Came, integer, number, refusal

# Where batch normalisation itself stands: no correction at all. The limits open from here.
CLOSED = {"rmin": 1.0, "rmax": 1.0, "dmax": 0.0}
# The limits of the paper's section 4.1, for a warm-up without limits of its own.
PAPER = {"rmin": 1.0 / 3.0, "rmax": 3.0, "dmax": 5.0}


def checked_clipping(owner: str, clipping: Any) -> dict[str, float]:
    """The limits by name, or a refusal."""
    if not isinstance(clipping, dict) or set(clipping) - set(CLOSED):
        raise refusal(owner, "renorm_clipping", f"a dict with keys among {sorted(CLOSED)}", clipping)
    limits = {
        name: number(owner, f"renorm_clipping[{name!r}]", value, 0)
        for name, value in clipping.items()
        if value is not None
    }
    if limits.get("rmin", 0.0) > limits.get("rmax", float("inf")):
        raise refusal(owner, "renorm_clipping", "a dict with rmin at most rmax", clipping)
    return limits


def checked_warmup(owner: str, warmup: Any) -> tuple[int, int]:
    """First and last step of the warm-up, or a refusal."""
    if not isinstance(warmup, Sequence) or isinstance(warmup, str) or len(warmup) != 2:
        raise refusal(owner, "renorm_warmup", "None or two steps (start, end)", warmup)
    start, end = (integer(owner, "renorm_warmup", step, low=0) for step in warmup)
    if start >= end:
        raise refusal(
            owner, "renorm_warmup", "two steps (start, end) with start below end", Came(str(warmup))
        )
    return start, end


def limits_at(clipping: dict[str, float], warmup: tuple[int, int] | None, step: Any) -> dict[str, Any]:
    """The limits in force: closed until the warm-up starts, then opening linearly until it ends."""
    if warmup is None:
        return clipping
    start, end = warmup
    opened = ops.clip((ops.cast(step, "float32") - start) / (end - start), 0.0, 1.0)
    return {name: CLOSED[name] + opened * (limit - CLOSED[name]) for name, limit in clipping.items()}


def corrections(
    mean: Any, stddev: Any, moving_mean: Any, moving_stddev: Any, limits: dict[str, Any]
) -> tuple[Any, Any]:
    """The factor r and the distance d, within the limits and without gradient."""
    r, d = stddev / moving_stddev, (mean - moving_mean) / moving_stddev
    if "rmin" in limits:
        r = ops.maximum(r, ops.cast(limits["rmin"], r.dtype))
    if "rmax" in limits:
        r = ops.minimum(r, ops.cast(limits["rmax"], r.dtype))
    if "dmax" in limits:
        dmax = ops.cast(limits["dmax"], d.dtype)
        d = ops.clip(d, -dmax, dmax)
    return ops.stop_gradient(r), ops.stop_gradient(d)
