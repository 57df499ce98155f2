"""What a file of weights leaves out of a training's state: its place, and its random numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from kerasreg._core.arguments import Came, refusal
from kerasreg._core.private import global_seed_generator, weights_in_memory

_GROUP = "kerasreg_training_state"


@dataclass(frozen=True)
class Place:
    """Where a training stands.

    Attributes:
        epoch: The epoch that comes next, or the one that is being trained.
        batch: The batch done last in it; 0 if none was.
        states: The states that are no weights, each a list of whole numbers, in the model's order.
        general: That of `keras.random` itself; None if nobody has used it.
    """

    epoch: int
    batch: int
    states: list[list[int]] | None = field(default=None)
    general: list[int] | None = field(default=None)


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model that files of weights leave out: its seed generators' states."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def file_of(model: keras.Model, place: Place) -> bytes:
    """A file of the model's weights that Keras can load, with the training's place and random state in it."""
    general = global_seed_generator(make=False)
    told = {
        "epoch": place.epoch,
        "batch": place.batch,
        "states": [_numbers(variable) for variable in random_states(model)],
        "general": None if general is None else _numbers(general.state),
    }
    written = weights_in_memory(model)
    with h5py.File(written, "a") as file:
        # An attribute would have to fit into 64 KiB.
        file.create_dataset(_GROUP, data=np.frombuffer(json.dumps(told).encode(), "uint8"))
    return written.getvalue()


def read_place(weights: Path, metadata: Path) -> Place:
    """What `file_of` wrote; of a file that Keras' own callback wrote, what the one beside it says.

    Raises:
        OSError: If the file of weights is damaged.
    """
    try:
        with h5py.File(weights, "r") as file:
            if _GROUP in file:
                return Place(**json.loads(file[_GROUP][:].tobytes()))
    # h5py's, of a file whose beginning is whole, and what a place that somebody else wrote gives.
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise OSError(str(error)) from error
    try:
        told = json.loads(metadata.read_text())
        return Place(int(told["epoch"]), int(told["batch"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Place(0, 0)


def restore_random_state(model: keras.Model, place: Place) -> Callable[[], None]:
    """What puts the random state back, once it is known that it fits.

    Raises:
        ValueError: If the state is that of another model.
    """
    variables = random_states(model)
    states = place.states
    if states is not None and list(map(len, states)) != [int(np.prod(v.shape)) for v in variables]:
        came = Came(f"that of a model with {len(states)} random states for one with {len(variables)}")
        remedy = "give each training a folder of its own"
        raise refusal("BackupAndRestore", "backup_dir", "a folder with this model's backup", came, remedy)

    def restore() -> None:
        for variable, state in zip(variables, states or (), strict=False):
            variable.assign(np.array(state, variable.dtype).reshape(variable.shape))
        if place.general is not None:
            state = global_seed_generator(make=True).state
            state.assign(np.array(place.general, state.dtype))

    return restore


def _numbers(variable: Any) -> list[int]:
    return [int(number) for number in np.ravel(keras.ops.convert_to_numpy(variable.value))]
