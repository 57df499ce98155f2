"""The compiled steps of a model, when what they were compiled from has changed."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._core.sublayers import with_sublayers


def take_weights_back(model: Any) -> None:
    """Have the model's variables hold their values: in the middle of an epoch JAX's trainer has them."""
    if isinstance(model, keras.Model) and hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def compile_steps_anew(model: keras.Model) -> None:
    """Replace the steps of a model and of those in it; at once, as in a running `fit` nobody else would."""
    for part in with_sublayers(model):
        if isinstance(part, keras.Model):
            for step in ("train", "test"):
                if getattr(part, f"{step}_function") is not None:
                    getattr(part, f"make_{step}_function")(force=True)
