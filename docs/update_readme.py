"""Write the README's table of measured ratios: ``python docs/update_readme.py compare.json``.

The file comes from ``fastmat compare --json compare.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastmat.comparisons.record import Row, Run, geometric_mean, groups, read, timed

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"


def table(run: Run) -> str:
    """One line per group and dtype: the geometric mean, and the least with the row it is from."""
    threads = list(dict.fromkeys(row.threads for row in run.rows))
    machine = run.machine
    head = " | ".join(f"{n} threads each" if n > 1 else "one thread each" for n in threads)
    lines = [
        f"{machine['cpu']}, {machine['simd']}; NumPy {machine['numpy']}, "
        f"Numba {machine['numba']}, fastmat {machine['fastmat'].split()[0]}. "
        "Geometric means of the ratios, the least in brackets; bold: slower than NumPy.",
        "",
        f"| work | dtype | {head} |",
        "|---|---|" + "---:|" * len(threads),
        *_lines(timed(run.rows), threads),
    ]
    return "\n".join(lines)


def _lines(rows: Sequence[Row], threads: Sequence[int]) -> Iterator[str]:
    for group in groups(rows):
        members = [row for row in rows if row.group == group]
        for dtype in dict.fromkeys(row.dtype for row in members):
            cells = [
                _cell([row for row in members if row.dtype == dtype and row.threads == n])
                for n in threads
            ]
            yield f"| {group} | {dtype} | {' | '.join(cells)} |"


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return "–"
    mean, least = geometric_mean(rows), min(row.ratio for row in rows)
    text = f"{mean:.2f}" if len(rows) == 1 else f"{mean:.2f} ({least:.2f})"
    return text if mean >= 1 else f"**{text}**"


def replace(text: str, content: str) -> str:
    """The text with what stands between the markers replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def main() -> None:
    """Update the README in place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    run = read(parser.parse_args().json)
    README.write_text(replace(README.read_text(), table(run)))


if __name__ == "__main__":
    main()
