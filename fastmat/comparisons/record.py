"""What was measured, as rows that can be written to a file and read back."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One case at one number of threads.

    Parameters
    ----------
    status
        ``"right"``, ``"wrong"``, or ``"unavailable"`` (nothing was checked or timed).
    message
        What went wrong, or what is missing.
    error
        Largest error in units of what rounding permits (see `checks.error`).
    threads
        Threads of each library.
    seconds
        Median seconds per call by library.
    rate
        fastmat's operations or bytes per second.
    unit
        ``"FLOP/s"`` or ``"B/s"``. Integer operations count as FLOP.
    roof
        What the machine was measured to do at best, in the same unit.
    """

    group: str
    title: str
    op: str
    dtype: str
    threads: int
    status: str
    message: str = ""
    error: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    unit: str = "FLOP/s"
    roof: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times as fast as NumPy; NaN if not timed."""
        return self.against("numpy")

    @property
    def slower(self) -> bool:
        """Whether it lost to NumPy, in the two decimals that are printed."""
        return round(self.ratio, 2) < 1

    def against(self, library: str) -> float:
        """How many times as fast as this library; NaN if not timed."""
        if library not in self.seconds:
            return math.nan
        return self.seconds[library] / self.seconds["fastmat"]


@dataclass(frozen=True)
class Run:
    """All rows of one run, and the machine they were measured on."""

    machine: dict[str, str]
    roofs: dict[str, float]
    rows: list[Row]


def write(path: Path, run: Run) -> None:
    """Write a run as JSON."""
    path.write_text(json.dumps(asdict(run), indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> Run:
    """Read what `write` wrote."""
    content = json.loads(path.read_text())
    rows = [Row(**row) for row in content.pop("rows")]
    return Run(rows=rows, **content)


def timed(rows: Iterable[Row]) -> list[Row]:
    """The rows that were found right and timed."""
    return [row for row in rows if row.seconds]


def groups(rows: Iterable[Row]) -> list[str]:
    """Headings, in order of appearance."""
    return list(dict.fromkeys(row.group for row in rows))


def geometric_mean(rows: Sequence[Row]) -> float:
    """Geometric mean of the ratios; NaN if nothing was timed."""
    return statistics.geometric_mean([row.ratio for row in rows]) if rows else math.nan
