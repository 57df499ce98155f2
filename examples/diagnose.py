"""Five trainings that go wrong: what `ActivationStats` says of each, the edit that it names, and the cure.

python examples/diagnose.py            about a minute on two cores
python examples/diagnose.py --quick    does it run?
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr

RESULTS = Path(__file__).parent / "results"
L = keras.layers
# A net that learns digits; each case spoils one of these.
HEALTHY = {
    "initializer": "he_normal",
    "activation": "relu",
    "depth": 4,
    "rate": 1e-3,
    "optimizer": "Adam",
    "normalise": True,
    "momentum": None,
}


@dataclass(frozen=True)
class Case:
    """A training with one fault.

    Args:
        title: What is wrong, as one who knows would say.
        spoilt: The settings that make it so.
        code: The finding that names it.
        cure: From the finding's remedy to other settings.
    """

    title: str
    spoilt: dict[str, Any]
    code: str
    cure: Callable[[str], dict[str, Any]]


def number(pattern: str, remedy: str) -> float:
    """The number that a remedy names."""
    return float(re.search(pattern + r"([0-9.e-]*[0-9])", remedy)[1])


CASES = {
    "zeros": Case(
        "All weights begin at zero",
        {"initializer": "zeros"},
        "zero-kernel",
        lambda remedy: {"initializer": "calibrated"},
    ),
    "rate": Case(
        "The learning rate is a hundred times too high",
        {"rate": 0.1},
        "updates-too-large",
        lambda remedy: {"rate": number("try ", remedy)},
    ),
    "sigmoids": Case(
        "Six layers of sigmoids",
        {
            "activation": "sigmoid",
            "initializer": "glorot_uniform",
            "depth": 6,
            "optimizer": "SGD",
            "rate": 0.1,
        },
        "vanishing-gradient",
        lambda remedy: {"activation": "relu", "initializer": "calibrated"},
    ),
    "bytes": Case(
        "Pixels from 0 to 255, as they are",
        {"normalise": False, "optimizer": "SGD", "rate": 0.01},
        "unnormalized-input",
        lambda remedy: {"normalise": True},
    ),
    "norm": Case(
        "A batch norm whose moving averages are frozen",
        {"momentum": 1.0, "depth": 2, "rate": 3e-3},
        "batch-norm-drift",
        lambda remedy: {"momentum": number("momentum=", remedy)},
    ),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="which of them")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the digits")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    parser.add_argument("--output", type=Path, default=None, help="folder for the JSON file")
    parser.add_argument("--quick", action="store_true", help="three epochs: does it run?")
    args = parser.parse_args()
    if args.quick:
        args.epochs = 3
    return args


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits as rows of pixels in [0, 255], with their labels."""
    pairs = list(kr.datasets.load("digits", split).as_numpy_iterator())
    images = np.stack([image for image, _ in pairs]).reshape(len(pairs), -1).astype("float32")
    return images, np.array([label for _, label in pairs])


def build(settings: dict[str, Any], pixels: np.ndarray) -> keras.Model:
    """A net with these settings, compiled."""
    layers: list[Any] = [keras.Input((pixels.shape[1],), name="pixels")]
    if settings["normalise"]:
        # One scale for all pixels: those that are always 0 stay 0.
        layers.append(L.Rescaling(1.0 / pixels.std(), -pixels.mean() / pixels.std(), name="scale"))
    for i in range(settings["depth"]):
        initializer = settings["initializer"]
        if initializer == "calibrated":
            initializer = kr.initializers.Calibrated(settings["activation"])
        norm = settings["momentum"] is not None
        activation = None if norm else settings["activation"]
        layers.append(L.Dense(64, activation, kernel_initializer=initializer, name=f"hidden{i}"))
        if norm:
            momentum = settings["momentum"] if i == 0 else 0.9
            layers.append(L.BatchNormalization(momentum=momentum, name=f"norm{i}"))
            layers.append(L.Activation(settings["activation"], name=f"act{i}"))
    model = keras.Sequential([*layers, L.Dense(10, name="out")])
    optimizer = getattr(keras.optimizers, settings["optimizer"])(settings["rate"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def train(settings: dict[str, Any], data: Any, args: argparse.Namespace) -> dict[str, Any]:
    """One training: accuracies and losses at its end, and what was found, in the words that `fit` printed."""
    (x, y), test = data
    keras.utils.set_random_seed(args.seed)
    model = build(settings, x)
    stats = kr.callbacks.ActivationStats(every=5, gradients=True)
    # What it prints in the course of `fit` is shown below, one thing at a time.
    with contextlib.redirect_stdout(io.StringIO()):
        past = model.fit(
            x,
            y,
            validation_data=test,
            batch_size=64,
            epochs=args.epochs,
            verbose=0,
            callbacks=[stats],
        ).history
    return {
        "accuracy": past["accuracy"][-1],
        "new_accuracy": past["val_accuracy"][-1],
        "loss": past["loss"][-1],
        "new_loss": past["val_loss"][-1],
        "findings": [finding.to_dict() for finding in stats.findings if finding.severity != "note"],
    }


def words(text: str, indent: str = "     ") -> str:
    return textwrap.fill(
        text,
        96,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def study(name: str, data: Any, args: argparse.Namespace, bar: keras.utils.Progbar) -> dict[str, Any]:
    """Train it sick, make the edit that the finding names, train it again."""
    case = CASES[name]
    settings = {**HEALTHY, **case.spoilt}
    sick = train(settings, data, args)
    bar.add(1)
    changed = cured = None
    if named := finding_of(case, sick):
        cured_settings = {**settings, **case.cure(named["remedy"])}
        changed = {k: v for k, v in cured_settings.items() if settings[k] != v}
        cured = train(cured_settings, data, args)
    bar.add(1)
    return {"case": name, "title": case.title, "sick": sick, "edit": changed, "cured": cured}


def finding_of(case: Case, trained: dict[str, Any]) -> dict[str, Any] | None:
    """The first finding that names the fault."""
    return next((found for found in trained["findings"] if found["code"] == case.code), None)


def tell(number: int, row: dict[str, Any], args: argparse.Namespace) -> None:
    """One case in words: what one sees, what is wrong, what to do, what came of it."""
    case, sick, cured = CASES[row["case"]], row["sick"], row["cured"]
    print(f"\n{number}. {case.title}")
    seen = (
        f"What one sees: after {args.epochs} epochs {sick['accuracy']:.1%} of the training digits are right "
        f"and {sick['new_accuracy']:.1%} of new ones, with losses of {sick['loss']:.3g} and "
        f"{sick['new_loss']:.3g}."
    )
    print(words(seen, "   "))
    named = finding_of(case, sick)
    if named is None:
        print("   Nothing that names the fault was found.")
        return
    print("   What is wrong:")
    print(words(named["message"]))
    more = sorted({f["code"] for f in sick["findings"] if f["code"] != case.code})
    if more:
        print(words(f"(With it came {', '.join(more)}.)"))
    print("   What to do:")
    print(words(named["remedy"]))
    left = [f"{f['code']} in {f['layer']}" for f in cured["findings"]]
    done = ", ".join(f"{k}={v}" for k, v in row["edit"].items())
    state = f"left: {', '.join(left)}." if left else "nothing wrong is found any more."
    result = f"{cured['accuracy']:.1%} right, of new digits {cured['new_accuracy']:.1%}; {state}"
    print(words(f"Done ({done}): {result}", "   "))


def learned(rows: list[dict[str, Any]]) -> str:
    """What the figures say."""
    lines = ["What was learned:"]
    found = [row for row in rows if row["cured"]]
    healthy = [row for row in found if not row["cured"]["findings"]]
    lines.append(
        f"- {len(found)} of {len(rows)} faults were named; after the edit that each finding names, "
        f"{len(healthy)} of {len(found)} trainings have no finding."
    )
    if found:
        worst = min(found, key=lambda row: row["cured"]["new_accuracy"])
        gains = {row["title"]: row["cured"]["new_accuracy"] - row["sick"]["new_accuracy"] for row in found}
        most = max(gains, key=gains.__getitem__)
        least = min(gains, key=gains.__getitem__)
        lines.append(f"- The edits took new digits to {worst['cured']['new_accuracy']:.1%} or better.")
        lines.append(f'- Most was gained where "{most}": {100 * gains[most]:.0f} points.')
        lines.append(
            f'- Least where "{least}": {100 * gains[least]:.0f} points. '
            "A fault need not show in the accuracy to be one."
            if gains[least] < 0.1
            else f'- Least where "{least}": {100 * gains[least]:.0f} points.'
        )
    fine = [row for row in found if row["sick"]["accuracy"] > 0.9]
    lines += [
        f'- "{row["title"]}" does not show in training: {row["sick"]["accuracy"]:.1%} of its digits '
        f"are right, {row['sick']['new_accuracy']:.1%} of new ones."
        for row in fine
        if row["sick"]["new_accuracy"] < row["sick"]["accuracy"] - 0.1
    ]
    return "\n".join(textwrap.fill(line, 100, subsequent_indent="  ") for line in lines)


def main() -> None:
    args = parse()
    # A quick run never replaces what is published.
    args.output = args.output or (Path("runs", "diagnose_quick") if args.quick else RESULTS)
    data = digits("train"), digits("test")
    backend = keras.backend.backend()
    print(f"digits: {len(data[0][0])} to learn from, {len(data[1][0])} new ones; Keras on {backend}")
    bar = keras.utils.Progbar(2 * len(args.cases), unit_name="training")
    rows = [study(name, data, args, bar) for name in args.cases]
    for number, row in enumerate(rows, 1):
        tell(number, row, args)
    print(f"\n{learned(rows)}")
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "diagnose.json"
    # A loss that is no number is null: JSON knows no NaN.
    text = json.dumps({"epochs": args.epochs, "seed": args.seed, "cases": rows}, indent=1)
    path.write_text(re.sub(r"\b(NaN|-?Infinity)\b(?=[,\n])", "null", text) + "\n")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
