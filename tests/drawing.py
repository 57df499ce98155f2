"""How many examples, and what the properties' tests draw them from."""

import json
import os

import keras
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def examples(count):
    """So many examples, the same in every run; with HYPOTHESIS_PROFILE=thorough twenty times as many.

    On JAX a quarter of them: it compiles every operation for every shape.
    """
    count = max(1, count // 4) if keras.backend.backend() == "jax" else count
    # A first call of a backend is slow whatever was drawn.
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(
        max_examples=count * (20 if THOROUGH else 1),
        deadline=None,
        derandomize=not THOROUGH,
        suppress_health_check=health,
        # To shrink what fails takes minutes; what was drawn is shown as it is.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )


rates = st.sampled_from([0.0, 0.5, 0.9]) | st.floats(0, 0.99)
# Beyond what the generators of the backends hold, too.
seeds = st.integers(0, 100) | st.integers(2**31 - 3, 2**40)
numbers = st.integers(0, 2**20)


def shapes(low, high, least=1, most=5):
    """Shapes of `low` to `high` axes."""
    return st.lists(st.integers(least, most), min_size=low, max_size=high).map(tuple)


def values(draw, shape, scale=1.0, offset=0.0):
    """Normal float32 numbers of a shape; now and then with exact zeros among them."""
    rng = np.random.default_rng(draw(numbers))
    x = rng.normal(offset, scale, shape).astype("float32")
    return np.where(rng.uniform(size=shape) < 0.2, np.float32(0), x) if draw(st.booleans()) else x


def probabilities(draw, shape):
    """Class probabilities over the last axis; now and then certain ones."""
    rng = np.random.default_rng(draw(numbers))
    p = rng.gamma(draw(st.sampled_from([0.05, 0.5, 3.0])), size=shape) + 1e-12
    p /= p.sum(-1, keepdims=True)
    if draw(st.booleans()):
        p[0] = np.eye(shape[-1])[p[0].argmax(-1)]
    return p


def plain(config):
    """A configuration as JSON would give it back."""
    return json.loads(json.dumps(config))
