"""docs/contributing.md lists what belongs to an operation; here every operation is held to it."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import fastmat
from fastmat.comparisons import cases

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
RECIPE = re.findall(r"<!-- recipe:begin -->\n(.*?)<!-- recipe:end -->", PAGE, re.DOTALL)
PLACES = re.findall(r"^- `([^`]+)`:", "".join(RECIPE), re.MULTILINE)

ALONE = re.findall(r"<!-- python-alone:begin -->\n(.*?)<!-- python-alone:end -->", PAGE, re.DOTALL)
PYTHON_ALONE = set(re.findall(r"`(\w+)`", "".join(ALONE)))  # classes
COMPILED_PLACES = {"fastmat/overloads/{stem}.py", "fastmat/cpu/{stem}.py"}


SETTINGS = {"threads", "matmul_precision"}
ARGUMENTS = {"Semiring", "modular", "masks"}  # of operations: they compute nothing themselves


def public():
    """The public names, those of a namespace with its name before them, and what they stand for."""
    found = {}
    for name in fastmat.__all__:
        value = getattr(fastmat, name)
        if getattr(value, "__name__", "") == f"fastmat.{name}":  # a namespace
            found.update({f"{name}.{inner}": getattr(value, inner) for inner in value.__all__})
        else:
            found[name] = value
    return found


PUBLIC = public()


def stems():
    """The modules of fastmat/ops that hold public names, and those names."""
    found = {}
    for name, value in PUBLIC.items():
        module = getattr(value, "__module__", getattr(value, "__name__", ""))
        if module.startswith("fastmat.ops.") and name not in ARGUMENTS:
            found.setdefault(module.removeprefix("fastmat.ops."), []).append(name)
    return found


STEMS = stems()
NAMES = [name for names in STEMS.values() for name in names]


def test_recipe_names_every_place():
    assert set(PLACES) >= {
        "fastmat/ops/{stem}.py",
        "fastmat/overloads/{stem}.py",
        "fastmat/cpu/{stem}.py",
        "tests/test_{stem}.py",
        "benchmarks/bench_{stem}.py",
        "docs/api/{stem}.md",
        "fastmat/comparisons/cases.py",
        "CHANGELOG.md",
    }


def test_every_callable_of_the_package_is_an_operation():
    """A public function from elsewhere would escape the tests below."""
    functions = {name for name, value in PUBLIC.items() if inspect.isfunction(value)}
    assert functions - SETTINGS - ARGUMENTS == set(NAMES) - PYTHON_ALONE
    classes = {name for name, value in PUBLIC.items() if inspect.isclass(value)}
    assert classes - ARGUMENTS == PYTHON_ALONE
    assert "matmul" in STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_places_exist(stem):
    alone = set(STEMS[stem]) <= PYTHON_ALONE
    places = [place for place in PLACES if not (alone and place in COMPILED_PLACES)]
    missing = [place for place in places if not (ROOT / place.replace("{stem}", stem)).is_file()]
    assert not missing


@pytest.mark.parametrize("stem", STEMS)
def test_floors_have_the_same_names(stem):
    """Each public name is overloaded for njit code, and found in tests and benchmarks."""
    path = ROOT / "fastmat" / "overloads" / f"{stem}.py"
    alone = set(STEMS[stem]) <= PYTHON_ALONE
    overloads = "" if alone else path.read_text(encoding="utf-8")
    files = set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__)}
    tests = "".join(path.read_text(encoding="utf-8") for path in files)
    benchmarks = (ROOT / "benchmarks" / f"bench_{stem}.py").read_text(encoding="utf-8")
    for name in STEMS[stem]:
        bare = name.split(".")[-1]
        overloaded = re.search(rf"^@overload\((\w+\.)?{bare}\b", overloads, re.MULTILINE)
        assert overloaded or alone, name
        assert re.search(rf"\b{name}\b", tests), name
        assert re.search(rf"\b{name}\b", benchmarks), name


@pytest.mark.parametrize("name", NAMES)
def test_docstring_is_numpydoc(name):
    docstring = inspect.getdoc(PUBLIC[name])
    returned = "Attributes" if name in PYTHON_ALONE else "Returns"
    for section in ("Parameters", returned, "Raises", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in docstring, section
    assert ">>> " in docstring.split("\nExamples\n")[1]
    parameters = docstring.split("\nParameters\n")[1].split("\n\n")[0]
    documented = set(re.findall(r"\w+", " ".join(re.findall(r"^\S.*$", parameters, re.MULTILINE))))
    missing = set(inspect.signature(PUBLIC[name]).parameters) - documented
    assert not missing


@pytest.mark.parametrize("name", sorted(PYTHON_ALONE))
def test_classes_for_python_alone_say_so(name):
    """In their docstring; and each method has one."""
    assert "In compiled code there is no such class" in " ".join(PUBLIC[name].__doc__.split())
    for method, value in vars(PUBLIC[name]).items():
        assert method.startswith("_") or not callable(value) or inspect.getdoc(value), method


@pytest.mark.parametrize("name", NAMES)
def test_name_is_in_the_reference(name):
    stem = next(stem for stem, names in STEMS.items() if name in names)
    page = (ROOT / "docs" / "api" / f"{stem}.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{name}\b", page)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_compared(name):
    assert name in cases.operations()


@pytest.mark.parametrize("stem", STEMS)
def test_stem_is_in_the_quick_comparison(stem):
    quick = {case.op for case in cases.select(quick=True, ops=None)}
    assert quick & set(STEMS[stem])


@pytest.mark.parametrize("name", NAMES)
def test_name_is_in_the_changelog(name):
    assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


TWINS = sorted((ROOT / "fastmat" / "ops" / "on_gpu").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_twins_take_the_same_arguments(name):
    """A function for arrays on GPUs is called in the same way as that for NumPy's."""
    pytest.importorskip("numba_cuda")
    function = PUBLIC[name]
    stem = function.__module__.rpartition(".")[2]
    if not any(path.stem == stem for path in TWINS):
        pytest.skip("does not run on GPUs")
    module = importlib.import_module(f"fastmat.ops.on_gpu.{stem}")
    twin = getattr(module, function.__name__, None)
    if twin is None:
        pytest.skip("does not run on GPUs")

    def parameters(function):
        listed = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in listed]

    assert parameters(twin) == parameters(function)
