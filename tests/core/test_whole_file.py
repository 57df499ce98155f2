"""A file is replaced whole or not at all."""

import io
from contextlib import suppress

import pytest

from kerasreg._core.whole_file import replacing, save_figure


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with suppress(KeyboardInterrupt), replacing(path) as file:
        file.write_text("half")
        assert path.read_text() == "before"
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_linked_to_is_replaced(tmp_path):
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as file:
        file.write_text("after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"


class Figure:
    """What `save_figure` uses of matplotlib's."""

    canvas = property(lambda self: self)

    def get_default_filetype(self):
        return "png"

    def savefig(self, path, format="?", **arguments):
        (path.write if hasattr(path, "write") else path.write_text)(f"{format} {arguments}")


@pytest.mark.parametrize(("name", "file", "kind"), [("a.svg", "a.svg", "svg"), ("a", "a.png", "png")])
def test_a_picture_has_the_format_of_its_ending(tmp_path, name, file, kind):
    save_figure(Figure(), str(tmp_path / name), dpi=7)
    assert (tmp_path / file).read_text() == f"{kind} {{'dpi': 7}}"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_open_file_takes_a_picture_too():
    file = io.StringIO()
    save_figure(Figure(), file)
    assert file.getvalue() == "? {}"
