"""Every benchmark is a command with the same options, and the README shows what is published of them."""

import argparse
import importlib
import json
from pathlib import Path

import pytest

from benchmarks import all as every
from benchmarks import report

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
HELPERS = {"__init__", "all", "augmentation_peers", "augmentation_quality", "report"}


class Parsed(Exception):
    """Raised in place of parsing, with the parser."""


def options_of(main, monkeypatch):
    """The options of a command, as it would parse them."""

    def stop(parser, *args, **kwargs):
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Parsed) as caught:
        main()
    return {option: action for action in caught.value.args[0]._actions for option in action.option_strings}


def test_every_module_is_run_or_known_as_a_helper():
    modules = {path.stem for path in FOLDER.glob("*.py")} | {
        p.parent.name for p in FOLDER.glob("*/__init__.py")
    }
    assert {"batch_norm", "calibrate", "import_time", "reliability"} <= set(every.modules())
    assert modules == set(every.modules()) | HELPERS


@pytest.mark.parametrize("name", [*every.modules(), "all"])
def test_every_benchmark_can_be_tried_in_short_elsewhere(name, monkeypatch):
    package = (FOLDER / name).is_dir()
    module = importlib.import_module(f"benchmarks.{name}.__main__" if package else f"benchmarks.{name}")
    options = options_of(module.main, monkeypatch)
    assert {"--help", "--quick", "--output"} <= set(options)
    assert all(action.help for action in options.values())
    assert f"python -m benchmarks.{name}" in module.__doc__


def test_a_quick_run_leaves_what_is_published_alone(tmp_path):
    parse = report.options("").parse_args
    assert report.folder(parse([])) == report.RESULTS
    assert report.folder(parse(["--output", str(tmp_path), "--quick"])) == tmp_path
    quick = parse(["--quick"])
    temporary = report.folder(quick)
    assert temporary == report.folder(quick), "one folder for all files of a run"
    assert ROOT not in temporary.parents
    temporary.rmdir()


def test_what_is_claimed_comes_into_the_one_table(tmp_path, capsys):
    rows = [{"case": "a", "ms": 1.5}]
    claims = [
        report.claim("fast", 2.0, "times as fast", "Keras", at_least=2.5, detail=True),
        report.claim("exact", 1e-7, "off", "NumPy", at_most=1e-6, detail=True),
        report.claim("small", 3.0, "times less", "a loop"),
    ]
    report.publish("b", rows, tmp_path, claims, backend="jax")
    (tmp_path / "older.json").write_text(json.dumps({"rows": rows}))
    assert capsys.readouterr().out.startswith("case  ms\na     1.5\nwritten to ")
    assert json.loads((tmp_path / "b.json").read_text())["command"] == "python -m test_benchmarks"
    command = "python -m test_benchmarks"
    fast, exact, small = (list(row.values()) for row in report.claimed(tmp_path))
    assert fast == ["fast, on JAX", "2 times as fast", "Keras", "at least 2.5", "no", command]
    assert exact[3:5] == ["at most 1e-06", "yes"]
    assert small[3:5] == ["-", "-"]
    in_short = [row["what"] for row in report.claimed(tmp_path, details=False)]
    assert in_short == ["fast, on JAX", "small, on JAX"], "a missed goal is never a detail"


def test_every_published_file_names_a_command_that_exists():
    for path in report.RESULTS.glob("*.json"):
        content = json.loads(path.read_text())
        name = content["command"].removeprefix("python -m benchmarks.")
        assert name in every.modules(), path
        for claim in content["claims"]:
            kind, _, bound = (claim["goal"] or "").rpartition(" ")
            met = {
                "at least": claim["value"] >= float(bound or 0),
                "at most": claim["value"] <= float(bound or 0),
            }
            assert claim["reached"] == met.get(kind), (path, claim["what"])


def test_what_each_section_of_reliability_counts_is_claimed():
    from benchmarks.reliability.__main__ import claims

    counts = [
        {"section": "faults", "tried": 4, "held": 3, "of": "faults", "lost": "one"},
        {"section": "bad_inputs", "tried": 0, "held": 0, "of": "bad inputs", "lost": ""},
        {"section": "own_tests", "tried": 8, "held": 8, "of": "tests of Keras", "lost": ""},
    ]
    found = claims(counts)
    assert [(one["value"], one["reached"]) for one in found] == [(75.0, False), (100.0, True)]
    assert found[1]["peer"] == "8 tests of Keras"


def test_every_section_of_reliability_counts_what_is_published_of_it():
    from benchmarks.reliability.__main__ import COLUMNS, SECTIONS

    for row, section in zip(published("reliability"), SECTIONS, strict=True):
        assert tuple(row) == COLUMNS
        assert row["section"] == section
        counted = importlib.import_module(f"benchmarks.reliability.{section}").summary(
            published(f"reliability_{section}")
        )
        assert {column: counted.get(column, "") for column in COLUMNS[1:]} == {k: row[k] for k in COLUMNS[1:]}


def published(name):
    return json.loads((report.RESULTS / f"{name}.json").read_text())["rows"]
