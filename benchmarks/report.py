"""What every benchmark begins and ends with: the same options; a table for people and JSON for machines."""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("what", "measured", "peer", "goal", "reached", "command")

Row = dict[str, Any]


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: `--quick` and `--output`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="smallest sizes and few repeats, to see that it runs"
    )
    where = "benchmarks/results, with --quick a new temporary folder"
    parser.add_argument("--output", type=Path, default=None, help=f"folder of the JSON files ({where})")
    return parser


def folder(arguments: argparse.Namespace) -> Path:
    """Where this run's results go: a quick run never replaces what is published."""
    if arguments.output is None:
        quick = arguments.quick
        arguments.output = Path(tempfile.mkdtemp(prefix="kerasreg-benchmarks-")) if quick else RESULTS
    return arguments.output


def claim(
    what: str,
    value: float,
    unit: str,
    peer: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    detail: bool = False,
) -> Row:
    """One line of the table of `benchmarks.all`.

    Args:
        what: What was done, and on what.
        value: The figure, a ratio to the peer where there is one.
        unit: What the figure counts, `"times as fast"` say.
        peer: Who or what stands beside it, by name.
        at_least: The goal, where more is better.
        at_most: The goal, where less is better.
        detail: The README leaves it out, unless its goal is missed.
    """
    found = {"what": what, "value": float(value), "unit": unit, "peer": peer, "detail": detail}
    if at_least is not None:
        return found | {"goal": f"at least {at_least:g}", "reached": bool(value >= at_least)}
    if at_most is not None:
        return found | {"goal": f"at most {at_most:g}", "reached": bool(value <= at_most)}
    return found | {"goal": None, "reached": None}


def publish(
    name: str, rows: Sequence[Row], folder: Path = RESULTS, claims: Sequence[Row] = (), **facts: Any
) -> None:
    """Print the rows as a table and write them to `benchmarks/results/NAME.json`, or to another folder.

    The file also tells the command: `python -m` the module that called this. The claims are what
    `benchmarks.all` shows of it.
    """
    print(table(rows))
    caller = inspect.currentframe().f_back.f_globals
    module = (
        caller["__spec__"].name if caller.get("__spec__") else f"benchmarks.{Path(caller['__file__']).stem}"
    )
    command = {"command": f"python -m {module.removesuffix('.__main__')}"}
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {**command, **machine, **facts, "claims": list(claims), "rows": list(rows)}
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def table(rows: Sequence[Row]) -> str:
    """Rows of the same columns, in columns."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def claimed(folder: Path, details: bool = True) -> list[Row]:
    """The claims of every JSON file of a folder, in the columns of the one table.

    Without details, of those that reach their goals only the main ones.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        elsewhere = content.get("backend", "tensorflow") != "tensorflow"
        for one in content.get("claims", ()):
            if one["detail"] and one["reached"] is not False and not details:
                continue
            values = (
                f"{one['what']}, on {content['backend'].upper()}" if elsewhere else one["what"],
                f"{one['value']:.3g} {one['unit']}",
                one["peer"],
                one["goal"] or "-",
                {True: "yes", False: "no", None: "-"}[one["reached"]],
                content["command"],
            )
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return found


def markdown(rows: Sequence[Row]) -> str:
    """The one table as the README shows it."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS)]
    lines += [[*list(row.values())[:-1], f"`{row['command']}`"] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
