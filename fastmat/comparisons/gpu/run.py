"""``fastmat compare --device cuda``: every kernel for GPUs, for its result and for its time."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastmat.commands import info
from fastmat.commands.console import Console
from fastmat.comparisons import record
from fastmat.comparisons.gpu import timing
from fastmat.comparisons.gpu.cases import Case, operations, select
from fastmat.comparisons.gpu.operations import work
from fastmat.comparisons.gpu.work import Bench
from fastmat.comparisons.record import Row
from fastmat.comparisons.report import duration

_COPIED = 1 << 30  # bytes
_SQUARE = 4096
_WIDTHS = (10, 15, 8, 11, 11)


def run(quick: bool, ops: Sequence[str] | None, json_file: Path | None) -> int:
    """Compare, print, write; 1 if a result was wrong, 2 if nothing could be compared."""
    console = Console()
    unknown = sorted(set(ops or ()) - set(operations()))
    if unknown:
        console.line(f"--ops {unknown[0]}: not one of {', '.join(operations())}", "red")
        return 2
    reason = missing()
    if reason:
        console.line(f"--device cuda: {reason}", "red")
        return 2
    bench = Bench()
    machine = info.machine()
    machine["gpu"] = bench.torch.cuda.get_device_name()
    machine["torch"] = bench.torch.__version__
    console.line(f"fastmat {machine['fastmat']} on {machine['gpu']}", "bold")
    roofs = Roofs(bench)
    headings = ("fastmat", "rate", "of roof", "PyTorch", "CuPy")
    cells = "".join(f"{h:>{w}}" for h, w in zip(headings, _WIDTHS, strict=True))
    console.line(f"{'':11}{'':52}{cells}", "bold")
    rows: list[Row] = []
    group = ""
    for case in select(quick, ops):
        if case.group != group:
            group = case.group
            console.line(group, "bold")
        rows.append(measured(bench, case, roofs))
        console.line(*line(rows[-1]))
        bench.torch.cuda.empty_cache()
    for text, style in summary(rows):
        console.line(text, style)
    if json_file is not None:
        record.write(json_file, record.Run(machine, roofs.figures, rows))
    return 1 if any(row.status == "wrong" for row in rows) else 0


def missing() -> str | None:
    """Why nothing can be compared here; None if it can."""
    from fastmat.core.toolkit import missing_compiler, missing_device

    reason = missing_compiler() or missing_device()
    if reason:
        return reason
    try:
        import torch
    except ImportError:
        return "the peer is PyTorch, which is not installed"
    return None if torch.cuda.is_available() else "PyTorch was built without CUDA"


class Roofs:
    """What the device does at best, measured in the same run through the vendor's library."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.figures: dict[str, float] = {}

    def of(self, name: str) -> float:
        """Bytes or operations per second; 0 where there is no roof."""
        if name and name not in self.figures:
            self.figures[name] = self._copy() if name == "copy" else self._product(name)
        return self.figures.get(name, 0.0)

    def _copy(self) -> float:
        torch = self._bench.torch
        x, y = (torch.ones(_COPIED, dtype=torch.uint8, device="cuda") for _ in range(2))
        return 2 * _COPIED / self._seconds(lambda: y.copy_(x))

    def _product(self, dtype: str) -> float:
        torch = self._bench.torch
        a, b = (
            self._bench.draw((_SQUARE, _SQUARE), "float32" if dtype == "tf32" else dtype)
            for _ in range(2)
        )
        c = torch.empty_like(a)
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        try:
            return 2.0 * _SQUARE**3 / self._seconds(lambda: torch.matmul(a, b, out=c))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    def _seconds(self, call: Any) -> float:
        return timing.medians({"": call}, timing.Effort(), self._bench.torch)[""]


def measured(bench: Bench, case: Case, roofs: Roofs) -> Row:
    """Check one case and, if its result is right, time it."""
    fields: dict[str, Any] = {
        "group": case.group,
        "title": case.title,
        "op": case.op,
        "dtype": case.dtype,
        "threads": 0,
    }
    try:
        its = work(bench, case)
        its.calls["fastmat"]()
        error = its.error()
    except ImportError as missing:
        return Row(**fields, status="unavailable", message=str(missing))
    except Exception as exception:  # whatever it is, the other cases are still to be compared
        where = traceback.extract_tb(exception.__traceback__)[-1]
        message = f"{type(exception).__name__}: {exception}".splitlines()[0]
        message += f" ({Path(where.filename).name}:{where.lineno})"
        return Row(**fields, status="wrong", message=message)
    if not error <= 1:
        message = f"error {error:.3g} times what rounding permits"
        return Row(**fields, status="wrong", message=message, error=error)
    if its.unit == "launch/s":
        seconds = {n: timing.host_seconds(call, bench.torch) for n, call in its.calls.items()}
    else:
        seconds = timing.medians(its.calls, timing.Effort(), bench.torch)
    return Row(
        **fields,
        status="right",
        error=error,
        seconds=seconds,
        rate=its.amount / seconds["fastmat"],
        unit=its.unit,
        roof=roofs.of(its.roof),
    )


def line(row: Row) -> tuple[str, str]:
    """One row of the table."""
    begin = f"{row.dtype:<11}{row.title:<52}"
    if row.status != "right":
        style = "bold red" if row.status == "wrong" else "dim"
        return f"{begin} {row.status.upper()}: {row.message}", style
    ratios = [row.against(library) for library in ("torch", "cupy")]
    cells = (
        duration(row.seconds["fastmat"]),
        f"{row.rate / 1e9:.0f} {'G' + row.unit}",
        f"{row.rate / row.roof:.0%}" if row.roof else "–",
        *("–" if ratio != ratio else f"{ratio:.2f} ×" for ratio in ratios),
    )
    text = begin + "".join(f"{c:>{w}}" for c, w in zip(cells, _WIDTHS, strict=True))
    return text, "red" if any(ratio < 1 for ratio in ratios) else "green"


def summary(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Losses, geometric means, and what was wrong."""
    yield "", ""
    for library, title in (("torch", "PyTorch"), ("cupy", "CuPy")):
        here = [row for row in record.timed(rows) if library in row.seconds]
        losses = [row for row in here if row.against(library) < 1]
        yield f"{title}: {len(here) - len(losses)} rows faster, {len(losses)} slower", "bold"
        for group in record.groups(here):
            ratios = [row.against(library) for row in here if row.group == group]
            mean = statistics.geometric_mean(ratios)
            yield f"  {mean:5.2f} ×  geometric mean of {group} ({len(ratios)})", ""
    for row in rows:
        if row.status != "right":
            style = "bold red" if row.status == "wrong" else "dim"
            yield f"{row.status}: {row.dtype} {row.title}: {row.message}", style
    wrong = sum(row.status == "wrong" for row in rows)
    yield f"{len(record.timed(rows))} results right, {wrong} wrong", "bold"
