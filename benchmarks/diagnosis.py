"""How many sick trainings `ActivationStats` finds out, at the right layer, and what it says of healthy ones.

python -m benchmarks.diagnosis                       digits
python -m benchmarks.diagnosis --data-dir FOLDER     Fashion-MNIST out of its four IDX files
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasreg as kr
from benchmarks.report import claim, folder, options, publish

FOLDER = Path(__file__).parents[1] / "tests"
LOUD = ("warning", "error")
QUICK = 1


def fashion(folder: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The first training images of Fashion-MNIST, every second pixel, in [0, 1]."""
    data = kr.datasets.load("fashion_mnist", "train", data_dir=folder)
    pairs = list(data.take(rows).as_numpy_iterator())
    images = np.stack([image for image, _ in pairs])[:, ::2, ::2].reshape(len(pairs), 14, 14, 1)
    return (images / 255.0).astype("float32"), np.array([int(label) for _, label in pairs])


def judged(train: Any) -> list[kr.diagnostics.Finding]:
    """The findings of a training, in silence."""
    keras.utils.set_random_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        findings = train().findings
    keras.backend.clear_session()
    return findings


def checked(make: Any) -> tuple[Any, Any]:
    """A model of the zoo of `kr.check`, as a training."""
    case = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # At a rate that would heal some of the sick ones nothing would be left to be found.
    optimizer = keras.optimizers.Adam(1e-7) if case.findings else keras.optimizers.Adam(1e-3)
    case.model.compile(optimizer, loss)
    stats = kr.callbacks.ActivationStats(every=1, gradients=True)

    def train() -> Any:
        case.model.fit(case.x, case.y, batch_size=16, epochs=2, verbose=0, callbacks=[stats])
        return stats

    return case, train


def row(zoo: str, name: str, wanted: Any, findings: list, ok: bool, start: float) -> dict[str, Any]:
    said = "; ".join(f"{f.severity} {f.code} in {f.layer}" for f in findings) or "nothing"
    print(f"{'ok ' if ok else 'NOT'} {zoo}: {name}: {said} ({time.perf_counter() - start:.0f} s)", flush=True)
    return {"zoo": zoo, "training": name, "wanted": wanted, "said": said, "right": ok}


def some(members: dict[str, Any], quick: bool) -> list[tuple[str, Any]]:
    """Names and makers of a zoo, or the first of them."""
    return list(members.items())[: QUICK if quick else None]


def claims(summary: list[dict[str, Any]], data: str) -> list[dict[str, Any]]:
    """What share of each zoo is told right."""
    found = []
    for row in summary:
        zoo, _, kind = row["trainings"].rpartition(", ")
        what = "faults told right" if kind == "sick" else "left in peace"
        kind = f"{kind} trainings" + (" of kr.check's models" if zoo else f" on {data}")
        share = 100 * row["told right"] / row["of"]
        peer, what = f"{row['of']} {kind}", f"ActivationStats, {what}"
        found.append(claim(what, share, "%", peer, at_least=100, detail=bool(zoo)))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--data-dir", type=Path, default=None, help="folder with Fashion-MNIST's IDX files")
    parser.add_argument("--rows", type=int, default=6000, help="of Fashion-MNIST")
    parser.add_argument("--epochs", type=int, default=5, help="of each training")
    parser.add_argument("--only", default="*", help="a pattern of names")
    parser.add_argument("--zoo", choices=["sick", "healthy", "check"], help="this alone")
    args = parser.parse_args()
    sys.path.insert(0, str(FOLDER))
    import model_zoo
    import training_zoo

    rows: list[dict[str, Any]] = []
    data = training_zoo.digits() if args.data_dir is None else fashion(args.data_dir, args.rows)
    for zoo, members in (("sick", training_zoo.SICK), ("healthy", training_zoo.HEALTHY)):
        for name, make in some(members, args.quick) if args.zoo in (None, zoo) else ():
            if not fnmatchcase(name, args.only):
                continue
            start = time.perf_counter()
            keras.utils.set_random_seed(0)
            run = make(*data)
            findings = judged(lambda run=run: run.train(epochs=args.epochs, every=5))
            hits = [f for f in findings if f.code == run.code]
            ok = bool(hits) and hits[0].layer in run.layers
            if zoo == "healthy":
                ok = not any(f.severity in LOUD for f in findings)
            wanted = f"{run.code} in {' or '.join(run.layers)}" if run.code else "nothing"
            rows.append(row(zoo, name, wanted, findings, ok, start))
    if args.data_dir is None:
        for zoo, members in (("check, sick", model_zoo.SICK), ("check, healthy", model_zoo.HEALTHY)):
            for name, make in some(members, args.quick) if args.zoo in (None, "check") else ():
                if not fnmatchcase(name, args.only):
                    continue
                start = time.perf_counter()
                keras.utils.set_random_seed(0)
                case, train = checked(make)
                findings = judged(train)
                said = {(f.code, f.layer) for f in findings}
                ok = case.findings <= said if case.findings else not any(f.severity in LOUD for f in findings)
                wanted = "; ".join(f"{code} in {layer}" for code, layer in case.findings) or "nothing"
                rows.append(row(zoo, name, wanted, findings, ok, start))
    backend = keras.backend.backend()
    suffix = ("" if backend == "tensorflow" else f"_{backend}") + (
        "" if args.data_dir is None else "_fashion"
    )
    summary = []
    for zoo in dict.fromkeys(r["zoo"] for r in rows):
        own = [r for r in rows if r["zoo"] == zoo]
        right = sum(r["right"] for r in own)
        goal = "all" if "sick" in zoo else "all in peace"
        summary.append({"trainings": zoo, "told right": right, "of": len(own), "goal": goal})
    if args.only == "*" and args.zoo is None:
        facts = {"backend": backend, "epochs": args.epochs, "trainings": rows}
        told = claims(summary, "digits" if args.data_dir is None else "Fashion-MNIST")
        publish(f"diagnosis{suffix}", summary, folder(args), told, **facts)
    else:
        print(*summary, sep="\n")


if __name__ == "__main__":
    main()
