"""An initializer's seed: a number, a generator, or none."""

from __future__ import annotations

import random
from typing import Any

import keras

from kerasreg._core.arguments import integer
from kerasreg._core.seeds import generator_seed


def checked_seed(owner: str, seed: Any) -> int | keras.random.SeedGenerator | None:
    """A seed as an initializer's argument, also in the form that a configuration has it in."""
    if isinstance(seed, dict):
        seed = keras.saving.deserialize_keras_object(seed)
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    return integer(owner, "seed", seed, low=0)


def fresh_seed(seed: int | keras.random.SeedGenerator | None) -> int | keras.random.SeedGenerator:
    """What to draw from: for None a seed of Python's generator, as `keras.utils.set_random_seed` left it."""
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    return random.randrange(2**31) if seed is None else generator_seed(seed)


def seed_config(seed: int | keras.random.SeedGenerator | None) -> Any:
    """What a configuration holds for a seed."""
    generator = isinstance(seed, keras.random.SeedGenerator)
    return keras.saving.serialize_keras_object(seed) if generator else seed
