"""One compiled pass that measures the signal at every kernel, and writes nothing."""

from __future__ import annotations

import inspect
import math
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasreg._core.interception import intercept
from kerasreg._core.kernels import Kernel, kernels_of
from kerasreg._core.linear_outputs import (
    depthwise_part,
    fold_time,
    scanned_kernel_cell,
    with_linear_output,
)
from kerasreg._core.paths import layer_paths
from kerasreg._core.pure_call import compile_pure
from kerasreg._core.residual import branch_ends, output_layers
from kerasreg._core.tracing import current_trace
from kerasreg.diagnostics.measures import (
    activation_figures,
    feature_figures,
    is_fresh_norm,
    kernel_figures,
    norm_figures,
    signal_figures,
)
from kerasreg.diagnostics.sites import KernelFacts, Site

_ACTIVATION_LAYERS = (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
# How many kernels are looked at for what they read of the data, feature by feature.
FIRST = 4
NOT_REACHED = "the batch never reached it"
IN_A_LOOP = "it runs inside a loop or a rematerialised block, whose values cannot leave it"


class Probe:
    """The compiled look at one model for one shape of batch, kept as long as the model is.

    Args:
        model: A built model.
        with_loss: Whether targets are given, and the gradient is measured too.
        fresh: The paths of batch norms that have learned nothing yet; they use the batch's statistics, as
            they will in training.

    Attributes:
        outputs: The paths of the linear layers after which no other comes, where a graph tells.
        ends: The paths of those that end a residual branch.
        sites: Where the figures of a run come from, once there was one.
        skipped: What it did not see, and why.
    """

    _kept: ClassVar[weakref.WeakKeyDictionary[keras.Model, dict[Any, Probe]]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, model: keras.Model, x: Any, y: Any) -> Probe:
        """The model's probe for batches like this one."""
        leaves = keras.tree.flatten([x, y])
        shapes = tuple((leaf.shape, leaf.dtype.name) for leaf in leaves if leaf is not None)
        paths = layer_paths(model)
        fresh = tuple(path for layer, path in paths.items() if is_fresh_norm(layer))
        settings = (fresh, *((id(layer), layer.trainable) for layer in paths))
        compiled = () if y is None else _compiled_with(model)
        kept = cls._kept.setdefault(model, {})
        key = (shapes, settings, y is None, *map(id, compiled))
        if key not in kept:
            kept.clear()  # a model whose layers or loss changed will not change back
            kept[key] = cls(model, y is not None, frozenset(fresh))
        return kept[key]

    def __init__(self, model: keras.Model, with_loss: bool, fresh: frozenset[str]):
        # Weak, and paths in the place of layers: what is kept for a model must not keep the model.
        self._model = weakref.ref(model)
        takes_training = "training" in inspect.signature(model.call).parameters
        self._arguments = {"training": False} if takes_training else {}
        self._fresh = fresh
        # Held, so that nothing else can have their place in memory, by which they are known.
        self._compiled_with = _compiled_with(model) if with_loss else ()
        paths = layer_paths(model)
        self.outputs = frozenset(paths[layer] for layer in output_layers(model))
        self.ends = frozenset(paths[layer] for layer in branch_ends(model))
        self.sites: list[Site] = []
        self._shapes: list[dict[str, tuple[int, ...]]] = []
        self.skipped: dict[str, str] = {}
        self._run = compile_pure(model, self._look_back if with_loss else self._look)

    def run(self, x: Any, *y: Any) -> tuple[list[dict[str, Any]], float | None, list[float] | None]:
        """Each site's figures; the loss and the norm of each kernel's gradient where targets are given."""
        to_tensor = ops.convert_to_tensor
        x, *y = keras.tree.map_structure(to_tensor, [x, *y])
        found, loss, gradients = self._run(x, *y)
        found = self._unpack(np.asarray(ops.convert_to_numpy(found)))
        if not y:
            return found, None, None
        return found, float(ops.convert_to_numpy(loss)), [float(n) for n in ops.convert_to_numpy(gradients)]

    def _pack(self, figures: list[dict[str, Any]]) -> Any:
        """All figures as one vector, scalars first: hundreds of outputs would cost more than the pass."""
        self._shapes = [{name: tuple(value.shape) for name, value in part.items()} for part in figures]
        every = [ops.cast(value, "float32") for part in figures for value in part.values()]
        if not every:
            return ops.zeros((0,))
        scalars = [value for value in every if not tuple(value.shape)]
        vectors = [ops.reshape(value, (-1,)) for value in every if tuple(value.shape)]
        return ops.concatenate([*([ops.stack(scalars)] if scalars else []), *vectors])

    def _unpack(self, packed: np.ndarray) -> list[dict[str, Any]]:
        shapes = [shape for part in self._shapes for shape in part.values()]
        at = sum(not shape for shape in shapes)
        scalar = iter(packed[:at].tolist())
        found: list[dict[str, Any]] = []
        for part in self._shapes:
            found.append({})
            for name, shape in part.items():
                if not shape:
                    found[-1][name] = next(scalar)
                else:
                    size = math.prod(shape)
                    found[-1][name] = packed[at : at + size].reshape(shape)
                    at += size
        return found

    def kernels(self) -> list[Kernel]:
        """Every kernel of the model whose gradient is measured, each variable once."""
        every = [kernel for layer in layer_paths(self._model()) for kernel in kernels_of(layer)]
        first = {id(kernel.variable): kernel for kernel in reversed(every)}
        return [k for k in every if first[id(k.variable)] is k and isinstance(k.variable, keras.Variable)]

    def _look(self, x: Any) -> tuple[Any, Any, Any]:
        watcher, _ = self._forward(x)
        return self._pack(watcher.figures), ops.zeros(()), ops.zeros((1,))

    def _look_back(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        model = self._model()
        variables = [kernel.variable for kernel in self.kernels()]

        def loss_and_figures() -> tuple[Any, Any]:
            watcher, outputs = self._forward(x)
            loss = model.compute_loss(x=x, y=y, y_pred=outputs, training=False)
            return ops.cast(loss, "float32"), self._pack(watcher.figures)

        if keras.backend.backend() == "jax":
            import jax

            state = {id(v): (v, v.value) for v in model.variables}

            def of_values(values: list[Any]) -> tuple[Any, Any]:
                changed = {id(v): (v, new) for v, new in zip(variables, values, strict=True)}
                with keras.StatelessScope(state_mapping=list({**state, **changed}.values())):
                    return loss_and_figures()

            values = [variable.value for variable in variables]
            (loss, found), gradients = jax.value_and_grad(of_values, has_aux=True)(values)
        else:
            import tensorflow as tf

            values = [variable.value for variable in variables]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                loss, found = loss_and_figures()
            gradients = tape.gradient(loss, values)
            gradients = [
                tf.zeros(()) if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients
            ]
        norms = [ops.sqrt(ops.sum(ops.square(ops.cast(gradient, "float32")))) for gradient in gradients]
        return found, loss, ops.stack(norms) if norms else ops.zeros((1,))

    def _forward(self, x: Any) -> tuple[_Watcher, Any]:
        model = self._model()
        watcher = _Watcher(layer_paths(model), self._fresh)
        with intercept(watcher):
            outputs = model(x, **self._arguments)
        watcher.name_the_rest()
        # Filled while tracing, read when the compiled call has come back.
        self.sites, self.skipped = watcher.sites, watcher.skipped
        return watcher, outputs


def _compiled_with(model: keras.Model) -> tuple[Any, ...]:
    return model.loss, getattr(model, "loss_weights", None), model.optimizer


class _Watcher:
    """An `intercept` handler that keeps each site's figures."""

    def __init__(self, paths: dict[keras.layers.Layer, str], fresh: frozenset[str]):
        self._paths, self._fresh = paths, fresh
        self._trace = current_trace()
        self._calls: Counter[keras.layers.Layer] = Counter()
        self._scans = 0
        self.sites: list[Site] = []
        self.figures: list[dict[str, Any]] = []
        self.skipped: dict[str, str] = {}

    def __call__(
        self, layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
    ) -> Any:
        """Let the layer run, and look."""
        if isinstance(layer, keras.layers.TimeDistributed) and layer in self._paths:
            return fold_time(layer, args, kwargs)
        if isinstance(layer, keras.layers.RNN):
            return self._scan(layer, proceed, args, kwargs)
        if layer not in self._paths or not args:
            return proceed(*args, **kwargs)
        if self._scans or current_trace() != self._trace:
            if kernels_of(layer) and not hasattr(layer, "state_size"):
                self.skipped[self._paths[layer]] = IN_A_LOOP
            return proceed(*args, **kwargs)
        if kernels_of(layer):
            return self._linear(layer, proceed, args, kwargs)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built:
            self._keep(Site("norm", self._paths[layer]), norm_figures(layer, args[0]))
            if self._paths[layer] in self._fresh and len(args) < 2:
                kwargs = {**kwargs, "training": True}
        outputs = proceed(*args, **kwargs)
        if isinstance(layer, _ACTIVATION_LAYERS):
            phi = getattr(layer, "activation", None) or layer
            figures = activation_figures(outputs, phi) | {"variation": signal_figures(args[0])["variation"]}
            self._keep(Site("activation", self._paths[layer]), figures)
        return outputs

    def name_the_rest(self) -> None:
        """Say why of the layers with kernels that were not seen."""
        seen = {site.path for site in self.sites}
        for layer, path in self._paths.items():
            if kernels_of(layer) and path not in seen:
                self.skipped.setdefault(path, IN_A_LOOP if hasattr(layer, "state_size") else NOT_REACHED)

    def _linear(self, layer: keras.layers.Layer, proceed: Callable, args: tuple, kwargs: dict) -> Any:
        self._calls[layer] += 1
        kernels = kernels_of(layer)
        if len(kernels) == 2:  # separable
            middle = depthwise_part(layer, args[0])
            self._kernel(kernels[0], args[0], middle)
            inputs = middle
        else:
            inputs = args[0]
        seen: list[Any] = []

        def look(outputs: Any) -> Any:
            seen.append(outputs)
            return outputs

        outputs = with_linear_output(layer, proceed, args, kwargs, look)
        if not seen:
            self.skipped[self._paths[layer]] = "its call does not hand its output to its activation"
            return outputs
        activation = getattr(layer, "activation", None)
        after = {}
        if activation is not None and activation is not keras.activations.linear:
            after = activation_figures(outputs, activation)
        self._kernel(kernels[-1], inputs, seen[-1], after)
        return outputs

    def _scan(self, layer: keras.layers.RNN, proceed: Callable, args: tuple, kwargs: dict) -> Any:
        cell = scanned_kernel_cell(layer)
        if cell in self._paths and args and not self._scans and current_trace() == self._trace:
            self._calls[cell] += 1
            inputs = ops.cast(args[0], cell.compute_dtype)
            kernel = kernels_of(cell)[0]
            product = ops.matmul(inputs, ops.cast(cell.kernel, cell.compute_dtype))
            self._kernel(kernel, inputs, product)
        self._scans += 1
        try:
            return proceed(*args, **kwargs)
        finally:
            self._scans -= 1

    def _kernel(self, kernel: Kernel, inputs: Any, outputs: Any, after: dict[str, Any] | None = None) -> None:
        layer = kernel.layer
        figures = {f"output_{name}": value for name, value in signal_figures(outputs).items()}
        if kernel.kind != "embedding":
            figures |= {f"input_{name}": value for name, value in signal_figures(inputs).items()}
            if len(self.sites) < FIRST:
                figures |= {f"input_{name}": value for name, value in feature_figures(inputs).items()}
        if self._calls[layer] == 1:
            figures |= kernel_figures(kernel)
        site = Site("kernel", self._paths[layer], self._calls[layer], KernelFacts.of(kernel))
        self._keep(site, figures | (after or {}))

    def _keep(self, site: Site, figures: dict[str, Any]) -> None:
        self.sites.append(site)
        self.figures.append(figures)
