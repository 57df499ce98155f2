"""The RMS of every linear layer's output, measured with no code of kerasreg's: kernels applied by hand."""

import keras
import numpy as np
from backend_tools import array


class Watcher:
    """Replaces `call` of the given layers by one that keeps what their kernels give."""

    def __init__(self, layers):
        self.layers = layers
        self.seen = {}

    def __enter__(self):
        for layer in self.layers:
            layer.__dict__["call"] = self._watching(layer, layer.call)
        return self.seen

    def __exit__(self, *_):
        for layer in self.layers:
            del layer.__dict__["call"]

    def _watching(self, layer, call):
        def watched(inputs, *args, **kwargs):
            activation = getattr(layer, "activation", None)
            if isinstance(layer, keras.layers.RNN):
                linear = keras.ops.matmul(inputs, layer.cell.kernel)
            elif activation is None:
                linear = call(inputs, *args, **kwargs)
            else:
                layer.__dict__["activation"] = None
                linear = call(inputs, *args, **kwargs)
                layer.__dict__["activation"] = activation
            values = array(keras.ops.cast(linear, "float32")).astype("float64")
            self.seen.setdefault(layer.path, []).append(values)
            return call(inputs, *args, **kwargs)

        return watched


def linear_layers(model):
    """Every layer with a kernel that the watcher can see."""
    every = list(model._flatten_layers(include_self=False))
    scanned = {id(layer.cell) for layer in every if isinstance(layer, keras.layers.RNN)}
    kinds = ("kernel", "embeddings", "pointwise_kernel")
    return [
        layer
        for layer in every
        if id(layer) not in scanned
        and (any(hasattr(layer, kind) for kind in kinds) or isinstance(layer, keras.layers.RNN))
    ]


def linear_outputs(model, x):
    """`{path: [output of each call]}` before the activation, batch norms on the batch's statistics."""
    layers = linear_layers(model)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.__dict__["call"] = lambda inputs, training=None, mask=None, own=norm.call: own(
            inputs, training=True
        )
    try:
        with Watcher(layers) as seen, keras.StatelessScope():
            model(x, training=False)
    finally:
        for norm in norms:
            del norm.__dict__["call"]
    return seen


def linear_rms(model, x):
    """`{path: RMS}` over all calls of a layer."""
    return {
        path: float(np.sqrt(np.mean(np.square(np.concatenate([v.ravel() for v in values])))))
        for path, values in linear_outputs(model, x).items()
    }
