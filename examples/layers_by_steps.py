"""Ten ReLU layers that die of a large learning rate, and the same ten at one that suits them, layer by layer.

python examples/layers_by_steps.py            under a minute
python examples/layers_by_steps.py --quick    does it run?
tensorboard --logdir runs/layers_by_steps     to see more of it
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"
RATES = {"before": 0.3, "after": 0.02}


def train(rate: float, epochs: int, log_dir: Path) -> tuple[kr.callbacks.ActivationStats, float]:
    """Train on the digits; what was observed, and the accuracy on the test images."""
    keras.utils.set_random_seed(0)
    images, digits = next(iter(kr.datasets.load("digits", "train").batch(2000)))
    normalization = kr.layers.Normalization(name="normalization")
    normalization.adapt(images)
    kernels = kr.initializers.Calibrated("relu")
    hidden = [
        keras.layers.Dense(64, "relu", kernel_initializer=kernels, name=f"hidden_{depth}")
        for depth in range(1, 11)
    ]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            normalization,
            keras.layers.Flatten(name="flatten"),
            *hidden,
            keras.layers.Dense(10, name="out"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, metrics=["accuracy"])
    stats = kr.callbacks.ActivationStats(log_dir, every=2, gradients=True, histograms=True)
    model.fit(images, digits, batch_size=64, epochs=epochs, callbacks=[stats], verbose=0)
    test_images, test_digits = next(iter(kr.datasets.load("digits", "test").batch(2000)))
    return stats, model.evaluate(test_images, test_digits, verbose=0)[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one epoch instead of eight")
    parser.add_argument("--logs", type=Path, default=Path("runs/layers_by_steps"), help="for TensorBoard")
    parser.add_argument("--out", type=Path, help="where the pictures go (--logs)")
    arguments = parser.parse_args()
    for name, rate in RATES.items():
        stats, accuracy = train(rate, 1 if arguments.quick else 8, arguments.logs / name)
        print(f"\n{name}, at a learning rate of {rate}: test accuracy {accuracy:.1%}\n{stats.summary()}")
        stats.plot((arguments.out or arguments.logs) / f"layers_by_steps_{name}.png")


if __name__ == "__main__":
    main()
