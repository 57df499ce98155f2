"""Every Python block of the README runs, in order, as one program, and prints what the README says."""

import json
import re
from pathlib import Path

import keras

from benchmarks.report import RESULTS, claimed, markdown

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"(?<![A-Za-z_\d])[-+]?\d[\d.]*(e[-+]?\d+)?%?")


def shape(text):
    """What is printed on every machine: the words. Numbers differ by rounding, lines may be broken anew."""
    return " ".join(NUMBER.sub("#", text).split())


def test_the_blocks_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", README, flags=re.DOTALL)
    assert len(blocks) >= 15
    monkeypatch.chdir(tmp_path)
    # Keras numbers the names of layers through a whole process.
    keras.utils.clear_session()
    names = {}
    for block, said in blocks:
        exec(compile(block, "README.md", "exec"), names)
        found = capsys.readouterr().out
        assert ("print(" in block) == bool(said), block
        assert shape(found) == shape(said)
        if "explain()" in block:
            assert found == said, "these lines have no rounding"
    assert names["prediction"].mean.shape == (360, 10)
    assert names["prediction"].std.max() > 0
    assert (tmp_path / "runs" / "readme" / "activations.jsonl").read_text()


def test_the_table_is_what_is_published():
    """To mend it: `python -m benchmarks.all --committed --markdown`, between the two comments."""
    shown = re.search(r"--markdown -->\n(.*?)\n<!-- end of the table -->", README, flags=re.DOTALL)[1]
    assert shown == markdown(claimed(RESULTS, details=False))


def test_the_table_of_reliability_is_what_is_published():
    for row in json.loads((RESULTS / "reliability.json").read_text())["rows"]:
        assert f"| {' | '.join(str(cell) for cell in row.values())} |" in README


def test_what_is_linked_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert (Path(__file__).parent.parent / link).exists(), link
