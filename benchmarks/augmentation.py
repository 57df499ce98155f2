"""Image augmentation in tf.data beside Keras' layers, albumentations and kornia: interleaved, medians.

python -m benchmarks.augmentation            under four minutes on two cores
python -m benchmarks.augmentation --quick    does it run?

uint8 in, float32 out, the same nine transforms everywhere: flip, rotation, zoom, translation, shear,
brightness, contrast, saturation, hue. Peers that are not installed are left out
(`pip install -e '.[benchmarks]'`). What each peer is given, and how datasets are timed:
`benchmarks.augmentation_peers`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # It asks the network for its newest version.

from benchmarks import augmentation_peers as peers
from benchmarks import augmentation_quality as quality
from benchmarks.report import claim, folder, options, publish

Row = dict[str, Any]


class Size(NamedTuple):
    """Images of one size: how many in a batch, how many batches a turn, and the goals."""

    pixels: int
    batch: int
    batches: int
    keras: float | None
    albumentations: float


SIZES = (Size(224, 64, 24, 40.0, 2.0), Size(96, 64, 100, None, 2.5), Size(32, 64, 500, None, 4.0))
MOST_FOR_TEN, LEAST_RANDAUGMENT = 1.3, 30.0
PEERS = {"Keras": "Keras' layers", "albumentations": "albumentations", "kornia": "kornia"}


def against(case: str, ours: float, peer: float, goal: float | None) -> Row:
    """Images per second, and how many times as many ours are."""
    return {
        "case": case,
        "ours": ours,
        "other": peer,
        "ratio": ours / peer,
        "goal": "" if goal is None else f"at least {goal:g}",
        "reached": "" if goal is None else bool(ours / peer >= goal),
    }


def at_most(case: str, ours: float, other: float, goal: float) -> Row:
    """A figure of ours in units of another, which it is not to exceed by more than so many times."""
    ratio = ours / other
    return {"case": case, "ours": ours, "other": other, "ratio": ratio} | {
        "goal": f"at most {goal:g}",
        "reached": bool(ratio <= goal),
    }


def speed(size: Size, rounds: int, parts: bool) -> tuple[list[Row], dict[str, float]]:
    """One size: the rows, and the images per second of everybody."""
    from kerasreg import augment

    batch = peers.images(size.pixels, size.batch)
    geometry, colors = peers.geometry, peers.colors
    few = max(2, size.batches // 12)
    with ExitStack() as stack:
        contenders = {"ours": peers.ours(batch, size.batches, geometry() + colors())}
        if peers.has("albumentations"):
            for name in ("serially", "in_threads", "in_processes"):
                make = getattr(peers, f"albumentations_{name}")
                contenders[f"albumentations {name.replace('_', ' ')}"] = stack.enter_context(
                    make(batch, max(2, size.batches // 2))
                )
        contenders["keras"] = peers.keras_in_tf_data(batch, few, peers.keras_layers())
        if peers.has("kornia"):
            contenders["kornia"] = peers.kornia(batch, max(1, few // 4))
        contenders["cast"] = peers.cast(batch, 2 * size.batches)
        if parts:
            contenders |= {
                "nothing but numbered": peers.numbered(batch, 2 * size.batches),
                "flip": peers.ours(batch, size.batches, geometry()[:1]),
                "colours": peers.ours(batch, size.batches, colors()),
                "one warp": peers.ours(batch, size.batches, geometry()),
                "all nine in batches of 16": peers.ours(batch[:16], 2 * size.batches, geometry() + colors()),
                "all nine in batches of 1": peers.ours(batch[:1], 8 * size.batches, geometry() + colors()),
                "called, without tf.data": peers.called(batch, size.batches, geometry() + colors()),
                "rotation, brightness": peers.ours(
                    batch,
                    size.batches,
                    [
                        augment.RandomRotation(peers.ROTATION),
                        augment.RandomBrightness(peers.BRIGHTNESS),
                    ],
                ),
                "ten": peers.ours(
                    batch, size.batches, [*geometry(), *colors(), augment.RandomGrayscale(0.1)]
                ),
            }
        found = peers.interleaved(contenders, rounds)
    name = f"{size.pixels} px, nine transforms, images/s"
    rows = [against(f"{name}: Keras", found["ours"], found["keras"], size.keras)]
    rivals = {key: value for key, value in found.items() if key.startswith("albumentations")}
    if rivals:
        best = max(rivals, key=rivals.get)
        rows.append(against(f"{name}: {best}", found["ours"], found[best], size.albumentations))
    if "kornia" in found:
        rows.append(against(f"{name}: kornia", found["ours"], found["kornia"], None))
    return rows, found


def between_floor_and_us(pixels: int, found: dict[str, float]) -> list[Row]:
    """What an image costs more than the cast alone, part by part, in images per second."""
    name = f"{pixels} px, images/s"
    rows = [
        against(f"{name}: the floor, a cast in tf.data", found["ours"], found["cast"], None),
        *(
            against(f"{name}: {part}", found["ours"], found[part], None)
            for part in (
                "nothing but numbered",
                "flip",
                "colours",
                "one warp",
                "all nine in batches of 16",
                "all nine in batches of 1",
                "called, without tf.data",
            )
        ),
    ]
    rows.append(
        at_most(
            f"{pixels} px, us/image: ten transforms, rotation and brightness",
            1e6 / found["ten"],
            1e6 / found["rotation, brightness"],
            MOST_FOR_TEN,
        )
    )
    return rows


def randaugment(pixels: int, batch: int, batches: int, rounds: int) -> tuple[list[Row], dict[str, float]]:
    """Two operations drawn for each image, beside two drawn for each batch."""
    from kerasreg import augment

    images = peers.images(pixels, batch)
    found = peers.interleaved(
        {
            "ours": peers.ours(images, batches, [augment.RandAugment()]),
            "keras": peers.keras_in_tf_data(images[: batch // 2], 2, peers.keras_randaugment()),
        },
        rounds,
    )
    case = f"{pixels} px, RandAugment(2), images/s: Keras"
    return [against(case, found["ours"], found["keras"], LEAST_RANDAUGMENT)], found


def claims(rows: list[Row]) -> list[Row]:
    """Every ratio to another library, and what else has a goal."""
    found = []
    for row in rows:
        case, _, other = row["case"].rpartition(": ")
        what = f"augment.Pipeline, {case.partition(', images/s')[0].replace(' px,', ' pixels,')}"
        goal = float(str(row["goal"]).split()[-1]) if row["goal"] else None
        library, _, how = other.partition(" ")
        if library in PEERS and "images/s" in case:
            unit, peer = "times as many images a second", f"{PEERS[library]} {how}".strip()
            detail = case.startswith("96") or (library == "kornia" and not case.startswith("224"))
            found.append(claim(what, row["ratio"], unit, peer, at_least=goal, detail=detail))
        elif "ten transforms" in other:
            what = "augment.Pipeline, ten transforms"
            found.append(
                claim(what, row["ratio"], "times the time", "two of them", at_most=goal, detail=True)
            )
        elif "largest error" in other:
            unit, peer = "grey levels off at most", f"one transform at a time: {row['other']:.3g}"
            found.append(claim(what, row["ours"], unit, peer, at_most=goal))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timings of each contender")
    parser.add_argument(
        "--sizes", type=int, nargs="+", choices=[s.pixels for s in SIZES], help="of the images"
    )
    args = parser.parse_args()
    sizes = [size for size in SIZES if args.sizes is None or size.pixels in args.sizes]
    if args.quick:
        args.rounds, sizes = 1, [SIZES[-1]._replace(batch=8, batches=4)]
    rows: list[Row] = []
    rates: dict[str, Any] = {}
    for number, size in enumerate(sizes):
        parts = number == 0 and not args.quick  # Each is compiled on its own.
        more, found = speed(size, args.rounds, parts)
        rows += more
        rates[f"{size.pixels} px"] = found
        if parts:
            rows += between_floor_and_us(size.pixels, found)
    first = sizes[0]
    more, found = randaugment(first.pixels, first.batch, first.batches, min(args.rounds, 3))
    rows += more
    rates["RandAugment(2)"] = found
    if not args.quick:  # Four processes more; the peak of so few images is lost in that of the compiler.
        rows += quality.memory(first.pixels, first.batch)
        rows += quality.compilation(first.pixels, first.batch)
    rows += quality.round_trip(first.pixels)
    facts = {"rounds": args.rounds, "images per second": rates, **quality.versions()}
    publish("augmentation", rows, folder(args), claims(rows), **facts)
    missed = [row["case"] for row in rows if row["reached"] is False]
    print(f"goals missed: {'; '.join(missed)}" if missed else "every goal reached")


if __name__ == "__main__":
    main()
