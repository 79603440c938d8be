"""What README and guide show works as it stands there."""

import re
import runpy
from pathlib import Path

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


@pytest.mark.parametrize("example", sorted(ROOT.glob("docs/examples/*.py")), ids=lambda p: p.stem)
def test_worked_examples_run(example, overloads, capsys):
    """Each compares its own result with NumPy's."""
    runpy.run_path(str(example))["main"](["--count", "50", "--steps", "3"])
    assert "the results agree" in capsys.readouterr().out
