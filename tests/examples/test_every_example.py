"""Every example is a command that can be tried in short, shows how far it is, ends with what was learned."""

import argparse
import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if not path.stem.endswith("_report"))


class Parsed(Exception):
    """Raised in place of parsing, with the parser."""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_example_has_the_same_face(path, monkeypatch):
    def stop(parser, *args, **kwargs):
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"{path.stem}_by_inspection", path)
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look it up.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with pytest.raises(Parsed) as caught:
        module.main()
    options = {option: a for a in caught.value.args[0]._actions for option in a.option_strings}
    assert {"--help", "--quick"} <= set(options)
    assert all(action.help for action in options.values())
    # Into the folder of the published results only in full.
    for name in {"--output", "--out", "--log-dir"} & set(options):
        assert FOLDER not in Path(options[name].default or "runs").resolve().parents
    own = path.read_text(encoding="utf-8")
    reports = [r.read_text(encoding="utf-8") for r in FOLDER.glob("*_report.py") if r.stem in own]
    # Or the one sentence that was put to the test, and whether it held.
    assert any(words in text for text in (own, *reports) for words in ("What was learned", "DID NOT HOLD"))
    # Where other processes do the work there is a line, at once, for each of them.
    bars = ("Progbar(", "callbacks=[stats])  # with Keras' own bar", "flush=True")
    assert any(bar in own for bar in bars)
    assert f"`python examples/{path.name}" in (FOLDER / "README.md").read_text(encoding="utf-8")
