"""The handler that rescales kernels while the model is being called."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.kernels import Kernel, calibrated_call, kernels_of, output_channel_axes
from kerasreg._core.linear_outputs import (
    depthwise_part,
    fold_time,
    scanned_kernel_cell,
    with_linear_output,
)
from kerasreg._core.tensors import is_concrete, read, wide_dtype
from kerasreg.initialization.calibration_report import CalibratedKernel

NOT_REACHED = "the batch never reached it"
# Up to this many numbers NumPy sums faster than an eager operation starts.
SMALL = 1 << 16
IN_A_TRACE = "it runs inside a compiled function, whose values are not seen"
IN_A_SCAN = "the values inside a loop over steps are not seen"


class Rescaler:
    """An `intercept` handler, to be used in a `keras.StatelessScope`, which holds what it assigns.

    Args:
        paths: Every layer with its path.
        targets: Each layer's RMS.
        reasons: The layers to leave alone, and why; the pass adds its own, by layer or by (layer, kernel).
        spare: Layers whose kernel may be all zeros on purpose.
        per_channel: Whether each channel gets the RMS by itself.
        scope: Where the rescaled kernels are kept meanwhile.
    """

    def __init__(
        self,
        paths: Mapping[keras.layers.Layer, str],
        targets: Mapping[keras.layers.Layer, float],
        reasons: Mapping[keras.layers.Layer, str],
        spare: Collection[keras.layers.Layer],
        per_channel: bool,
        scope: keras.StatelessScope,
    ):
        self._paths, self._targets, self._spare = paths, targets, spare
        self._per_channel, self._scope = per_channel, scope
        self._kernels = {layer: kernels_of(layer) for layer in paths}
        self._calls: Counter[keras.layers.Layer] = Counter()
        self._done: set[int] = set()
        self.reasons: dict[Any, str] = dict(reasons)
        self.rows: list[CalibratedKernel] = []
        # With the value before and after.
        self.scaled: list[tuple[keras.Variable, Any, Any]] = []
        self.error: ValueError | None = None
        self._scans = 0

    def __call__(
        self, layer: keras.layers.Layer, proceed: Callable[..., Any], args: tuple, kwargs: dict
    ) -> Any:
        """Let the layer run, with its kernel rescaled."""
        if isinstance(layer, keras.layers.BatchNormalization) and len(args) < 2:
            kwargs = {**kwargs, "training": True}
        elif isinstance(layer, keras.layers.TimeDistributed):
            return fold_time(layer, args, kwargs)
        cell = scanned_kernel_cell(layer)
        if cell is not None:
            self._scale_input_product(cell, args[0] if args else kwargs["sequences"])
        if isinstance(layer, keras.layers.RNN):
            # TensorFlow runs a scan step by step in eager mode, JAX does not: the same for both.
            self._scans += 1
            try:
                return proceed(*args, **kwargs)
            finally:
                self._scans -= 1
        if self._kernels.get(layer):
            return self._scale(layer, proceed, args, kwargs)
        return proceed(*args, **kwargs)

    def _scale(self, layer: keras.layers.Layer, proceed: Callable, args: tuple, kwargs: dict) -> Any:
        kernels = self._kernels[layer]
        if layer in self.reasons or self._scans or hasattr(layer, "state_size"):
            if id(kernels[0].variable) not in self._done:
                self.reasons.setdefault(layer, IN_A_SCAN)
            return proceed(*args, **kwargs)
        self._calls[layer] += 1
        if len(kernels) == 2 and is_concrete(args[0]):  # separable: the depthwise product first
            self._rescale(kernels[0], depthwise_part(layer, args[0]), None)
        fired = []

        def look(outputs: Any) -> Any:
            fired.append(True)
            return self._rescale(kernels[-1], outputs, getattr(layer, "bias", None))

        outputs = with_linear_output(layer, proceed, args, kwargs, look)
        if not fired:
            self.reasons[layer] = (
                f"a {type(layer).__name__}'s call does not hand its output to its activation"
            )
        return outputs

    def _scale_input_product(self, cell: keras.layers.Layer, inputs: Any) -> None:
        self.reasons.setdefault((cell, "recurrent_kernel"), IN_A_SCAN)
        if cell in self.reasons:
            return
        self._calls[cell] += 1
        inputs = ops.cast(inputs, cell.compute_dtype)
        self._rescale(
            kernels_of(cell)[0], ops.matmul(inputs, ops.cast(cell.kernel, cell.compute_dtype)), None
        )

    def _rescale(self, kernel: Kernel, outputs: Any, bias: Any) -> Any:
        """Scale the kernel once; return the output that the scaled kernel gives."""
        layer, path = kernel.layer, self._paths[kernel.layer]
        if not is_concrete(outputs):
            self.reasons[layer] = IN_A_TRACE
            return outputs
        variable, target = kernel.variable, self._targets[layer]
        channels = output_channel_axes(kernel, len(outputs.shape)) if self._per_channel else ()
        axes = tuple(axis for axis in range(len(outputs.shape)) if axis not in channels)
        before = _rms(outputs, axes)
        if not np.isfinite(before).all():
            raise self._fail("model", f"finite at {path!r}", Came("NaN or infinity in its output"))
        call = self._calls[layer]
        name = path if call == 1 else f"{path}:{call}"
        if id(variable) in self._done:
            self.rows.append(_row(name, kernel, before, skipped="shared: scaled at its first call"))
            return outputs
        biased = bias is not None and bool(np.any(_to_numpy(read(bias))))
        scale = _biased_scale(outputs, _spread(layer, bias, outputs), axes, target) if biased else None
        if scale is None:
            with np.errstate(divide="ignore"):
                scale = target / before if not biased else np.full_like(before, math.nan)
        if not np.isfinite(scale).all():
            self._refuse_or_skip(kernel, path, biased)
            return outputs
        self._done.add(id(variable))
        old = read(variable)
        value, corrected = self._apply(kernel, old, outputs, bias if biased else None, scale)
        self._scope.add_update((variable, value))
        self.scaled.append((variable, old, value))
        after = before if biased else before * scale
        if biased or keras.backend.standardize_dtype(outputs.dtype) in ("float16", "bfloat16"):
            after = _rms(corrected, axes)
        self.rows.append(_row(name, kernel, before, target, scale, after))
        return corrected

    def _apply(self, kernel: Kernel, old: Any, outputs: Any, bias: Any, scale: np.ndarray) -> tuple[Any, Any]:
        """The kernel rescaled, and the output that it gives."""
        variable = kernel.variable
        wide = wide_dtype(variable.dtype, outputs.dtype)
        # A plain number spares eager operations of their own.
        factor = ops.convert_to_tensor(scale, dtype=wide) if self._per_channel else float(scale.item())
        over = self._over_kernel(kernel, scale, wide) if self._per_channel else factor
        value = _cast(old, wide) * over
        value = _cast(value, variable.dtype)
        # Only so large a factor, or so narrow a type, can take a weight out of its range.
        risky = scale.max() > 1e20 or wide != variable.dtype
        if risky and not np.isfinite(ops.convert_to_numpy(ops.max(ops.abs(ops.cast(value, wide))))):
            came = Came(f"{variable.dtype}, in which the kernel of {self._paths[kernel.layer]!r} overflows")
            raise self._fail("target", "one that the kernels' dtype can hold", came)
        corrected = _cast(outputs, wide)
        if bias is None:
            corrected = corrected * factor
        else:
            added = ops.cast(_spread(kernel.layer, bias, outputs), wide)
            corrected = (corrected - added) * factor + added
        return value, _cast(corrected, keras.backend.standardize_dtype(outputs.dtype))

    def _over_kernel(self, kernel: Kernel, scale: np.ndarray, dtype: str) -> Any:
        """The scale in the shape that multiplies the kernel."""
        shape = list(kernel.variable.shape)
        axes = [axis % len(shape) for axis in kernel.output_axes]
        # The axes of the output's channels run as output_axes do; put them where the kernel has them.
        grid = scale.reshape([shape[axis] for axis in axes])
        grid = np.transpose(grid, np.argsort(axes))
        return ops.convert_to_tensor(
            grid.reshape([shape[i] if i in axes else 1 for i in range(len(shape))]), dtype=dtype
        )

    def _fail(self, *words: Any) -> ValueError:
        """An error that is kept: Keras rewrites the sentence of what is raised inside a call."""
        self.error = refusal("calibrate", *words)
        return self.error

    def _refuse_or_skip(self, kernel: Kernel, path: str, biased: bool) -> None:
        layer, key = kernel.layer, (kernel.layer, kernel.attribute)
        if biased:
            self.reasons[key] = "its bias alone, or together with an input of 0, keeps it from the target"
        elif bool(ops.any(ops.not_equal(kernel.variable, 0))):
            channel = "in a channel " if self._per_channel else ""
            self.reasons[key] = f"its output is 0 {channel}on all of the batch, though its kernel is not"
        elif layer in self._spare:
            self.reasons[key] = "its kernel is all zeros, as an output's or a residual branch's end may be"
        else:
            name = type(kernel.initializer).__name__
            raise self._fail(
                "model",
                f"one whose kernels can be rescaled (that of {type(layer).__name__} {path!r} is all zeros)",
                Came(f"initializer {name}"),
                f"use kernel_initializer={calibrated_call(kernel)}, or exclude=[{path!r}]",
            )


def _to_numpy(values: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(values))


def _mean_square(wide: Any, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.mean(ops.square(wide), axis=axes, keepdims=True)), "float64")


def _cast(values: Any, dtype: str) -> Any:
    """A cast, spared where there is none: eager operations cost more than their work."""
    return values if keras.backend.standardize_dtype(values.dtype) == dtype else ops.cast(values, dtype)


def _rms(outputs: Any, axes: tuple[int, ...]) -> np.ndarray:
    """The root mean square over the axes (kept), also where squares leave the type's range."""
    wide = _cast(outputs, wide_dtype(outputs.dtype))
    if len(axes) == len(wide.shape) and math.prod(wide.shape) <= SMALL:
        flat = _to_numpy(wide).ravel()
        found = np.full((1,) * len(axes), float(np.vdot(flat, flat)) / flat.size)
    else:
        found = _mean_square(wide, axes)
    if np.all((found > 1e-30) & (found < 1e30)):
        return np.sqrt(found)
    largest = ops.max(ops.abs(wide))
    size = float(ops.convert_to_numpy(largest))
    if not math.isfinite(size) or size == 0:
        return np.full_like(found, size)
    scaled = ops.mean(ops.square(wide / largest), axis=axes, keepdims=True)
    return size * np.sqrt(np.asarray(ops.convert_to_numpy(scaled), "float64"))


def _spread(layer: keras.layers.Layer, bias: Any, outputs: Any) -> Any:
    """The bias in a shape that is added to the output."""
    bias = ops.convert_to_tensor(bias)
    if getattr(layer, "data_format", None) == "channels_first":
        return ops.reshape(bias, (1, -1) + (1,) * (len(outputs.shape) - 2))
    return bias


def _biased_scale(outputs: Any, bias: Any, axes: tuple[int, ...], target: float) -> np.ndarray | None:
    """C > 0 with E[(c u + b)^2] = target^2 for the output u + b, None where there is none."""
    wide = wide_dtype(outputs.dtype)
    total, added = ops.cast(outputs, wide), ops.cast(bias, wide)
    product = total - added
    moments = (ops.square(product), product * added, ops.square(added + ops.zeros_like(total)))
    uu, ub, bb = (
        np.asarray(ops.convert_to_numpy(ops.mean(moment, axis=axes, keepdims=True)), "float64")
        for moment in moments
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(ub**2 - uu * (bb - target**2))
        scale = (root - ub) / uu
    return scale if np.isfinite(scale).all() and (scale > 0).all() else None


def _row(
    name: str,
    kernel: Kernel,
    before: np.ndarray,
    target: float | None = None,
    scale: np.ndarray | None = None,
    after: np.ndarray | None = None,
    skipped: str | None = None,
) -> CalibratedKernel:
    mean_scale = None if scale is None else _overall(scale, lambda part: np.exp(np.mean(np.log(part))))
    overall = [None if part is None else _overall(part, _root_mean_square) for part in (before, after)]
    return CalibratedKernel(name, kernel.attribute, target, overall[0], mean_scale, overall[1], skipped)


def _overall(part: np.ndarray, mean: Callable[[np.ndarray], Any]) -> float:
    return float(part.item() if part.size == 1 else mean(part))


def _root_mean_square(part: np.ndarray) -> Any:
    return np.sqrt(np.mean(np.square(part)))
