"""Trains every layer in one of two JAX processes that work together, or in the only one.

python data_parallel_program.py single FOLDER
python data_parallel_program.py 0 FOLDER localhost:PORT
"""

import json
import sys
from pathlib import Path

import device_nets as nets
import jax
import keras

ROLE, FOLDER, *ADDRESS = sys.argv[1:]


class Shares(keras.utils.PyDataset):
    """The batches, or of each the share of this process."""

    def __len__(self):
        return nets.ROWS // nets.BATCH

    def __getitem__(self, number):
        first, size = number * nets.BATCH, nets.BATCH
        if ADDRESS:
            size //= 2
            first += int(ROLE) * size
        return tuple(array[first : first + size] for array in nets.data())


def main():
    if ADDRESS:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize(ADDRESS[0], 2, int(ROLE))
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    model = nets.every_layer()
    losses = model.fit(Shares(), shuffle=False, verbose=0).history["loss"]
    found = {"layers": nets.kinds(model), "losses": losses, "weights": nets.weights(model)}
    (Path(FOLDER) / f"{ROLE}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
