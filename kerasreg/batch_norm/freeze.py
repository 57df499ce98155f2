"""Batch norms that `fit` leaves alone."""

from __future__ import annotations

import keras

from kerasreg._core.arguments import flag
from kerasreg._core.paths import layer_paths
from kerasreg.batch_norm.finding import batch_norms
from kerasreg.layers.frozen_batch_norm import freeze, thaw


def freeze_batch_norm(model: keras.Model, frozen: bool = True, affine: bool = True) -> keras.Model:
    """Keep a model's batch norms in inference mode through `fit`.

    y = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta with the moving mu and sigma^2, in training too, and
    mu and sigma^2 stay as they are: for fine-tuning on few or small batches. That holds in nested and
    subclassed models, in a base that is called with `training=True` or `training=False`, and whatever becomes
    of `trainable` afterwards. It is in force at once in a model that was already fitted. Where the model is
    part of another one that was fitted, give the outer one.

    A Functional or Sequential model keeps it through `save`, `load_model` (with kerasreg imported) and
    `clone_model`. The layers of a subclassed model are made by its own Python when it is loaded or cloned:
    freeze it again then. Weight files fit before and after.

    `freeze_batch_norm(model, False)` undoes it.

    Args:
        model: A built model; it is changed in place.
        frozen: Whether to freeze, or to undo it.
        affine: Whether gamma and beta go on training, as far as they are trainable. False sets
            `layer.trainable = False` as well; as after every change of `trainable`, compile the model again.

    Returns:
        The same model.

    Raises:
        ValueError: If `model` is not a built model with a batch norm, or an argument is not one of the above.

    Example:
        >>> import keras, numpy as np, kerasreg as kr
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> model.compile("sgd", "mse")
        >>> history = kr.freeze_batch_norm(model).fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
        >>> [float(mean) for mean in keras.ops.convert_to_numpy(model.layers[0].moving_mean.value)]
        [0.0, 0.0]
    """
    layers = batch_norms("freeze_batch_norm", model)
    frozen = flag("freeze_batch_norm", "frozen", frozen)
    affine = flag("freeze_batch_norm", "affine", affine)
    for layer in layers:
        if frozen:
            freeze(layer, affine_held=not affine)
        else:
            thaw(layer)
    # Each holds a compiled step in which the layers are as they were.
    for part in (model, *layer_paths(model)):
        if isinstance(part, keras.Model):
            part.train_function = None
    return model
