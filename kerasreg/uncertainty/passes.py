"""The loop over random passes: which go together, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from keras import ops

from kerasreg._core.counter_random import Where
from kerasreg._core.loops import stack_turns, while_loop
from kerasreg.uncertainty import moments

# One output's passes, of shape (passes, rows, ...), and the variance that each brings along, or None.
Block = tuple[Any, Any]


@dataclass(frozen=True)
class Passes:
    """How many passes there are, and how they go through the model.

    Args:
        samples: All passes.
        tile: How many go through the model as one batch.
        paired: Whether every second one mirrors the noise of the one before it.
    """

    samples: int
    tile: int = 1
    paired: bool = False

    @property
    def block(self) -> int:
        """How many passes a turn of the loop makes; of pairs, the mirror images come last."""
        return 2 if self.paired and self.tile == 1 else self.tile

    def places(self, seed: Any, first: Any, first_row: Any, rows: int) -> Iterator[Where]:
        """Where the noise of each call belongs that makes a block, `first` being its first pass."""
        where = Where(seed, 0, first, first_row, rows, self.tile)
        if not self.paired:
            yield where
        elif self.tile == 1:
            yield replace(where, sample=first // 2)
            yield replace(where, sample=first // 2, mirror="all")
        else:
            yield replace(where, sample=first // 2, mirror="half")

    def moments(
        self, run: Callable[[Any], list[Block]], outputs: list[Any], real: Any, tolerance: Any
    ) -> dict[str, Any]:
        """The moments of each output.

        Args:
            run: Makes the block that begins with the given pass.
            outputs: One pass's outputs, for their shapes.
            real: How many of the rows are no filling.
            tolerance: The standard error at which a row stops, or None.

        Returns:
            `outputs`: the figures of each; `count`: the passes that each row took.
        """
        rows = ops.shape(outputs[0])[0]
        active = ops.cast(ops.arange(rows) < real, "float32")
        figures = [moments.start(y) for y in outputs]
        state = (ops.zeros((), "int32"), active, ops.zeros_like(active), figures)

        def going_on(t: Any, active: Any, count: Any, figures: Any) -> Any:
            return ops.logical_and(t < self.samples, ops.any(active > 0))

        def step(t: Any, active: Any, count: Any, figures: Any) -> tuple[Any, ...]:
            weights = self._weights(t)
            added = self.block if weights is None else ops.sum(weights)
            figures = [
                moments.add(old, values, within, weights, count, active, self.paired)
                for old, (values, within) in zip(figures, run(t), strict=True)
            ]
            t, count = t + self.block, count + active * added
            if tolerance is not None:
                errors = [moments.standard_error(new, count, self.paired) for new in figures]
                worst = [ops.max(error, axis=tuple(range(1, len(error.shape)))) for error in errors]
                unsure = ops.any(ops.stack(worst) > tolerance, axis=0)
                looked_at = t % moments.STRIDE == 0
                active = active * ops.cast(ops.logical_or(unsure, ops.logical_not(looked_at)), "float32")
            return t, active, count, figures

        # Without a loop where one block does.
        *_, count, figures = step(*state) if self.block >= self.samples else while_loop(going_on, step, state)
        return {
            "outputs": [moments.finish(found, count, self.paired) for found in figures],
            "count": count,
        }

    def every(self, run: Callable[[Any], list[Block]], outputs: list[Any]) -> list[Any]:
        """Every pass of each output, in order, of shape (samples, rows, ...)."""

        def turn(i: Any) -> list[Any]:
            return [self._in_order(values) for values, _ in run(i * self.block)]

        turns = -(-self.samples // self.block)
        if turns == 1:
            blocks = [values[None] for values in turn(ops.zeros((), "int32"))]
        else:
            blocks = stack_turns(turn, turns, [y.dtype for y in outputs])
        # The axis of the turns and that of a block's passes become one.
        return [ops.reshape(b, (-1, *b.shape[2:]))[: self.samples] for b in blocks]

    def _weights(self, first: Any) -> Any:
        """1 for each pass of a block that is wanted, else 0; None where all are."""
        if self.samples % self.block == 0:
            return None
        if self.paired:
            of_pair = ops.cast(first + 2 * ops.arange(self.block // 2) < self.samples, "float32")
            return ops.concatenate([of_pair, of_pair])
        return ops.cast(first + ops.arange(self.block) < self.samples, "float32")

    def _in_order(self, values: Any) -> Any:
        """A block's passes with the mirror images next to what they mirror."""
        if not self.paired:
            return values
        half = self.block // 2
        pairs = ops.stack([values[:half], values[half:]], axis=1)
        return ops.reshape(pairs, values.shape)
