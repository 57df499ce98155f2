"""Every Python block of the README runs, in order, as one program."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_blocks_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
        if "print(pipeline.explain())" in block:
            assert f"```text\n{names['pipeline'].explain()}\n```" in README.read_text(encoding="utf-8")
    assert names["prediction"].mean.shape == (360, 10)
    assert names["prediction"].std.max() > 0
    assert (tmp_path / "runs" / "readme" / "activations.jsonl").read_text()
    assert "healthy" in capsys.readouterr().out
