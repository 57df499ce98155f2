"""Which images does a digit classifier doubt: hard ones, rotated ones, and pictures of no digit at all?

python examples/uncertainty_images.py            about two minutes
python examples/uncertainty_images.py --quick    does it run?

A small convolutional net with dropout learns the digits that scikit-learn ships. `kr.mc_predict` then leaves
the dropout on and splits the doubt about each image in two: the expected entropy, which the image itself
leaves (is it a 3 or a 9?), and the mutual information, on which the sampled networks disagree: what they were
not taught. Four kinds of images are asked about, and none but upright training digits was learnt from:

- test digits, the certain and the uncertain ones;
- the same test digits turned, away from anything seen (on 8 x 8 pixels all but quarter turns blur, too);
- letters, drawn from the fonts that come with matplotlib, those left out that look like a digit;
- patches of the two photographs that come with scikit-learn; and test digits with their pixels shuffled.

AUROC: how often a strange or misread image is doubted more than a test digit, or one read right; 0.5 by
chance. Beside the two figures stands the entropy of the same net with the dropout off, which costs one pass.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from images_report import draw, report
from sklearn.metrics import roc_auc_score

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"
ANGLES = tuple(range(0, 181, 15))
TURN = 90
# Those in which a reader could see a digit: O Q D as 0, I J L l T as 1, Z as 2, and so on.
LETTERS = "ACEFHKMNPRUVWXY"
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral")
SCORES = ("entropy", "mutual_information", "entropy_dropout_off")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training digits")
    parser.add_argument("--samples", type=int, default=200, help="passes of Monte Carlo dropout")
    parser.add_argument("--rate", type=float, default=0.4, help="of the dropout before the two dense layers")
    parser.add_argument("--seeds", type=int, default=3, help="nets; the first one's images are drawn")
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON file and the picture")
    parser.add_argument("--quick", action="store_true", help="one net, few epochs and passes: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.samples, args.seeds = 6, 20, 1
    return args


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (rows, 8, 8, 1) with ink up to 255, and their labels."""
    images, labels = zip(*kr.datasets.load("digits", split).as_numpy_iterator(), strict=True)
    return np.stack(images).astype("float32"), np.array(labels)


def turned(images: np.ndarray, degrees: float) -> np.ndarray:
    """The images turned counter-clockwise about their middle, with paper where nothing was."""
    from scipy.ndimage import rotate

    if degrees == 0:
        return images
    return rotate(images, degrees, axes=(2, 1), reshape=False, order=1).clip(0, 255)


def shrunk(image: np.ndarray) -> np.ndarray:
    """A grey image of 8 m x 8 m pixels as the means of its m x m blocks, its values stretched to 0..255."""
    m = image.shape[0] // 8
    small = image.reshape(8, m, 8, m).mean(axis=(1, 3))
    small = small - small.min()
    return (255 * small / max(small.max(), 1e-6)).astype("float32")[..., None]


def letters() -> np.ndarray:
    """Capitals in several fonts, plain and bold, as tall as the digits are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = []
    for font in FONTS:
        for weight in ("normal", "bold"):
            for letter in LETTERS:
                figure = Figure(figsize=(1, 1), dpi=128)
                canvas = FigureCanvasAgg(figure)
                figure.text(
                    0.5, 0.5, letter, family=font, weight=weight, size=60, ha="center", va="center_baseline"
                )
                canvas.draw()
                ink = 255.0 - np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=-1)
                rows, columns = np.nonzero(ink.max(axis=1))[0], np.nonzero(ink.max(axis=0))[0]
                ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                found.append(shrunk(on_square(ink)))
    return np.stack(found)


def on_square(ink: np.ndarray) -> np.ndarray:
    """A drawing in the middle of a square whose side is a multiple of 8 and no smaller than it."""
    side = -(-max(ink.shape) // 8) * 8
    square = np.zeros((side, side))
    top, left = (side - ink.shape[0]) // 2, (side - ink.shape[1]) // 2
    square[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return square


def patches(count: int, rng: np.random.Generator) -> np.ndarray:
    """Square pieces of scikit-learn's two photographs, shrunk to the digits' size."""
    from sklearn.datasets import load_sample_images

    photographs = [np.asarray(image).mean(axis=-1) for image in load_sample_images().images]
    found = []
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        top, left = (rng.integers(0, size - 63) for size in photograph.shape)
        found.append(shrunk(photograph[top : top + 64, left : left + 64]))
    return np.stack(found)


def shuffled(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The images with their pixels in any order: as much ink, and no shape."""
    return rng.permuted(images.reshape(len(images), -1), axis=1).reshape(images.shape)


def train(
    images: np.ndarray, labels: np.ndarray, args: argparse.Namespace, seed: int, bar: Any
) -> keras.Model:
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    normalization = kr.layers.Normalization(axis=None)
    normalization.adapt(images)
    he = kr.initializers.Calibrated
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            normalization,
            keras.layers.Conv2D(
                32, 3, padding="same", activation="relu", kernel_initializer=he("relu", kind="conv")
            ),
            keras.layers.Conv2D(
                32, 3, padding="same", activation="relu", kernel_initializer=he("relu", kind="conv")
            ),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            kr.layers.Dropout(args.rate),
            keras.layers.Dense(128, "relu", kernel_initializer=he("relu")),
            kr.layers.Dropout(args.rate),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    steps = args.epochs * -(-len(images) // 64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    mark = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar.add(1))
    model.fit(images, labels, batch_size=64, epochs=args.epochs, verbose=0, callbacks=[mark])
    return model


def ask(model: keras.Model, images: np.ndarray, args: argparse.Namespace, seed: int) -> dict[str, np.ndarray]:
    """What the net says of the images, and how much of it is doubt, in nats."""
    doubt = kr.mc_predict(model, images, samples=args.samples, batch_size=120, seed=seed, verbose=False)
    # A single pass has no second figure: its entropy is all it can say.
    off = model.predict(images, batch_size=120, verbose=0).astype("float64")
    return {
        "probabilities": doubt.mean,
        "entropy": doubt.entropy,
        "expected_entropy": doubt.expected_entropy,
        "mutual_information": doubt.mutual_information,
        "entropy_dropout_off": -(off * np.log(off.clip(1e-12))).sum(axis=-1),
    }


def auroc(known: dict[str, np.ndarray], strange: dict[str, np.ndarray]) -> dict[str, float]:
    """How well each figure tells the two kinds of images apart."""
    truth = np.repeat([0, 1], [len(known["entropy"]), len(strange["entropy"])])
    return {
        score: float(roc_auc_score(truth, np.concatenate([known[score], strange[score]]))) for score in SCORES
    }


def rows_of(said: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[chosen] for name, values in said.items()}


def study(model: keras.Model, kinds: dict[str, np.ndarray], labels: np.ndarray, args: Any, seed: int) -> Any:
    """What one net says of every kind of images: the answers, and the figures made of them."""
    said = {name: ask(model, images, args, seed) for name, images in kinds.items()}
    known = said["test digits"]
    right = known["probabilities"].argmax(axis=-1) == labels
    figures: dict[str, Any] = {"accuracy": float(right.mean()), "wrong": int((~right).sum()), "auroc": {}}
    if 0 < right.sum() < len(right):
        figures["auroc"]["wrong among the test digits"] = auroc(rows_of(known, right), rows_of(known, ~right))
    for name in list(kinds)[1:]:
        figures["auroc"][name] = auroc(known, said[name])
    figures["turned"] = []
    for degrees in ANGLES:
        answer = ask(model, turned(kinds["test digits"], degrees), args, seed)
        taken = answer["probabilities"].argmax(axis=-1)
        figures["turned"].append(
            {
                "degrees": degrees,
                "accuracy": float((taken == labels).mean()),
                "expected_entropy": float(answer["expected_entropy"].mean()),
                "mutual_information": float(answer["mutual_information"].mean()),
            }
        )
    return said, figures


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "uncertainty_images_quick") if args.quick else RESULTS)
    (images, labels), (test_images, test_labels) = digits("train"), digits("test")
    rng = np.random.default_rng(0)
    kinds = {
        "test digits": test_images,
        f"digits turned by {TURN} degrees": turned(test_images, TURN),
        "letters": letters(),
        "patches of photographs": patches(len(test_images), rng),
        "digits with shuffled pixels": shuffled(test_images, rng),
    }
    print(f"digits: {len(images)} to train, {len(test_images)} to test; {args.seeds} nets")
    bar = keras.utils.Progbar(args.seeds * args.epochs, unit_name="epoch")
    nets, shown = [], None
    for seed in range(args.seeds):
        model = train(images, labels, args, seed, bar)
        said, figures = study(model, kinds, test_labels, args, seed)
        nets.append(figures)
        shown = shown or said
    content = {
        "epochs": args.epochs,
        "samples": args.samples,
        "rate": args.rate,
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "kerasreg": kr.__version__,
        "images": {name: len(part) for name, part in kinds.items()},
        "nets": nets,
    }
    print(f"\n{report(content)}")
    if args.quick:
        print("\nA quick run shows that the example runs; its figures are those of a net that learnt little.")
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "uncertainty_images.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    draw(content, kinds, shown, test_labels, path.with_suffix(".png"))
    print(f"\nwritten to {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
