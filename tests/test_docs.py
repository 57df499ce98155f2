"""The pages name everything there is, and nothing that is not; that they build is `make docs`' to show."""

import re
from importlib import import_module
from pathlib import Path

import keras
import pytest

import kerasreg

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NAMESPACES = sorted(
    name
    for name in kerasreg.__all__
    if (ROOT / "kerasreg" / name).is_dir() and not (ROOT / "kerasreg" / f"{name}.py").exists()
)
COLUMN = re.compile(r"`(kr\.[\w.]+)`")


def resolved(path):
    thing = kerasreg
    for name in path.split(".")[1:]:
        thing = getattr(thing, name)
    return thing


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_namespace_has_its_page(namespace):
    page = (DOCS / "api" / f"{namespace}.md").read_text()
    assert f"::: kerasreg.{namespace}\n" in page
    assert f"api/{namespace}.md" in (ROOT / "mkdocs.yml").read_text()
    # A function in a module of its own name is hidden behind that module, and has to be asked for.
    for name in import_module(f"kerasreg.{namespace}").__all__:
        if (ROOT / "kerasreg" / namespace / f"{name}.py").exists():
            assert f"::: kerasreg.{namespace}.{name}.{name}\n" in page


def test_the_first_pages_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "index.md").read_text(), re.S)
    assert blocks
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["prediction"].std.shape == (360, 10)


def test_the_recipe_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    training, reading = re.findall(r"```python\n(.*?)```", (DOCS / "resuming.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    fit, epochs = keras.Model.fit, []

    class Plug(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)

        def on_train_batch_end(self, batch, logs=None):
            if (epochs[-1], batch, len(epochs)) == (2, 4, 3):
                raise RuntimeError("pulled the plug")

    def plugged(model, *args, callbacks, **kwargs):
        return fit(model, *args, callbacks=[*callbacks, Plug()], **kwargs)

    monkeypatch.setattr(keras.Model, "fit", plugged)
    with pytest.raises(RuntimeError, match="plug"):
        exec(training, {})
    names = {}
    exec(training, names)
    assert epochs == [0, 1, 2, 2, 3, 4, 5]
    assert int(names["model"].optimizer.iterations) == 60
    assert names["backup"].epoch == 6
    exec(reading, names)
    assert list(names["steps"]) == [0, 1, 10, 20, 21, 30, 40, 50]


@pytest.mark.parametrize("page", ["coming_from.md", "api/index.md"])
def test_every_name_of_ours_in_a_table_exists(page):
    names = COLUMN.findall((DOCS / page).read_text())
    assert names
    for name in names:
        assert callable(resolved(name)) or name.removeprefix("kr.") in NAMESPACES, name


def test_every_name_of_keras_in_the_table_exists():
    for path in re.findall(r"`keras\.([\w.]+)", (DOCS / "coming_from.md").read_text()):
        thing = keras
        for name in path.split("."):
            thing = getattr(thing, name)


def test_every_file_that_the_design_notes_name_exists():
    text = (DOCS / "design.md").read_text()
    files = [
        name
        for line in re.findall(r"\*Where:\*(.*?)\n(?:\n|$)", text, re.S)
        for name in re.findall(r"`(.*?)`", line)
    ]
    assert len(files) > 8
    for name in files:
        assert (ROOT / "kerasreg" / name).exists(), name


def test_ruff_has_one_version_everywhere():
    pinned = {
        *re.findall(r"ruff ?==? ?([\d.]+)", (ROOT / "setup.cfg").read_text()),
        *re.findall(r"ruff==([\d.]+)", (ROOT / "Makefile").read_text()),
        *re.findall(r"ruff-pre-commit\n *rev: v([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text()),
    }
    assert len(pinned) == 1
