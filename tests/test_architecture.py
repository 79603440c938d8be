"""The house of docs/design.md: which floor may import which, and a few rules about files."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fastmat

PACKAGE = Path(fastmat.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))
LINES = 450

# What each floor may import, besides itself.
BELOW = {
    "core": set(),
    "cpu": {"core"},
    "cuda": {"core"},
    "ops": {"cpu", "cuda", "core"},
    "overloads": {"ops", "cpu", "core"},  # ops only for the functions that are overloaded
}
FORBIDDEN_BY_THE_FLOOR = {"ops": {"numba", "llvmlite"}}


def imports(path):
    """Every module that a file imports, at its head or within a function."""
    package = ("fastmat", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found.update(arg.value for arg in node.args if isinstance(arg, ast.Constant))
    return found


def floor(module):
    """The part of fastmat that a module belongs to; None for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "fastmat" and len(parts) > 1 else None


def test_imports_are_seen(tmp_path):
    """The reader of imports itself, on every spelling."""
    path = PACKAGE / "cpu" / "example.py"
    source = """
import fastmat.a.b
from fastmat.c import d
def lazy():
    from fastmat import e
    from ..f import g
    from . import h
    importlib.import_module("fastmat.i")
"""

    class Example(type(path)):
        def read_text(self, encoding):
            return source

    assert {floor(name) for name in imports(Example(path))} - {None} == set("aceif") | {"cpu"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows_run_down_only(path):
    parts = path.relative_to(PACKAGE).parts
    here = parts[0] if len(parts) > 1 else None
    if here not in BELOW:
        return  # the front door and the command line stand above all floors
    modules = imports(path)
    public = {"__version__"}  # what any floor may ask of the package itself
    floors = {floor(module) for module in modules} - {None, here} - public
    assert floors <= BELOW[here], f"{here} imports {sorted(floors - BELOW[here])}"
    packages = {module.split(".")[0] for module in modules}
    assert not packages & FORBIDDEN_BY_THE_FLOOR.get(here, set())


def test_floors_exist():
    """A folder that is renamed must not slip through the test above."""
    assert {"core", "cpu", "ops", "overloads"} <= {path.parent.name for path in FILES}


def test_nothing_above_the_floors_is_imported_from_below():
    """Only the command line imports the command line."""
    above = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()} - set(BELOW)
    above -= {"__init__", "__pycache__", "py.typed"}
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] in BELOW:
            assert not {floor(module) for module in imports(path)} & above, path


def test_import_does_not_import_numba():
    """`import fastmat` stays quick; the first product imports Numba."""
    code = (
        "import json, sys; import fastmat; "
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"numba", "llvmlite", "scipy", "torch"} & set(json.loads(loaded.stdout))


def test_public_names_are_listed():
    for name in fastmat.__all__:
        assert getattr(fastmat, name) is not None
    assert sorted(fastmat.__all__) == list(fastmat.__all__)
    assert set(fastmat.__all__) <= set(dir(fastmat))


def test_no_catch_all_modules():
    names = {path.stem for path in FILES}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_files_are_short():
    tests = sorted(Path(__file__).parent.rglob("*.py"))
    long = {
        path.name: count
        for path in (*FILES, *tests)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert not long


def test_fast_math_names_its_flags():
    """`fastmath=True` would let NaN and inf mean anything."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "fastmath":
                value = ast.unparse(node.value)
                assert "True" not in value, f"{path.name}:{node.value.lineno}"
                assert not {"'fast'", "'nnan'", "'ninf'"} & set(value.strip("{}").split(", "))


def test_oracles_do_not_import_fastmat():
    for helper in ("oracles.py", "tolerances.py", "layouts.py"):
        path = Path(__file__).parent / helper
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not any(name.split(".")[0] == "fastmat" for name in names), helper
