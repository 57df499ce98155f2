"""Every part of kerasreg in one training: real images in, a watched model that says how sure it is out.

python examples/quickstart.py
python examples/quickstart.py --dataset fashion_mnist --data-dir /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kerasreg as kr

SHADES = " .:-=+*#%@"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", default="digits", help="digits, fashion_mnist, or any image-classification name of TFDS"
    )
    parser.add_argument("--data-dir", default=None, help="where the data are; TFDS' own folder if left out")
    parser.add_argument(
        "--log-dir", default="runs/quickstart", help="for TensorBoard, JSON lines and the model"
    )
    parser.add_argument("--epochs", type=int, default=None, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same run")
    parser.add_argument("--quick", action="store_true", help="two epochs and few images: does it run?")
    return parser.parse_args()


def load(args: argparse.Namespace, split: str, size: tuple[int, int] | None) -> tf.data.Dataset:
    """The images of a split, all of one size."""
    images = kr.datasets.load(args.dataset, split, data_dir=args.data_dir)
    if size is not None:
        images = images.map(lambda x, y: (tf.cast(tf.image.resize(x, size), tf.uint8), y))
    return images


def build(image_shape: tuple[int, ...], classes: int, normalization: keras.layers.Layer) -> keras.Model:
    """A small convolutional network that gives class scores."""

    def convolution(filters: int) -> list[keras.layers.Layer]:
        return [
            keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=kr.initializers.Calibrated("relu", kind="conv"),
                kernel_regularizer=kr.regularizers.ElasticNet(1e-5, beta=10.0),
                kernel_constraint=kr.constraints.MaxNorm(4.0),
            ),
            kr.layers.BatchNormalization(update_rate=0.1),
            keras.layers.ReLU(),
        ]

    return keras.Sequential(
        [
            keras.Input(image_shape),
            normalization,
            *convolution(32),
            # Large images lose resolution early: most of the time goes where they are large.
            *([keras.layers.MaxPooling2D()] if image_shape[0] > 16 else []),
            *convolution(32),
            keras.layers.MaxPooling2D(),
            *convolution(64),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            kr.layers.Dropout(0.4),
            keras.layers.Dense(classes, kernel_initializer=kr.initializers.Calibrated("linear")),
        ],
        name="quickstart",
    )


def thumbnail(image: np.ndarray) -> str:
    """An image as characters, dark to bright."""
    step = max(1, image.shape[0] // 14)
    gray = image[::step, ::step].mean(axis=-1) / 255.0
    rows = (gray * (len(SHADES) - 1)).round().astype(int)
    return "\n".join("    " + "".join(SHADES[value] * 2 for value in row) for row in rows)


def learned(
    accuracy: float, doubt: kr.uncertainty.Prediction, labels: np.ndarray, stats: kr.callbacks.ActivationStats
) -> str:
    """What was learned, from the figures themselves."""
    right = doubt.mean.argmax(axis=-1) == labels
    kept = np.argsort(doubt.entropy)[: math.ceil(0.9 * len(labels))]
    wrong = [finding for finding in stats.findings if finding.severity != "note" and not finding.cleared]
    return "\n".join(
        [
            "What was learned:",
            f"- {accuracy:.2%} of the test images are read right.",
            f"- With the dropout left on, {right.mean():.2%} of those asked about; of the nine tenths "
            f"that it doubts least, {right[kept].mean():.2%}.",
            "- In the layers "
            + (f"this is wrong: {', '.join(str(f.code) for f in wrong)}." if wrong else "nothing is wrong."),
        ]
    )


def main() -> None:
    args = parse()
    keras.utils.set_random_seed(args.seed)
    folder = Path(args.log_dir)

    # Data: pairs of a uint8 image and a label, as tensorflow-datasets gives them.
    facts = kr.datasets.info(args.dataset, data_dir=args.data_dir)
    height, width, channels = facts.image_shape
    size = (64, 64) if height is None or width is None or max(height, width) > 64 else None
    image_shape = (*size, channels) if size else facts.image_shape
    train = load(args, "train[:400]" if args.quick else "train", size)
    test = load(args, "test[:64]" if args.quick else "test", size).batch(64)
    test_images, test_labels = (np.concatenate(part) for part in zip(*test.as_numpy_iterator(), strict=True))
    print(f"{args.dataset}: {len(train)} training and {len(test_images)} test images of shape {image_shape}")

    # Augmentation: drawn for each image, one warp and one colour map.
    pipeline = kr.augment.Pipeline(
        [
            kr.augment.RandomRotation(8),
            kr.augment.RandomZoom(0.08),
            kr.augment.RandomTranslation(0.06),
            kr.augment.RandomBrightness(0.1),
            kr.augment.RandomContrast(0.2),
        ],
        seed=args.seed,
        fill_mode="nearest",
    )
    print(f"\n{pipeline.explain()}\n")
    batches = (
        train.cache().shuffle(10_000, seed=args.seed).batch(64).apply(pipeline).prefetch(tf.data.AUTOTUNE)
    )

    # The model: input statistics first, then the network, then the lecture's loss on its scores.
    normalization = kr.layers.Normalization()
    normalization.adapt(train.batch(1024))
    model = build(image_shape, facts.num_classes, normalization)
    epochs = args.epochs or (2 if args.quick else max(3, min(40, 60_000 // len(train))))
    steps = epochs * len(batches)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        loss=kr.losses.MulticlassHinge(),
        metrics=["accuracy"],
    )

    # Training, watched.
    stats = kr.callbacks.ActivationStats(log_dir=folder, every=10)
    # The dataset is shuffled already.
    model.fit(batches, epochs=epochs, shuffle=False, callbacks=[stats])  # with Keras' own bar
    accuracy = model.evaluate(test_images, test_labels, batch_size=256, verbose=0, return_dict=True)[
        "accuracy"
    ]
    print(f"\ntest accuracy: {accuracy:.2%}\n")
    print(stats.summary())

    # Doubt: the same network with the dropout left on, behind a softmax, asked about up to a thousand images.
    asked = test_images[:1000]
    classifier = keras.Sequential([model, keras.layers.Softmax()], name="classifier")
    classifier.build((None, *image_shape))
    doubt = kr.mc_predict(classifier, asked, samples=50, batch_size=256, seed=args.seed)
    calibration = kr.metrics.ExpectedCalibrationError()
    calibration.update_state(test_labels[: len(asked)], doubt.mean)
    print(f"\nexpected calibration error of the averaged prediction: {float(calibration.result()):.3f}")
    order = np.argsort(doubt.entropy)
    names = facts.class_names
    for title, chosen in (("most certain", order[:2]), ("least certain", order[::-1][:3])):
        print(f"\n{title} test images:")
        for i in chosen:
            guess = int(doubt.mean[i].argmax())
            sure = f"{doubt.mean[i, guess]:.2f} +- {doubt.std[i, guess]:.2f}"
            print(
                f"  image {i}: taken for {names[guess]} with {sure}, is {names[test_labels[i]]}; "
                f"entropy {doubt.entropy[i]:.3f} nats, {doubt.mutual_information[i]:.3f} of them the weights'"
            )
            print(thumbnail(test_images[i]))

    # The model as a file: loading needs no more than `import kerasreg`.
    path = folder / "model.keras"
    classifier.save(path)
    reloaded = keras.models.load_model(path)
    again = kr.mc_predict(reloaded, asked, samples=50, batch_size=256, seed=args.seed)
    predictions = [m.predict(test_images, verbose=0) for m in (classifier, reloaded)]
    same = np.array_equal(*predictions) and np.array_equal(again.mean, doubt.mean)
    if not same:
        raise SystemExit(f"the model reloaded from {path} predicts something else")
    print(f"\nsaved to {path}; reloaded, it predicts the same")
    print(f"\n{learned(accuracy, doubt, test_labels[: len(asked)], stats)}")
    print(f"\nwatch the layers:  {sys.executable} -m tensorboard.main --logdir {folder}")


if __name__ == "__main__":
    main()
