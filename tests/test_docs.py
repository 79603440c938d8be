"""What README and guide show works as it stands there."""

import importlib
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from fastmat.comparisons import record

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/guide.md"])
def test_python_examples_run(page, overloads):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_has_the_commands_that_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert 'pip install -e ".[test]" && pytest' in readme
    assert 'pip install -e ".[bench]" && fastmat compare' in readme


def test_measured_table_is_written_between_the_markers(tmp_path):
    rows = [
        record.Row("a group", "t", "matmul", "float32", 2, "right", seconds=seconds)
        for seconds in ({"fastmat": 1.0, "numpy": 4.0}, {"fastmat": 1.0, "numpy": 0.25})
    ]
    machine = dict.fromkeys(("cpu", "simd", "numpy", "numba", "fastmat"), "x")
    record.write(tmp_path / "run.json", record.Run(machine, {}, rows))
    script = runpy.run_path(str(ROOT / "docs" / "update_readme.py"))
    table = script["table"](record.read(tmp_path / "run.json"))
    assert "| a group | float32 | 1.00 (0.25) |" in table
    text = f"before\n{script['BEGIN']}\nstale\n{script['END']}\nafter\n"
    once = script["replace"](text, table)
    assert table in once
    assert "stale" not in once
    assert script["replace"](once, table) == once


def test_filters_of_the_worked_example_agree(overloads, capsys):
    script = runpy.run_path(str(ROOT / "docs/examples/kalman.py"))
    script["main"](["--count", "50", "--steps", "3"])
    assert "the results agree" in capsys.readouterr().out


@pytest.fixture
def hard_cases(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.hard_cases")


def test_hard_cases_are_on_their_page(hard_cases):
    page = hard_cases.PAGE.read_text(encoding="utf-8")
    measured = page.split(hard_cases.BEGIN)[1].split(hard_cases.END)[0]
    assert re.findall(r"^\| ([^|]+) \| [\d*o]", measured, re.MULTILINE) == list(hard_cases.CASES)


@pytest.mark.parametrize(
    ("title", "numpy_fails"),
    [("layer_norm, mean/σ = 10⁴", True), ("softmax, rows with -inf", False)],
)
def test_hard_cases_are_measured(title, numpy_fails, hard_cases):
    assert hard_cases.error(title, "fastmat") < 4
    assert (hard_cases.error(title, "numpy") > 100) == numpy_fails


@pytest.fixture
def clusters():
    return runpy.run_path(str(ROOT / "docs/examples/clusters.py"))


def test_clusters_hide_a_correlation(clusters):
    """The worked example on groups whose means fall while their numbers rise."""
    groups = np.repeat([0, 1, 2], 60)
    x = np.random.default_rng(1).standard_normal((180, 4))
    x[:, 1] = x[:, 0] - 20 * groups
    x[:, 0] += 20 * groups
    labels = clusters["find_clusters"](x, 3)
    assert clusters["adjusted_rand"](groups, labels) == 1
    assert not clusters["in_another"](labels, groups).any()
    lines, tables = clusters["compare"](x, groups, labels, [0, 1])
    correlations = [clusters["correlation"](table) for table in tables.values()]
    assert max(correlations[:2]) < -0.5
    assert min(correlations[2:]) > 0.99
    lines += clusters["compare_clusters"](x, groups, labels, [0, 1])
    assert "in the cluster of another cultivar: 0; correlation without: +1.00" in lines


def test_adjusted_rand_index(clusters):
    first, second = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 2])
    # Of 10 pairs 2 are together in each, 1 in both; by chance 0.4 would be.
    assert clusters["adjusted_rand"](first, second) == pytest.approx((1 - 0.4) / (2 - 0.4))
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = np.random.default_rng(2).integers(0, 5, (2, 100))
    expected = metrics.adjusted_rand_score(first, second)
    assert clusters["adjusted_rand"](first, second) == pytest.approx(expected)


def test_page_about_clusters_has_what_the_example_prints(clusters, tmp_path, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    clusters["main"](["--picture", str(tmp_path / "clusters.png")])
    page = (ROOT / "docs/examples/clusters.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert "".join(shown) == capsys.readouterr().out
    assert (tmp_path / "clusters.png").stat().st_size > 10_000
