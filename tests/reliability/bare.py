"""What only writes files, without Keras: a process that can be started and killed many times.

python tests/reliability/bare.py lines|events|picture FOLDER
"""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).parents[2] / "kerasreg"


def without_keras():
    """Let modules of the package be imported alone: packages whose `__init__` does nothing."""
    for name in ("", ".callbacks", "._core"):
        package = types.ModuleType(f"kerasreg{name}")
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
        sys.modules[f"kerasreg{name}"] = package


def lines(folder):
    """Lines of a hundred kilobytes, each whole only if its end is there, without an end."""
    from kerasreg.callbacks.whole_append import append

    number = 0
    while True:
        append(folder / "activations.jsonl", b'{"step": %d, "layers": "%s"}\n' % (number, b"x" * 100_000))
        number += 1


def events(folder):
    """An event file with a scalar at each step and much text, without an end."""
    from kerasreg.callbacks import event_values
    from kerasreg.callbacks.event_file import EventFile

    file, step = EventFile(folder), 0
    while True:
        file.add(step, [event_values.scalar("a", float(step)), event_values.text("page", "x" * 100_000)])
        step += 1


def picture(folder):
    """One picture, drawn over and over again."""
    from matplotlib.figure import Figure

    from kerasreg._core.whole_file import save_figure

    figure = Figure()
    figure.subplots().plot([0, 1])
    while True:
        save_figure(figure, folder / "picture.png")


if __name__ == "__main__":
    without_keras()
    {"lines": lines, "events": events, "picture": picture}[sys.argv[1]](Path(sys.argv[2]))
