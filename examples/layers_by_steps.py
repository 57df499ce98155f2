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

RATES = {"before": 0.3, "after": 0.02}


def train(
    rate: float, epochs: int, log_dir: Path, bar: keras.utils.Progbar | None = None
) -> tuple[kr.callbacks.ActivationStats, float]:
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
    mark = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar and bar.add(1))
    model.fit(images, digits, batch_size=64, epochs=epochs, callbacks=[stats, mark], verbose=0)
    test_images, test_digits = next(iter(kr.datasets.load("digits", "test").batch(2000)))
    return stats, model.evaluate(test_images, test_digits, verbose=0)[1]


def learned(seen: dict[str, tuple[kr.callbacks.ActivationStats, float]]) -> str:
    """What was learned, from the figures themselves."""
    lines = ["What was learned:"]
    for name, (stats, accuracy) in seen.items():
        sick = [finding for finding in stats.findings if finding.severity != "note" and not finding.cleared]
        layers = list(dict.fromkeys(finding.layer for finding in sick))
        said = f"something is wrong in {len(layers)} layers" if layers else "nothing wrong is found"
        lines.append(f"- At a learning rate of {RATES[name]} {said}, and {accuracy:.1%} are read right.")
        lines += [f"- It was said first of {sick[0].layer}: {sick[0].code}."] if sick else []
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one epoch instead of eight")
    parser.add_argument("--logs", type=Path, default=Path("runs/layers_by_steps"), help="for TensorBoard")
    parser.add_argument("--out", type=Path, help="where the pictures go (--logs)")
    arguments = parser.parse_args()
    epochs = 1 if arguments.quick else 8
    bar = keras.utils.Progbar(len(RATES) * epochs, unit_name="epoch")
    seen = {name: train(rate, epochs, arguments.logs / name, bar) for name, rate in RATES.items()}
    for name, (stats, accuracy) in seen.items():
        print(f"\n{name}, at a learning rate of {RATES[name]}: test accuracy {accuracy:.1%}")
        print(stats.summary())
        stats.plot((arguments.out or arguments.logs) / f"layers_by_steps_{name}.png")
    print(f"\n{learned(seen)}")
    if arguments.quick:
        print("\nA quick run shows that the example runs; its figures say nothing.")
    print(f"\nwritten to {arguments.out or arguments.logs}")


if __name__ == "__main__":
    main()
