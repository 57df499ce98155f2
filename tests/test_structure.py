"""How the package is put together: what an import brings, what the module shows, who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kerasreg as kr

ROOT = Path(kr.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}

# A package imports from itself and from packages of lower rows.
ROWS = (
    {"_core"},
    {
        "_tap",
        "layers",
        "initializers",
        "regularizers",
        "losses",
        "constraints",
        "metrics",
        "augment",
        "datasets",
    },
    {"batch_norm", "diagnostics", "initialization", "migration", "regularization", "sparsity"},
    {"callbacks", "uncertainty"},
    {"__init__"},
)
ROW_OF = {package: row for row, packages in enumerate(ROWS) for package in packages}


def package_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_modules(path):
    """Every module that a file imports, in functions and under TYPE_CHECKING too, as dotted names."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            # `from kerasreg import layers` imports a package, `from kerasreg.layers import Dropout` a name.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_has_a_row():
    assert {package_of(path) for path in FILES} <= set(ROW_OF)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_run_one_way(path):
    here = package_of(path)
    for module in imported_modules(path):
        top, _, rest = module.partition(".")
        if top != "kerasreg":
            continue
        there = rest.partition(".")[0]
        assert there in ROW_OF, f"{path} imports {module}"
        assert there == here or ROW_OF[there] < ROW_OF[here], f"{here} must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_the_insides_of_keras_and_tensorflow_are_imported_in_one_file(path):
    inside = [m for m in imported_modules(path) if m.startswith(("keras.src", "tensorflow.python"))]
    assert not inside or path == ROOT / "_core" / "private.py"


def names_of_our_own():
    """Every name that some file of the package defines or assigns."""
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node.name
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def test_other_peoples_private_names_are_used_in_one_file():
    ours = set(names_of_our_own()) | {"_replace", "_fields"}  # a namedtuple's public methods
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"
        for path, tree in TREES.items()
        if path != ROOT / "_core" / "private.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in ours
    ]
    assert not found


IMPORTED = """
import sys
import keras
before = set(sys.modules)
import kerasreg
print(*sorted(set(sys.modules) - before))
dir(kerasreg)
print(*sorted(name for name in sys.modules if name.startswith("kerasreg.")))
"""


def test_an_import_adds_nothing_heavy_to_that_of_keras():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=300, check=True
    )
    added, ours = (line.split() for line in done.stdout.strip().splitlines()[-2:])
    outside = {name.partition(".")[0] for name in added} - set(sys.stdlib_module_names)
    assert outside == {"kerasreg"}
    for lazy in ("augment", "batch_norm", "datasets"):
        assert f"kerasreg.{lazy}" not in ours
    # What a saved model may name is there at once.
    for eager in ("layers", "initializers", "regularizers", "constraints", "losses", "metrics", "callbacks"):
        assert f"kerasreg.{eager}" in ours


def test_the_module_shows_what_it_has_and_has_what_it_shows():
    assert dir(kr) == sorted([*kr.__all__, "__version__"])
    assert list(kr.__all__) == sorted(kr.__all__)
    for name in kr.__all__:
        assert getattr(kr, name) is not None


def test_every_namespace_is_public_or_private_by_its_name():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert {name for name in folders if not name.startswith("_")} <= set(kr.__all__)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(AttributeError) as caught:
        kr.layer
    message = str(caught.value)
    assert "'layer'" in message
    for name in kr.__all__:
        assert name in message


@pytest.mark.parametrize("namespace", [name for name in kr.__all__ if (ROOT / name / "__init__.py").exists()])
def test_a_namespace_exports_what_it_lists_and_says_what_it_is(namespace):
    module = getattr(kr, namespace)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__doc__, f"{namespace}.{name} has no docstring"
