"""Recurrent layers whose dropout can go on at inference: one mask for a whole sequence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kerasreg._core.arguments import Came, integer, number, refusal
from kerasreg._core.noise_source import Uniform
from kerasreg._core.private import set_dropout_masks
from kerasreg._core.registry import register
from kerasreg._core.seeds import generator_seed
from kerasreg._core.tensors import check_features, check_floats
from kerasreg.layers.monte_carlo import MonteCarlo, checked_seed


def variational_masks(cell: keras.layers.Layer, sequences: Any, uniform: Uniform) -> tuple[Any, Any]:
    """A cell's masks for its inputs and its state: what is dropped is so in every step of a row's sequence.

    Each is None for a rate of 0, a tensor of (batch, features), or one such tensor for each gate where the
    cell takes them apart (`implementation=1`, and always with recurrent dropout in LSTM and GRU).
    """
    return (
        _masks(cell, cell.dropout, sequences, sequences.shape[-1], uniform),
        _masks(cell, cell.recurrent_dropout, sequences, cell.units, uniform),
    )


def _masks(cell: keras.layers.Layer, rate: float, sequences: Any, features: int, uniform: Uniform) -> Any:
    if not 0 < rate < 1:
        return None
    gates = getattr(cell, "dropout_mask_count", None)
    u = uniform((ops.shape(sequences)[0], gates or 1, features))
    masks = ops.cast(u >= rate, cell.compute_dtype) / (1.0 - rate)
    return masks[:, 0] if gates is None else [masks[:, gate] for gate in range(gates)]


@contextmanager
def using_masks(cell: keras.layers.Layer, masks: tuple[Any, Any]) -> Iterator[None]:
    """While inside, the cell's next sequence takes these masks."""
    set_dropout_masks(cell, *masks)
    try:
        yield
    finally:
        # Also behind an error: the cell would go on with masks of another batch, on JAX with dead tracers.
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()


class _Variational(MonteCarlo):
    """What LSTM and GRU share: checked rates, masks drawn by the protocol, `mc=`."""

    def __init__(
        self,
        units: int,
        *args: Any,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        mc: bool = False,
        **kwargs: Any,
    ):
        owner, seed = type(self).__name__, checked_seed(self, seed)
        super().__init__(
            integer(owner, "units", units, low=1),
            *args,
            dropout=number(owner, "dropout", dropout, 0, 1, open_high=True),
            recurrent_dropout=number(owner, "recurrent_dropout", recurrent_dropout, 0, 1, open_high=True),
            seed=generator_seed(seed),
            **kwargs,
        )
        self._set_mc(mc)
        self.cell.seed = seed

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = False
    ) -> Any:
        """Run over the sequences, with dropout while training and where `mc` says so."""
        owner = type(self).__name__
        check_floats(owner, "inputs", sequences)
        check_features(owner, sequences, -1, self.cell.kernel.shape[0])
        if sequences.shape[0] == 0:
            # TensorFlow's LSTM stumbles over none, Keras' over none in some of its kernels.
            raise refusal(owner, "inputs", "at least one sequence", Came(f"shape {tuple(sequences.shape)}"))
        if self._is_noisy(training):
            return self.noisy(sequences, self._uniform, initial_state, mask)
        # Masks that nobody reads: Keras would draw some, and validation would change the masks of training.
        with using_masks(self.cell, (1.0, 1.0)):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=False)

    def noisy(self, sequences: Any, uniform: Uniform, initial_state: Any = None, mask: Any = None) -> Any:
        """Run over the sequences with dropout, decided by numbers from `uniform`."""
        with using_masks(self.cell, variational_masks(self.cell, sequences, uniform)):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=True)

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Keras' loop, and not its way to cuDNN, which takes one mask, where each gate has its own."""
        if training and self.cell.implementation == 1 and self.use_cudnn == "auto":
            mask = mask[0] if keras.tree.is_nested(mask) else mask
            return keras.layers.RNN.inner_loop(self, sequences, initial_state, mask, training)
        return super().inner_loop(sequences, initial_state, mask, training)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        # Keras leaves these two out, and a copy would run, and drop, in another way.
        own = {"implementation": self.cell.implementation, "use_cudnn": self.use_cudnn}
        return {**super().get_config(), **own}

    def _generator(self) -> keras.random.SeedGenerator:
        return self.cell.seed_generator


@register
class LSTM(_Variational, keras.layers.LSTM):
    """Keras' LSTM with dropout that can go on at inference, one mask for a whole sequence.

    x_t m_x / (1 - p) and h_(t-1) m_h / (1 - q) enter step t in the place of x_t and h_(t-1), with m_x ~
    Bernoulli(1 - p) and m_h ~ Bernoulli(1 - q) for each row and feature, the same in every step: the dropout
    of the weights that a Bayesian reading asks for, where new masks in each step would drown the state in
    noise. With recurrent dropout, or `implementation=1`, each gate has masks of its own, as in Keras' layer.

    Args:
        units: The size of the state and of the output, at least 1.
        *args: As `keras.layers.LSTM` takes them.
        dropout: p, the share of inputs dropped, in [0, 1).
        recurrent_dropout: q, the share of the state dropped, in [0, 1). Rates above 0 rule cuDNN's kernel
            out.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers with one seed draw the same masks, the two directions of a `Bidirectional`
            too.
        mc: Whether the layer drops at inference too; see `Dropout`.
        **kwargs: Every other argument of `keras.layers.LSTM`.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
        2016; Hochreiter and Schmidhuber, 1997.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> layer = kr.layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2, seed=0, mc=True)
        >>> x = np.ones((2, 5, 3), "float32")
        >>> first, second = np.asarray(layer(x)), np.asarray(layer(x))
        >>> first.shape, bool((first != second).any()), bool((first[0] != first[1]).any())
        ((2, 4), True, True)
    """


@register
class GRU(_Variational, keras.layers.GRU):
    """Keras' GRU with dropout that can go on at inference, one mask for a whole sequence.

    x_t m_x / (1 - p) and h_(t-1) m_h / (1 - q) enter the gates of step t in the place of x_t and h_(t-1),
    with m_x ~ Bernoulli(1 - p) and m_h ~ Bernoulli(1 - q) for each row and feature, the same in every step.
    With recurrent dropout, or `implementation=1`, each gate has masks of its own, as in Keras' layer.

    Args:
        units: The size of the state and of the output, at least 1.
        *args: As `keras.layers.GRU` takes them.
        dropout: p, the share of inputs dropped, in [0, 1).
        recurrent_dropout: q, the share of the state dropped, in [0, 1). Rates above 0 rule cuDNN's kernel
            out.
        seed: A whole number of at least 0 (2^31 and more modulo 2^31 - 2) for the same sequence of masks in
            every run. Two layers with one seed draw the same masks, the two directions of a `Bidirectional`
            too.
        mc: Whether the layer drops at inference too; see `Dropout`.
        **kwargs: Every other argument of `keras.layers.GRU`.

    Raises:
        ValueError: If an argument is not one of the above.

    Source:
        Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
        2016; Cho et al., 2014.

    Example:
        >>> import numpy as np, kerasreg as kr
        >>> layer = kr.layers.GRU(4, dropout=0.2, recurrent_dropout=0.2, seed=0, mc=True)
        >>> x = np.ones((2, 5, 3), "float32")
        >>> first, second = np.asarray(layer(x)), np.asarray(layer(x))
        >>> first.shape, bool((first != second).any()), bool((first[0] != first[1]).any())
        ((2, 4), True, True)
    """
